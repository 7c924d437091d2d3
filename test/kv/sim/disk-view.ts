import type { Batch, Engine, Write } from '../../../src/kv/engine/engine.ts'
import type { HardState } from '../../../src/kv/raft/index.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import { type AppliedState, decodeApplied, decodeDescriptor, recordOf } from '../../../src/kv/range/schema.ts'
import {
  decodeGone,
  decodeLogEntry,
  decodeNewcomer,
  decodeState,
  indexOf,
  type NewcomerRecord,
  rangeOfKey,
} from '../../../src/kv/store/raft-schema.ts'

export const SERVICE = 'inbox'
const STATE_MARK = 0x73

/** Whether a key of family `raft` is that of a log's state. */
export function isState(key: Uint8Array): boolean {
  return key.at(-1) === STATE_MARK && key.indexOf(0) === key.length - 2
}

/** What a disk holds of one range. */
export interface DiskRange {
  hardState: HardState | null
  compacted: { index: number; term: number }
  /** Terms by index. */
  terms: Map<number, number>
  last: number
  descriptor: RangeDescriptor | null
  applied: AppliedState | null
  newcomer: NewcomerRecord | null
  installing: boolean
  gone: number
}

const EMPTY: Omit<DiskRange, 'terms'> = {
  ...{ hardState: null, compacted: { index: 0, term: 0 }, last: 0, descriptor: null, applied: null, newcomer: null },
  ...{ installing: false, gone: 0 },
}

/** What a disk holds of all ranges, kept by what is written to it: read as anybody could, who knows the formats. */
export class DiskView {
  readonly ranges = new Map<string, DiskRange>()

  readonly #families: readonly ('raft' | 'meta')[]

  constructor(families: readonly ('raft' | 'meta')[]) {
    this.#families = families
  }

  /** All that is there. */
  load(engine: Engine): void {
    this.ranges.clear()
    for (const family of this.#families) {
      const cursor = engine.cursor(family, {})
      while (cursor.next()) {
        this.#take(family, { type: 'put', key: cursor.key.slice(), value: cursor.value.slice() })
      }
      cursor.close()
    }
  }

  /** The ranges whose descriptor, applied state or the like has changed. */
  apply(batch: Batch): Set<string> {
    const touched = new Set<string>()
    for (const { family, write } of batch.writes) {
      if (!this.#families.includes(family as 'raft')) continue
      const range = this.#take(family as 'raft' | 'meta', write)
      if (range !== null) touched.add(range)
    }
    return touched
  }

  /** The term of the entry at `index`; null where it is not there, or compacted away. */
  term(range: string, index: number): number | null {
    const found = this.ranges.get(range)
    if (found === undefined) return null
    return index === found.compacted.index ? found.compacted.term : (found.terms.get(index) ?? null)
  }

  #take(family: 'raft' | 'meta', write: Write): string | null {
    const key = write.type === 'deleteRange' ? write.start : write.key
    if (family === 'raft') {
      const name = rangeOfKey(key)
      this.#takeRaft(this.#of(name), key, write)
      return null
    }
    const { range: name, kind } = recordOf(key, SERVICE)
    const range = this.#of(name)
    if (write.type === 'deleteRange') {
      Object.assign(range, { descriptor: null, applied: null, newcomer: null, installing: false })
      return name
    }
    const value = write.type === 'put' ? write.value : null
    if (kind === 'd') range.descriptor = value === null ? null : decodeDescriptor(value)
    else if (kind === 'a') range.applied = value === null ? null : decodeApplied(value)
    else if (kind === 'n') range.newcomer = value === null ? null : decodeNewcomer(value)
    else if (kind === 'i') range.installing = value !== null
    else return null
    return name
  }

  #takeRaft(range: DiskRange, key: Uint8Array, write: Write): void {
    const index = write.type === 'deleteRange' ? null : indexOf(key)
    if (write.type === 'deleteRange') {
      range.terms.clear()
      Object.assign(range, { hardState: null, compacted: { index: 0, term: 0 }, last: 0 })
    } else if (index !== null) {
      if (write.type === 'put') range.terms.set(index, decodeLogEntry(index, write.value).term)
      else range.terms.delete(index)
      if (write.type === 'put') range.last = Math.max(index, range.last)
      else if (index === range.last)
        while (range.last > range.compacted.index && !range.terms.has(range.last)) range.last--
    } else if (write.type === 'put' && isState(key)) {
      const { hardState, compacted } = decodeState(write.value)
      range.hardState = hardState
      range.compacted = compacted
      range.last = Math.max(range.last, compacted.index)
      if (range.terms.size === 0) range.last = compacted.index
    } else if (write.type === 'put') range.gone = decodeGone(write.value).replica
  }

  #of(name: string): DiskRange {
    let range = this.ranges.get(name)
    if (range === undefined) {
      range = { ...EMPTY, terms: new Map() }
      this.ranges.set(name, range)
    }
    return range
  }
}
