import { searchPacked } from './packed.ts'

/**
 * Nodes of the memory engine's B+tree.
 *
 * A leaf keeps its entries packed in one byte array that is only ever appended to, and a table of four numbers an
 * entry. So an entry costs no object (a million entries of separate arrays cost 300 bytes each, packed ones about 50),
 * a search touches one piece of memory, a view handed out stays true for ever, and a copy of the leaf shares the bytes.
 */
export type Node = Leaf | Inner

/** Most entries of a leaf, most children of an inner node. */
export const LEAF_ENTRIES_MAX = 64
export const CHILDREN_MAX = 64
/** A leaf is split beyond this many live bytes, so that compaction and copies stay short. */
const LEAF_BYTES_MAX = 32 * 1024
/** Longer values are kept as arrays of their own. */
const INLINE_BYTES_MAX = 1024
/** Numbers of an entry in {@link Leaf.slots}: key offset, key length, value offset (or place in blobs), value length. */
const SLOT = 4

export class Leaf {
  readonly generation: number
  count = 0
  slots: Uint32Array
  bytes: Uint8Array
  used = 0
  /** Bytes of keys and inline values in use; `used - live` are dead. */
  live = 0
  /** Bytes of blobs in use. */
  blobBytes = 0
  blobs: (Uint8Array | undefined)[] | null = null

  constructor(generation: number, slots: Uint32Array, bytes: Uint8Array) {
    this.generation = generation
    this.slots = slots
    this.bytes = bytes
  }

  static empty(generation: number, bytesCapacity = 256): Leaf {
    return new Leaf(generation, new Uint32Array(LEAF_ENTRIES_MAX * SLOT), new Uint8Array(bytesCapacity))
  }

  /** A copy that may be changed. It appends to the same bytes, beyond what this one reads. */
  clone(generation: number): Leaf {
    const copy = new Leaf(generation, this.slots.slice(), this.bytes)
    copy.count = this.count
    copy.used = this.used
    copy.live = this.live
    copy.blobBytes = this.blobBytes
    copy.blobs = this.blobs === null ? null : this.blobs.slice()
    return copy
  }

  /** As {@link searchPacked}. */
  search(key: Uint8Array): number {
    return searchPacked(this, SLOT, key)
  }

  /** Index of the first entry with a key >= `key`; `count` where there is none. */
  lowerBound(key: Uint8Array): number {
    const found = searchPacked(this, SLOT, key)
    return found < 0 ? ~found : found
  }

  /** Compares the key of an entry with `key`. */
  compareAt(index: number, key: Uint8Array): number {
    const bytes = this.bytes
    const offset = this.slots[index * SLOT]!
    const length = this.slots[index * SLOT + 1]!
    const shared = length < key.length ? length : key.length
    for (let i = 0; i < shared; i++) {
      const difference = bytes[offset + i]! - key[i]!
      if (difference !== 0) return difference
    }
    return length - key.length
  }

  keyAt(index: number): Uint8Array {
    return this.bytes.subarray(this.slots[index * SLOT]!, this.slots[index * SLOT]! + this.slots[index * SLOT + 1]!)
  }

  valueAt(index: number): Uint8Array {
    const offset = this.slots[index * SLOT + 2]!
    const length = this.slots[index * SLOT + 3]!
    return length > INLINE_BYTES_MAX ? this.blobs![offset]! : this.bytes.subarray(offset, offset + length)
  }

  /** Bytes of keys and values. */
  size(): number {
    return this.live + this.blobBytes
  }

  insert(index: number, key: Uint8Array, value: Uint8Array): void {
    this.#reserve(key.length + (value.length > INLINE_BYTES_MAX ? 0 : value.length))
    const at = index * SLOT
    if (index < this.count) this.slots.copyWithin(at + SLOT, at, this.count * SLOT)
    this.slots[at] = this.#append(key)
    this.slots[at + 1] = key.length
    this.count++
    this.#setValue(at, value)
  }

  replace(index: number, value: Uint8Array): void {
    this.#dropValue(index * SLOT)
    this.#reserve(value.length > INLINE_BYTES_MAX ? 0 : value.length)
    this.#setValue(index * SLOT, value)
  }

  /** Removes the entries [from, to). */
  remove(from: number, to: number): void {
    for (let i = from; i < to; i++) {
      this.#dropValue(i * SLOT)
      this.live -= this.slots[i * SLOT + 1]!
    }
    this.slots.copyWithin(from * SLOT, to * SLOT, this.count * SLOT)
    this.count -= to - from
  }

  get overfull(): boolean {
    return this.count === LEAF_ENTRIES_MAX || (this.live > LEAF_BYTES_MAX && this.count > 1)
  }

  /** Appends the entries [from, to) of `other`. */
  take(other: Leaf, from: number, to: number): void {
    for (let i = from; i < to; i++) this.insert(this.count, other.keyAt(i), other.valueAt(i))
  }

