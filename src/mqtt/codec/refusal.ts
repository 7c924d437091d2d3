import type { ByteReader } from './byte-reader.ts'
import type { DecodeError } from './packet.ts'
import type { ProtocolVersion } from './packet-type.ts'

export function refusal(reasonCode: number, message: string, connackVersion: ProtocolVersion | 0 = 0): DecodeError {
  return { type: 'error', reasonCode, message, connackVersion }
}

/** The failure that `reader` remembers. */
export function refusalOf(reader: ByteReader, connackVersion: ProtocolVersion | 0 = 0): DecodeError {
  return refusal(reader.failure, reader.message, connackVersion)
}

/** The last check of a packet: nothing failed, and nothing is left. */
export function finish(reader: ByteReader): DecodeError | null {
  if (reader.left > 0) reader.malformed('bytes follow the last field')
  return reader.failure === 0 ? null : refusalOf(reader)
}
