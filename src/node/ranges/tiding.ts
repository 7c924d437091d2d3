import { BrokerError } from '../../base/errors.ts'
import type { RangeView } from '../../kv/balance/index.ts'
import { decodeDescriptor, encodeDescriptor } from '../../kv/range/schema.ts'
import { ByteReader, ByteWriter } from '../../kv/range/wire.ts'

/** What a leader tells of its range: what balancers are shown of it, as far as it knows that itself. */
export interface RangeTiding
  extends Pick<
    RangeView,
    'descriptor' | 'sizeBytes' | 'writeLoad' | 'queryLoad' | 'splitHint' | 'middleKey' | 'lag' | 'busy'
  > {
  term: number
}

/** What a store tells of itself. */
export interface StoreTiding {
  freeBytes: number
  full: boolean
  draining: boolean
}

const VERSION = 1
/** Of replicas: more is a mistake, or no friend. */
const ITEMS_MAX = 256

export function encodeRangeTiding(tiding: RangeTiding): Uint8Array {
  const writer = new ByteWriter(256)
  writer.u8(VERSION)
  writer.bytes(encodeDescriptor(tiding.descriptor))
  const { term, sizeBytes, writeLoad, queryLoad } = tiding
  for (const value of [term, sizeBytes, writeLoad, queryLoad]) writer.varint(Math.max(0, Math.round(value)))
  writer.bytes(tiding.splitHint ?? new Uint8Array(0))
  writer.bytes(tiding.middleKey ?? new Uint8Array(0))
  writer.u8(tiding.busy ? 1 : 0)
  const lag = Object.entries(tiding.lag)
  writer.varint(lag.length)
  for (const [store, entries] of lag) {
    writer.text(store)
    writer.varint(entries)
  }
  return writer.finish()
}

/** Null: another version wrote it, or nobody. */
export function decodeRangeTiding(bytes: Uint8Array): RangeTiding | null {
  return attempt(bytes, (reader) => {
    const descriptor = decodeDescriptor(new Uint8Array(reader.bytes()))
    const [term, sizeBytes, writeLoad, queryLoad] = [reader.varint(), reader.varint(), reader.varint(), reader.varint()]
    const [splitHint, middleKey] = [keyOf(reader.bytes()), keyOf(reader.bytes())]
    const busy = reader.u8() === 1
    const lag: Record<string, number> = {}
    for (let left = count(reader); left > 0; left--) lag[reader.text()] = reader.varint()
    return { descriptor, term, sizeBytes, writeLoad, queryLoad, splitHint, middleKey, busy, lag }
  })
}

export function encodeStoreTiding({ freeBytes, full, draining }: StoreTiding): Uint8Array {
  const writer = new ByteWriter(64)
  writer.u8(VERSION)
  writer.varint(Math.min(Number.MAX_SAFE_INTEGER, Math.floor(freeBytes)))
  writer.u8((full ? 1 : 0) | (draining ? 2 : 0))
  return writer.finish()
}

/** Null: another version wrote it, or nobody. */
export function decodeStoreTiding(bytes: Uint8Array): StoreTiding | null {
  return attempt(bytes, (reader) => {
    const freeBytes = reader.varint()
    const flags = reader.u8()
    return { freeBytes, full: (flags & 1) !== 0, draining: (flags & 2) !== 0 }
  })
}

/** What comes from another node never throws past this. */
function attempt<Tiding>(bytes: Uint8Array, read: (reader: ByteReader) => Tiding): Tiding | null {
  try {
    const reader = new ByteReader(bytes)
    return reader.u8() === VERSION ? read(reader) : null
  } catch {
    return null
  }
}

function count(reader: ByteReader): number {
  const items = reader.varint()
  if (items > ITEMS_MAX) throw new BrokerError('INVALID_ARGUMENT', `${items} items are more than ${ITEMS_MAX}`)
  return items
}

function keyOf(bytes: Uint8Array): Uint8Array | null {
  return bytes.length === 0 ? null : new Uint8Array(bytes)
}
