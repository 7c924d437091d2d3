import type { Codec } from '../../rpc/index.ts'

/** What is encoded by whoever sends. Copied as it comes in: log entries and chunks are kept beyond the link's frame. */
export const BYTES: Codec<Uint8Array> = {
  bytes: (value) => value.length,
  write: (target, offset, value) => target.set(value, offset),
  read: (source) => new Uint8Array(source),
}
