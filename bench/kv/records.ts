import type { Write } from '../../src/kv/engine/engine.ts'
import type { Coprocessor } from '../../src/kv/range/coprocessor.ts'
import { ByteReader, ByteWriter } from '../../src/kv/range/wire.ts'

/** Puts a value. `once`: the key is new, and the range counts how often it was put. */
export interface Put {
  key: Uint8Array
  /** Its first byte is the range's: the count. */
  value: Uint8Array
  once: boolean
}

/** Counted keys of one range from `start` on. */
export interface Tally {
  start: Uint8Array
  limit: number
}

export interface TallyPage {
  /** Key and count. */
  found: [key: Uint8Array, count: number][]
  /** Where the next page begins; null = that was all. */
  next: Uint8Array | null
}

/** Key-value records as simple as they can be: what is measured is the way to a majority's disks. */
export const records: Coprocessor<Put, number, Tally, TallyPage, null> = {
  service: 'inbox',
  version: 1,
  encode(commands) {
    const bytes = commands.reduce((sum, { key, value }) => sum + key.length + value.length + 8, 8)
    const writer = new ByteWriter(bytes)
    writer.varint(commands.length)
    for (const { key, value, once } of commands) {
      writer.u8(once ? 1 : 0)
      writer.bytes(key)
      writer.bytes(value)
    }
    return writer.finish()
  },
  decode(entry) {
    const reader = new ByteReader(entry)
    const count = reader.varint()
    const commands: Put[] = []
    for (let i = 0; i < count; i++) {
      const once = reader.u8() === 1
      commands.push({ key: reader.bytes(), value: reader.bytes(), once })
    }
    return commands
  },
  mutate(commands, reader, { index }) {
    const writes: Write[] = []
    const responses: number[] = []
    for (const { key, value, once } of commands) {
      if (once) {
        const before = reader.get(key)?.[0] ?? 0
        const counted = new Uint8Array(value)
        counted[0] = before + 1
        writes.push({ type: 'put', key, value: counted })
      } else writes.push({ type: 'put', key, value })
      responses.push(index)
    }
    return { writes, responses, effects: [] }
  },
  query({ start, limit }, reader) {
    const page: TallyPage = { found: [], next: null }
    const cursor = reader.cursor()
    for (let on = cursor.seek(start); on; on = cursor.next()) {
      const key = new Uint8Array(cursor.key)
      if (page.found.length === limit) {
        page.next = key
        break
      }
      page.found.push([key, cursor.value[0]!])
    }
    cursor.close()
    return page
  },
  due: () => [],
  nextDueMs: () => null,
}
