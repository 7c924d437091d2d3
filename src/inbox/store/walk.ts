import type { Bounds } from '../../kv/engine/engine.ts'
import type { Reader } from '../../kv/range/coprocessor.ts'
import { inboxEnd, ownEnd, startOf } from './schema.ts'

/**
 * Goes from inbox to inbox by seeking: what is in their queues is not read. Returns the inbox at which `visit` gave
 * false, null after the last.
 */
export function walk(reader: Reader, bounds: Bounds, visit: (start: Buffer) => boolean): Buffer | null {
  const cursor = reader.cursor(bounds)
  try {
    for (let found = cursor.next(); found; ) {
      const start = startOf(cursor.key)
      if (start === null) {
        found = cursor.seek(ownEnd(undefined)) // the first range's own records
        continue
      }
      const own = Buffer.from(start)
      if (!visit(own)) return own
      found = cursor.seek(inboxEnd(own))
    }
  } finally {
    cursor.close()
  }
  return null
}
