import { crc32 } from 'node:zlib'
import type { Write } from '../../../src/kv/engine/engine.ts'
import type { RangeDescriptor, Reader } from '../../../src/kv/range/coprocessor.ts'
import type { SplitEntry } from '../../../src/kv/range/entry.ts'
import { FIRST_INDEX } from '../../../src/kv/range/range.ts'
import { text } from './logic.ts'
import { Violation } from './violation.ts'

interface State {
  /** Of the last entry with writes that anybody was told of; null: it is not known yet. */
  index: number | null
  version: number
  keys: Map<string, number>
  digest: number
  /** By index, rising: the digest from there on. */
  history: { index: number; digest: number }[]
  /** Committed, and not passed yet. */
  splits: { index: number; entry: SplitEntry }[]
}

/**
 * The keys of every range as the committed entries make them, by what stores tell their observers: what a store finds on
 * its disk, or in a snapshot, must be the state at exactly the index that it says.
 */
export class States {
  /** States compared. */
  checks = 0
  readonly #states = new Map<string, State>()

  /** A split is committed; it is refused where the range has another version by then. */
  split(range: string, index: number, entry: SplitEntry): void {
    this.#of(range).splits.push({ index, entry })
  }

  applied({ id }: RangeDescriptor, index: number, writes: readonly Write[]): void {
    const state = this.#of(id)
    if (state.index === null || index <= state.index) return
    this.#pass(state, index)
    for (const write of writes) {
      if (write.type === 'put') change(state, text(write.key), write.value)
      else if (write.type === 'delete') change(state, text(write.key), null)
      else for (const key of within(state, text(write.start), text(write.end))) change(state, key, null)
    }
    state.index = index
    state.history.push({ index, digest: state.digest })
  }

  /** A replica was opened, whose applied index is `index`. */
  opened(store: string, { id, epoch }: RangeDescriptor, index: number, reader: Reader): void {
    for (const [parent, { splits }] of this.#states) {
      const born = splits.find(({ entry }) => entry.child === id)
      if (born !== undefined) this.#pass(this.#of(parent), born.index)
    }
    const state = this.#of(id)
    const found = read(reader)
    this.#pass(state, index)
    if (state.index === null || state.index < index) {
      // A sole voter had it on disk, and died before it could tell anybody.
      const { keys, digest } = found
      Object.assign(state, { index, keys, digest, version: epoch.version, history: [{ index, digest }] })
      return
    }
    const known = state.history.findLast((each) => each.index <= index)
    if (known === undefined) return
    this.checks++
    if (known.digest !== found.digest) {
      throw new Violation(`Snapshot and tail: ${store} opens ${id} at ${index} with another state than was applied`)
    }
  }

  #of(range: string): State {
    let state = this.#states.get(range)
    if (state === undefined) {
      state = { index: null, version: 1, keys: new Map(), digest: 0, history: [], splits: [] }
      this.#states.set(range, state)
    }
    return state
  }

  /** Passes the splits before `index`, and the one at it. */
  #pass(state: State, index: number): void {
    while ((state.splits[0]?.index ?? index + 1) <= index) {
      const { index: at, entry } = state.splits.shift()!
      if (entry.epochVersion !== state.version) continue
      state.version++
      const child = this.#of(entry.child)
      child.version = state.version
      if (state.index === null || child.index !== null) continue
      const start = text(entry.key)
      child.index = FIRST_INDEX
      for (const key of within(state, start, null)) {
        const hash = state.keys.get(key)!
        child.keys.set(key, hash)
        child.digest ^= hash
        state.keys.delete(key)
        state.digest ^= hash
      }
      child.history.push({ index: FIRST_INDEX, digest: child.digest })
      state.history.push({ index: at, digest: state.digest })
      state.index = Math.max(state.index, at)
    }
  }
}

function within({ keys }: State, start: string, end: string | null): string[] {
  return [...keys.keys()].filter((key) => key >= start && (end === null || key < end))
}

function change(state: State, key: string, value: Uint8Array | null): void {
  state.digest ^= state.keys.get(key) ?? 0
  if (value === null) state.keys.delete(key)
  else {
    const hash = hashOf(key, value)
    state.keys.set(key, hash)
    state.digest ^= hash
  }
}

export function read(reader: Reader): { keys: Map<string, number>; digest: number } {
  const keys = new Map<string, number>()
  let digest = 0
  const cursor = reader.cursor()
  while (cursor.next()) {
    const key = text(cursor.key)
    const hash = hashOf(key, cursor.value)
    keys.set(key, hash)
    digest ^= hash
  }
  cursor.close()
  return { keys, digest }
}

/** Mixed, since sums of checksums alone would not see values that changed places. Finalizer of MurmurHash3. */
function hashOf(key: string, value: Uint8Array): number {
  let h = crc32(value, crc32(key))
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
