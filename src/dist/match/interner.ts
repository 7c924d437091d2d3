import { HashIndex, mix, Records } from './arena.ts'

const HASH = 0
const REFS = 1
const CHAIN = 2
const TEXT_CHUNK_BITS = 12
const TEXT_CHUNK_MASK = (1 << TEXT_CHUNK_BITS) - 1
const SLASH = 0x2f
/** Per text: the string's header, its pointer, rounding. */
const TEXT_OVERHEAD_BYTES = 32

/**
 * Texts as numbers: each is held once, counted, and given back with its last holder.
 *
 * It looks texts up inside of longer ones (the levels of a topic) without cutting them out.
 */
export class Interner {
  readonly #records = new Records(3)
  readonly #index = new HashIndex(this.#records, CHAIN, (id) => this.#records.get(id, HASH))
  #texts: string[][] = []
  #textBytes = 0
  readonly #seed: number

  /** @param seed any number; a random one, so that nobody can choose texts that collide */
  constructor(seed: number) {
    this.#seed = seed | 0
  }

  get count(): number {
    return this.#records.count
  }

  get bytes(): number {
    return this.#records.bytes + this.#index.bytes + this.#textBytes
  }

  text(id: number): string {
    return this.#texts[id >>> TEXT_CHUNK_BITS]![id & TEXT_CHUNK_MASK]!
  }

  /** Id of `source[from, to)`; 0 where nobody holds it. */
  find(source: string, from = 0, to = source.length): number {
    let hash = this.#seed
    for (let i = from; i < to; i++) hash = Math.imul(hash ^ source.charCodeAt(i), 0x01000193)
    return this.#find(mix(hash, to - from), source, from, to)
  }

  /** Id of `source[from, to)`, held once more: to be released. */
  acquire(source: string, from = 0, to = source.length): number {
    let hash = this.#seed
    for (let i = from; i < to; i++) hash = Math.imul(hash ^ source.charCodeAt(i), 0x01000193)
    hash = mix(hash, to - from)
    const known = this.#find(hash, source, from, to)
    if (known !== 0) {
      this.retain(known)
      return known
    }
    const id = this.#records.alloc()
    this.#records.set(id, HASH, hash)
    this.#records.set(id, REFS, 1)
    this.#index.insert(hash, id)
    const text = copyOf(source.slice(from, to))
    const chunk = id >>> TEXT_CHUNK_BITS
    while (chunk >= this.#texts.length) this.#texts.push([])
    this.#texts[chunk]![id & TEXT_CHUNK_MASK] = text
    this.#textBytes += text.length + TEXT_OVERHEAD_BYTES
    return id
  }

  retain(id: number): void {
    this.#records.set(id, REFS, this.#records.get(id, REFS) + 1)
  }

  release(id: number): void {
    const refs = this.#records.get(id, REFS) - 1
    if (refs > 0) {
      this.#records.set(id, REFS, refs)
      return
    }
    this.#index.remove(this.#records.get(id, HASH), id)
    this.#textBytes -= this.text(id).length + TEXT_OVERHEAD_BYTES
    this.#texts[id >>> TEXT_CHUNK_BITS]![id & TEXT_CHUNK_MASK] = ''
    this.#records.free(id)
    if (this.#records.count === 0) this.#texts = []
  }

  /** Writes the id of each level of a topic (0 = nobody holds it) into `levels`; returns their number. */
  levelsOf(topic: string, levels: LevelBuffer): number {
    const length = topic.length
    levels.reserve(length)
    const { ids, starts } = levels
    let count = 0
    let from = 0
    let hash = this.#seed
    for (let i = 0; i <= length; i++) {
      const code = i === length ? SLASH : topic.charCodeAt(i)
      if (code !== SLASH) {
        hash = Math.imul(hash ^ code, 0x01000193)
        continue
      }
      ids[count] = this.#find(mix(hash, i - from), topic, from, i)
      starts[count++] = from
      from = i + 1
      hash = this.#seed
    }
    starts[count] = length + 1
    levels.count = count
    return count
  }

  #find(hash: number, source: string, from: number, to: number): number {
    for (let id = this.#index.head(hash); id !== 0; id = this.#records.get(id, CHAIN)) {
      if (this.#records.get(id, HASH) !== hash) continue
      const text = this.text(id)
      if (text.length === to - from && source.startsWith(text, from)) return id
    }
    return 0
  }
}

/** The levels of one topic or filter: their ids, and where they start in it. Reused from topic to topic. */
export class LevelBuffer {
  ids = new Int32Array(64)
  /** `starts[count]` is one past the end, as if a level followed. */
  starts = new Int32Array(65)
  count = 0

  /** Makes room for a text of `length` characters. */
  reserve(length: number): void {
    if (length + 2 <= this.ids.length) return
    this.ids = new Int32Array(length * 2)
    this.starts = new Int32Array(length * 2 + 1)
  }
}

/** A text of its own: V8 would keep the whole topic alive for a slice of it. */
function copyOf(text: string): string {
  const copy = Buffer.from(text).toString()
  return copy === text ? copy : text
}
