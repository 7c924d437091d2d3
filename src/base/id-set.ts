/** A set of numbers that is empty for most of its owners, and costs them next to nothing. */
export class IdSet {
  #ids: Set<number> | null = null

  get size(): number {
    return this.#ids === null ? 0 : this.#ids.size
  }

  has(id: number): boolean {
    return this.#ids?.has(id) ?? false
  }

  add(id: number): void {
    this.#ids ??= new Set()
    this.#ids.add(id)
  }

  /** True where it was in it. */
  delete(id: number): boolean {
    return this.#ids?.delete(id) ?? false
  }
}
