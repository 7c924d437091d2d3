import { ByteFieldReader, ByteFieldWriter } from '../../cluster/fields.ts'

/**
 * What nodes tell each other about connected clients. `key` names a client, `time` its CONNECT; in order between two
 * nodes, and it may be lost: digests find out.
 */
export type ClientMessage =
  // From the node of a connection (its holder) to the owner of the key.
  /** `fresh`: the CONNECT waits for the answer. */
  | { type: 'claim'; key: string; time: number; fresh: boolean }
  /** The connection is gone. */
  | { type: 'withdraw'; key: string; time: number }
  /** All that the sender claims at the receiver: how many, and their hashes, xored. */
  | { type: 'digest'; count: number; hash: number }
  /** The sender claims nothing at the receiver; it begins anew. */
  | { type: 'reset' }
  // From the owner to a holder.
  /** No other connection is left, or none that could be reached in time. */
  | { type: 'granted'; key: string; time: number }
  /** A later CONNECT took the place: the connection is to be closed. */
  | { type: 'close'; key: string; time: number }
  /** A connection with a later time was there before this CONNECT came: a clock is behind. Claim again, after `by`. */
  | { type: 'behind'; key: string; time: number; by: number }
  /** The digest is not what the owner knows. */
  | { type: 'resync' }

const FORMAT = 1
const TYPES = ['claim', 'withdraw', 'digest', 'reset', 'granted', 'close', 'behind', 'resync'] as const

/** `format u8 | run f64 | (type u8 | fields) ...`, big endian; texts are `length u32 | UTF-8`. */
export function encodeMessages(run: number, messages: readonly ClientMessage[]): Uint8Array {
  const writer = new ByteFieldWriter()
  writer.uint8(FORMAT)
  writer.float64(run)
  for (const message of messages) {
    writer.uint8(TYPES.indexOf(message.type))
    if ('key' in message) {
      writer.longText(message.key)
      writer.float64(message.time)
    }
    if (message.type === 'claim') writer.uint8(message.fresh ? 1 : 0)
    else if (message.type === 'behind') writer.float64(message.by)
    else if (message.type === 'digest') {
      writer.uint32(message.count)
      writer.uint32(message.hash)
    }
  }
  return writer.bytes()
}

/** Null where the bytes make no sense. */
export function decodeMessages(bytes: Buffer): { run: number; messages: ClientMessage[] } | null {
  const reader = new ByteFieldReader(bytes)
  if (reader.uint8() !== FORMAT) return null
  const run = reader.float64()
  const messages: ClientMessage[] = []
  while (reader.left > 0) {
    const message = readMessage(reader)
    if (message === null) return null
    messages.push(message)
  }
  return reader.bad || !Number.isSafeInteger(run) ? null : { run, messages }
}

function readMessage(reader: ByteFieldReader): ClientMessage | null {
  const type = TYPES[reader.uint8()]
  if (type === undefined) return null
  if (type === 'reset' || type === 'resync') return { type }
  if (type === 'digest') return { type, count: reader.uint32(), hash: reader.uint32() }
  const key = reader.longText()
  const time = reader.float64()
  if (reader.bad || !Number.isSafeInteger(time)) return null
  if (type === 'claim') return { type, key, time, fresh: reader.uint8() === 1 }
  if (type !== 'behind') return { type, key, time }
  const by = reader.float64()
  return Number.isSafeInteger(by) ? { type, key, time, by } : null
}
