import type { Codec } from '../contract.ts'

/** Bytes as they are. What arrives is a view of its frame. */
export const bytesCodec: Codec<Uint8Array> = {
  bytes: (value) => value.length,
  write: (target, offset, value) => target.set(value, offset),
  read: (source) => source,
}

/** Small control messages, as JSON; bytes inside do not survive it. */
export function jsonCodec<Value>(): Codec<Value> {
  return {
    bytes: (value) => Buffer.byteLength(JSON.stringify(value)),
    write: (target, offset, value) => void target.write(JSON.stringify(value), offset),
    read: (source) => JSON.parse(source.toString()) as Value,
  }
}
