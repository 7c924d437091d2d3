import { crc32 } from 'node:zlib'
import type { Write } from '../../../src/kv/engine/engine.ts'
import type { RangeDescriptor, Reader } from '../../../src/kv/range/coprocessor.ts'
import type { MergeEntry, SplitEntry } from '../../../src/kv/range/entry.ts'
import { FIRST_INDEX } from '../../../src/kv/range/range.ts'
import { text } from './logic.ts'
import { Violation } from './violation.ts'

interface State {
  /** Of the last entry with writes that anybody was told of; null: it is not known yet. */
  index: number | null
  keys: Map<string, number>
  digest: number
  /** By index, rising: the digest from there on. */
  history: { index: number; digest: number }[]
}

interface Move {
  range: string
  index: number
  entry: BoundaryEntry
}

type BoundaryEntry = SplitEntry | Extract<MergeEntry, { type: 'merge-commit' }>

/**
 * The keys of every range as the committed entries make them, by what stores tell their observers: what a store finds on
 * its disk, or in a snapshot, must be the state at exactly the index that it says.
 */
export class States {
  /** States compared. */
  checks = 0
  merges = 0
  readonly #states = new Map<string, State>()
  /** Entries that move a boundary where they count, which the first one who is told knows; by the other range. */
  readonly #moves = new Map<string, Move[]>()
  /** They are no more: what commits their merge again counts for nothing. */
  readonly #merged = new Set<string>()

  /** Such an entry is committed. */
  committed(range: string, index: number, entry: BoundaryEntry): void {
    const other = entry.type === 'split' ? entry.child : entry.right.id
    const moves = this.#moves.get(other) ?? []
    this.#moves.set(other, moves)
    moves.push({ range, index, entry })
  }

  /** Somebody is told that a range ended where `child` begins. */
  split(child: string): void {
    for (const { range, index, entry } of this.#taken(child)) {
      const parent = this.#of(range)
      if (entry.type !== 'split' || parent.index === null || parent.index >= index) continue
      const state = this.#of(child)
      for (const key of within(parent, text(entry.key), null)) {
        const hash = parent.keys.get(key)!
        state.keys.set(key, hash)
        state.digest ^= hash
        parent.keys.delete(key)
        parent.digest ^= hash
      }
      see(state, FIRST_INDEX)
      see(parent, index)
    }
  }

  /** Somebody is told that `right` is a part of its neighbour now. */
  merged(right: string): void {
    const last = this.#taken(right).reduce<Move | null>((best, each) => {
      // Of those of one attempt the first one counts.
      return best === null || versionOf(each) > versionOf(best) ? each : best
    }, null)
    if (last === null || this.#merged.has(right)) return
    this.#merged.add(right)
    this.merges++
    const left = this.#of(last.range)
    const gone = this.#of(right)
    if (left.index === null || left.index >= last.index || gone.index === null) return
    for (const [key, hash] of gone.keys) {
      left.keys.set(key, hash)
      left.digest ^= hash
    }
    see(left, last.index)
  }

  applied({ id }: RangeDescriptor, index: number, writes: readonly Write[]): void {
    const state = this.#of(id)
    if (state.index === null || index <= state.index) return
    for (const write of writes) {
      if (write.type === 'put') change(state, text(write.key), write.value)
      else if (write.type === 'delete') change(state, text(write.key), null)
      else for (const key of within(state, text(write.start), text(write.end))) change(state, key, null)
    }
    see(state, index)
  }

  /** A replica was opened, whose applied index is `index`. */
  opened(store: string, { id }: RangeDescriptor, index: number, reader: Reader): void {
    const state = this.#of(id)
    const found = read(reader)
    if (state.index === null || state.index < index) {
      // A sole voter had it on disk, and died before it could tell anybody.
      const { keys, digest } = found
      Object.assign(state, { index, keys, digest, history: [{ index, digest }] })
      return
    }
    const known = state.history.findLast((each) => each.index <= index)
    if (known === undefined) return
    this.checks++
    if (known.digest !== found.digest) {
      throw new Violation(`Snapshot and tail: ${store} opens ${id} at ${index} with another state than was applied`)
    }
  }

  #taken(other: string): Move[] {
    const moves = this.#moves.get(other) ?? []
    this.#moves.delete(other)
    return moves
  }

  #of(range: string): State {
    let state = this.#states.get(range)
    if (state === undefined) {
      state = { index: null, keys: new Map(), digest: 0, history: [] }
      this.#states.set(range, state)
    }
    return state
  }
}

/** The generation in which the right one was to be taken over. */
function versionOf({ entry }: Move): number {
  return entry.type === 'merge-commit' ? entry.right.epoch.version : 0
}

function see(state: State, index: number): void {
  state.index = index
  state.history.push({ index, digest: state.digest })
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
