import type { RangeDescriptor, Replica, ServiceName } from './coprocessor.ts'
import type { Interval, Intervals } from './intervals.ts'
import { ByteReader, ByteWriter } from './wire.ts'

/**
 * A range's own records, in family `meta`:
 *
 *     service 0x00 rangeId 0x00 'd'                            -> descriptor
 *     service 0x00 rangeId 0x00 'a'                            -> applied state
 *     service 0x00 rangeId 0x00 'c'                            -> configuration of the group, where it has changed
 *     service 0x00 rangeId 0x00 'n'                            -> a replica without a state, instead of the others
 *     service 0x00 rangeId 0x00 'i'                            -> marker: a state is being installed
 *     service 0x00 rangeId 0x00 'm'                            -> its part in a merge, while there is one
 *     service 0x00 rangeId 0x00 's' stream                     -> mark
 *     service 0x00 rangeId 0x00 'w' stream 0x00 first u64 BE   -> answers of the commands from number `first` on
 *
 * Service names, range ids and streams hold no zero byte.
 */
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function servicePrefix(service: string): Uint8Array {
  return encoder.encode(`${service}\0`)
}

export function descriptorKey(service: string, range: string): Uint8Array {
  return encoder.encode(`${service}\0${range}\0d`)
}

export function appliedKey(service: string, range: string): Uint8Array {
  return encoder.encode(`${service}\0${range}\0a`)
}

export function configKey(service: string, range: string): Uint8Array {
  return encoder.encode(`${service}\0${range}\0c`)
}

export function mergeKey(service: string, range: string): Uint8Array {
  return encoder.encode(`${service}\0${range}\0m`)
}

export function newcomerKey(service: string, range: string): Uint8Array {
  return encoder.encode(`${service}\0${range}\0n`)
}

export function markKey(service: string, range: string, stream: string): Uint8Array {
  return encoder.encode(`${service}\0${range}\0s${stream}`)
}

export function answersKey(service: string, range: string, stream: string, first: number): Uint8Array {
  const head = encoder.encode(`${service}\0${range}\0w${stream}\0`)
  const key = new Uint8Array(head.length + 8)
  key.set(head)
  new DataView(key.buffer).setBigUint64(head.length, BigInt(first))
  return key
}

/** What stands behind the prefix of a key: its kind and the rest. */
export function recordOf(key: Uint8Array, service: string): { range: string; kind: string; rest: Uint8Array } {
  const from = service.length + 1
  const cut = key.indexOf(0, from)
  return {
    range: decoder.decode(key.subarray(from, cut)),
    kind: String.fromCharCode(key[cut + 1]!),
    rest: key.subarray(cut + 2),
  }
}

export function streamOf(rest: Uint8Array): string {
  return decoder.decode(rest)
}

export function answersOf(rest: Uint8Array): { stream: string; first: number } {
  const view = new DataView(rest.buffer, rest.byteOffset, rest.byteLength)
  return { stream: decoder.decode(rest.subarray(0, -9)), first: Number(view.getBigUint64(rest.length - 8)) }
}

/** The first key after all that begin with `prefix`; undefined where there is none. */
export function afterPrefix(prefix: Uint8Array): Uint8Array | undefined {
  for (let length = prefix.length; length > 0; length--) {
    const last = prefix[length - 1]!
    if (last === 255) continue
    const end = prefix.slice(0, length)
    end[length - 1] = last + 1
    return end
  }
  return undefined
}

export interface AppliedState {
  /** Index of the last entry applied; 0 before the first. */
  index: number
  /** Time of that entry, ms since 1970. */
  nowMs: number
  /** Rolling hash of all writes. */
  hash: number
}

export function encodeApplied(state: AppliedState): Uint8Array {
  const writer = new ByteWriter(32)
  writer.varint(state.index)
  writer.varint(state.nowMs)
  writer.varint(state.hash)
  return writer.finish()
}

export function decodeApplied(bytes: Uint8Array): AppliedState {
  const reader = new ByteReader(bytes)
  return { index: reader.varint(), nowMs: reader.varint(), hash: reader.varint() }
}

export interface Mark {
  /** The highest number applied. */
  number: number
  /** Time of its entry. */
  nowMs: number
  /** Below it, those that are on their way to another range, since a split: not applied here. */
  open?: Intervals
}

export function encodeMark(mark: Mark): Uint8Array {
  const writer = new ByteWriter(32)
  writer.varint(mark.number)
  writer.varint(mark.nowMs)
  for (const [from, to] of mark.open ?? []) {
    writer.varint(from)
    writer.varint(to)
  }
  return writer.finish()
}

export function decodeMark(bytes: Uint8Array): Mark {
  const reader = new ByteReader(bytes)
  const mark = { number: reader.varint(), nowMs: reader.varint() }
  if (reader.done) return mark
  const open: Interval[] = []
  while (!reader.done) open.push([reader.varint(), reader.varint()])
  return { ...mark, open }
}

export function encodeDescriptor(descriptor: RangeDescriptor): Uint8Array {
  const writer = new ByteWriter()
  writer.text(descriptor.id)
  writer.text(descriptor.service)
  writer.varint(descriptor.epoch.version)
  writer.varint(descriptor.epoch.confVersion)
  for (const bound of [descriptor.start, descriptor.end]) {
    writer.u8(bound === undefined ? 0 : 1)
    if (bound !== undefined) writer.bytes(bound)
  }
  writer.varint(descriptor.replicas.length)
  for (const { store, replica, role } of descriptor.replicas) {
    writer.text(store)
    writer.varint(replica)
    writer.u8(role === 'voter' ? 1 : 2)
  }
  return writer.finish()
}

export function decodeDescriptor(bytes: Uint8Array): RangeDescriptor {
  const reader = new ByteReader(bytes)
  const id = reader.text()
  const service = reader.text() as ServiceName
  const epoch = { version: reader.varint(), confVersion: reader.varint() }
  const start = reader.u8() === 1 ? reader.bytes() : undefined
  const end = reader.u8() === 1 ? reader.bytes() : undefined
  const replicas: Replica[] = []
  for (let left = reader.varint(); left > 0; left--) {
    replicas.push({ store: reader.text(), replica: reader.varint(), role: reader.u8() === 1 ? 'voter' : 'learner' })
  }
  return { id, service, epoch, start, end, replicas }
}
