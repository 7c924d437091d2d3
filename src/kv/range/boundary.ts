import { compareBytes, earlierEnd, laterStart, within } from '../engine/bytes.ts'
import type { Bounds, Cursor, Engine, Family, Write } from '../engine/engine.ts'
import type { Reader } from './coprocessor.ts'

/** The landed keys of one family. */
export function engineReader(engine: Engine, family: Family): Reader {
  return {
    get: (key) => engine.get(family, key),
    cursor: (bounds = {}) => engine.cursor(family, bounds),
  }
}

/** Shows of `below` what lies in `bounds`, as if there were nothing else. */
export class BoundedReader implements Reader {
  readonly #below: Reader
  readonly #bounds: Bounds

  constructor(below: Reader, bounds: Bounds) {
    this.#below = below
    this.#bounds = bounds
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return within(key, this.#bounds) ? this.#below.get(key) : undefined
  }

  cursor(bounds: Bounds = {}): Cursor {
    return this.#below.cursor({
      start: laterStart(this.#bounds.start, bounds.start),
      end: earlierEnd(this.#bounds.end, bounds.end),
    })
  }
}

/** Whether the write touches nothing outside of `bounds`. */
export function writeWithin(write: Write, bounds: Bounds): boolean {
  if (bounds.start === undefined && bounds.end === undefined) return true
  if (write.type !== 'deleteRange') return within(write.key, bounds)
  if (bounds.start !== undefined && compareBytes(write.start, bounds.start) < 0) return false
  return bounds.end === undefined || compareBytes(write.end, bounds.end) <= 0
}
