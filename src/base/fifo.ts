/** A queue whose memory follows what is in it: taking from the front costs no shift, and an empty one next to nothing. */
export class Fifo<Item> {
  #items: (Item | undefined)[] | null = null
  #head = 0

  get length(): number {
    return this.#items === null ? 0 : this.#items.length - this.#head
  }

  push(item: Item): void {
    if (this.#items === null) this.#items = [item]
    else this.#items.push(item)
  }

  peek(): Item | undefined {
    return this.#items?.[this.#head]
  }

  shift(): Item | undefined {
    const items = this.#items
    if (items === null) return undefined
    const item = items[this.#head]
    items[this.#head++] = undefined
    if (this.#head === items.length) {
      this.#items = null
      this.#head = 0
    } else if (this.#head > 1024 && this.#head * 2 > items.length) {
      this.#items = items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
