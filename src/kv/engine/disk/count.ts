import type { Cursor } from '../engine.ts'

/** A family of fewer entries and bytes is counted exactly. */
const COUNTED_ROWS = 64
const COUNTED_BYTES = 64 * 1024

/** Bytes of the first entries of a family, and whether these are all. Closes the cursor. */
export function countFirst(cursor: Cursor): { bytes: number; all: boolean } {
  let bytes = 0
  let all = false
  for (let rows = 0; rows < COUNTED_ROWS && bytes < COUNTED_BYTES && !all; rows++) {
    all = !cursor.next()
    bytes += cursor.key.length + cursor.value.length
  }
  cursor.close()
  return { bytes, all }
}