  #setValue(at: number, value: Uint8Array): void {
    this.slots[at + 3] = value.length
    if (value.length > INLINE_BYTES_MAX) {
      this.blobs ??= []
      this.slots[at + 2] = this.blobs.push(unpinned(value)) - 1
      this.blobBytes += value.length
    } else this.slots[at + 2] = this.#append(value)
  }

  /** Counts the value as dead. Zero length, so that a compaction in between does not copy it. */
  #dropValue(at: number): void {
    const length = this.slots[at + 3]!
    if (length > INLINE_BYTES_MAX) {
      this.blobs![this.slots[at + 2]!] = undefined
      this.blobBytes -= length
    } else this.live -= length
    this.slots[at + 3] = 0
  }

  #append(data: Uint8Array): number {
    const offset = this.used
    copyRange(this.bytes, offset, data, 0, data.length)
    this.used = offset + data.length
    this.live += data.length
    return offset
  }

  /** Makes room: by moving the live bytes to a new array, since old views may still be read. */
  #reserve(length: number): void {
    if (this.used + length <= this.bytes.length) return
    const source = this.bytes
    const target = new Uint8Array(Math.max(256, Math.ceil((this.live + length) * 1.4)))
    let used = 0
    for (let at = 0; at < this.count * SLOT; at += SLOT) {
      const keyOffset = this.slots[at]!
      const keyLength = this.slots[at + 1]!
      copyRange(target, used, source, keyOffset, keyLength)
      this.slots[at] = used
      used += keyLength
      const valueOffset = this.slots[at + 2]!
      const valueLength = this.slots[at + 3]!
      if (valueLength > INLINE_BYTES_MAX) continue
      copyRange(target, used, source, valueOffset, valueLength)
      this.slots[at + 2] = used
      used += valueLength
    }
    if (this.blobs !== null) this.#compactBlobs()
    this.bytes = target
    this.used = used
  }

  #compactBlobs(): void {
    const blobs: Uint8Array[] = []
    for (let at = 0; at < this.count * SLOT; at += SLOT) {
      if (this.slots[at + 3]! <= INLINE_BYTES_MAX) continue
      this.slots[at + 2] = blobs.push(this.blobs![this.slots[at + 2]!]!) - 1
    }
    this.blobs = blobs.length === 0 ? null : blobs
  }
}

export class Inner {
  readonly generation: number
  readonly children: Node[]
  /** Packed as in a leaf, two numbers each. Key i is the least that may be in child i + 1. Never changed in place. */
  bytes!: Uint8Array
  slots!: Uint32Array
  /** Of keys: one less than children. */
  count = 0

  constructor(generation: number, keys: readonly Uint8Array[], children: Node[]) {
    this.generation = generation
    this.children = children
    this.setKeys(keys)
  }

  clone(generation: number): Inner {
    const copy = new Inner(generation, [], this.children.slice())
    copy.bytes = this.bytes
    copy.slots = this.slots
    copy.count = this.count
    return copy
  }

  /** Index of the child that holds `key`. */
  childOf(key: Uint8Array): number {
    const found = searchPacked(this, 2, key)
    return found < 0 ? ~found + 1 : found
  }

  /** The keys, as views. */
  keys(): Uint8Array[] {
    const keys: Uint8Array[] = []
    for (let i = 0; i < this.count; i++) {
      keys.push(this.bytes.subarray(this.slots[i * 2]!, this.slots[i * 2]! + this.slots[i * 2 + 1]!))
    }
    return keys
  }

  /** Changes children and the keys between them together; both change once in some 50 writes. */
  splice(at: { key: number; child: number }, remove: number, key?: Uint8Array, child?: Node): void {
    const keys = this.keys()
    if (key === undefined || child === undefined) {
      keys.splice(at.key, remove)
      this.children.splice(at.child, remove)
    } else {
      keys.splice(at.key, remove, key)
      this.children.splice(at.child, remove, child)
    }
    this.setKeys(keys)
  }

  setKeys(keys: readonly Uint8Array[]): void {
    let length = 0
    for (const key of keys) length += key.length
    const bytes = new Uint8Array(length)
    const slots = new Uint32Array(keys.length * 2)
    let used = 0
    keys.forEach((key, i) => {
      slots[i * 2] = used
      slots[i * 2 + 1] = key.length
      bytes.set(key, used)
      used += key.length
    })
    this.bytes = bytes
    this.slots = slots
    this.count = keys.length
  }
}

function copyRange(target: Uint8Array, at: number, source: Uint8Array, from: number, length: number): void {
  // A call of `set` with its view costs as much as a loop over some 32 bytes.
  if (length > 32) target.set(length === source.length ? source : source.subarray(from, from + length), at)
  else for (let i = 0; i < length; i++) target[at + i] = source[from + i]!
}

/** The value itself, or a copy where it is a small part of a large buffer that it would keep alive. */
function unpinned(value: Uint8Array): Uint8Array {
  return value.buffer.byteLength > value.length * 2 ? value.slice() : value
}
