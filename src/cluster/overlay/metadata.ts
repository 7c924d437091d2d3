import type { Metadata } from '../underlay/index.ts'
import { FieldReader, FieldWriter } from './core/bytes.ts'
import { VALUE_BYTES_MAX } from './core/options.ts'

/** Pairs of texts, each with its length. */
export function encodeMetadata(metadata: Metadata): Uint8Array {
  const writer = new FieldWriter()
  for (const [key, value] of metadata) {
    writer.text(key)
    writer.text(value)
  }
  return writer.bytes()
}

/** Null: malformed. */
export function decodeMetadata(bytes: Uint8Array): Metadata | null {
  const reader = new FieldReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  const metadata = new Map<string, string>()
  while (reader.left > 0) metadata.set(reader.text(0, VALUE_BYTES_MAX), reader.text(0, VALUE_BYTES_MAX))
  return reader.bad ? null : metadata
}
