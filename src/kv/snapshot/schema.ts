import type { Bounds, Engine } from '../engine/engine.ts'
import { FrameBytes, FrameCursor } from '../raft/frame-bytes.ts'
import type { ReplicaId } from '../raft/index.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import { afterPrefix, recordOf } from '../range/schema.ts'
import type { FamilyWrite } from './contract.ts'

/**
 * While a range is being installed, in family `meta`:
 *
 *     service 0x00 rangeId 0x00 'i'   -> marker: the replica, the snapshot's place, the boundaries that are not whole
 *
 * It is written before anything is deleted, and goes with the batch that makes the range valid. Where it is found at a
 * start, what lies in its boundaries is worth nothing.
 */
const FORMAT = 1
const MARKER_KIND = 'i'
/** Descriptor, applied state, configuration of the group: without them there is no range. */
const LAST_KINDS = 'dac'
const BOUNDARIES_MAX = 4
export const FIRST_KEY = new Uint8Array(0)
/** Behind every key: no key has so many of these at its beginning. */
export const LATE_KEY = new Uint8Array(1024).fill(0xff)
const encoder = new TextEncoder()

export interface Marker {
  replica: ReplicaId
  snapshot: { index: number; term: number }
  /** Of what was here, and of what comes. */
  boundaries: readonly Bounds[]
}

export function recordsPrefix(service: string, range: string): Uint8Array {
  return encoder.encode(`${service}\0${range}\0`)
}

export function markerKey(service: string, range: string): Uint8Array {
  return encoder.encode(`${service}\0${range}\0${MARKER_KIND}`)
}

/** Whether the record must not be there before all else is. */
export function isLast(key: Uint8Array, service: string): boolean {
  return LAST_KINDS.includes(recordOf(key, service).kind)
}

export function isMarker(key: Uint8Array, service: string): boolean {
  return recordOf(key, service).kind === MARKER_KIND
}

export function encodeMarker({ replica, snapshot, boundaries }: Marker): Uint8Array {
  const bytes = new FrameBytes()
  bytes.u8(FORMAT)
  bytes.varint(replica)
  bytes.varint(snapshot.index)
  bytes.varint(snapshot.term)
  bytes.varint(boundaries.length)
  for (const { start, end } of boundaries) {
    for (const bound of [start, end]) {
      bytes.u8(bound === undefined ? 0 : 1)
      if (bound !== undefined) bytes.data(bound)
    }
  }
  return bytes.take()
}

export function decodeMarker(value: Uint8Array): Marker {
  const cursor = new FrameCursor(value, 'the marker of an installation')
  const format = cursor.u8()
  if (format !== FORMAT) throw cursor.malformed(`format ${format} is not known here`)
  const replica = cursor.positive()
  const snapshot = { index: cursor.positive(), term: cursor.varint() }
  const count = cursor.varint()
  if (count > BOUNDARIES_MAX) throw cursor.malformed(`it has ${count} boundaries`)
  const bound = () => (cursor.flag() ? cursor.data() : undefined)
  const boundaries = Array.from({ length: count }, (): Bounds => ({ start: bound(), end: bound() }))
  if (!cursor.done) throw cursor.malformed('it does not end')
  return { replica, snapshot, boundaries }
}

/** The marker of a range whose installation has not come to its end; null where there is none. */
export function findMarker(engine: Engine, service: string, range: string): Marker | null {
  const value = engine.get('meta', markerKey(service, range))
  return value === undefined ? null : decodeMarker(value)
}

/**
 * Empties a range and says so, in this order: the first batch of an installation, synced. After a crash the same again,
 * with the marker that was found, but for what is another range's by now: `boundaries` are what is left.
 */
export function emptyRange(
  { id, service }: Pick<RangeDescriptor, 'id' | 'service'>,
  marker: Marker,
  boundaries: readonly Bounds[] = marker.boundaries,
): FamilyWrite[] {
  const writes: FamilyWrite[] = []
  for (const { start = FIRST_KEY, end = LATE_KEY } of boundaries) {
    writes.push({ family: service, write: { type: 'deleteRange', start, end } })
  }
  const prefix = recordsPrefix(service, id)
  writes.push({ family: 'meta', write: { type: 'deleteRange', start: prefix, end: afterPrefix(prefix)! } })
  const key = markerKey(service, id)
  writes.push({ family: 'meta', write: { type: 'put', key, value: encodeMarker(marker) } })
  return writes
}
