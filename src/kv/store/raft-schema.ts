import { BrokerError } from '../../base/errors.ts'
import type { ConfigChange, ConfState, Entry, HardState, MemberChange } from '../raft/index.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import { decodeDescriptor, encodeDescriptor } from '../range/schema.ts'
import { ByteReader, ByteWriter } from '../range/wire.ts'

/**
 * The log of a range, in family `raft`:
 *
 *     rangeId 0x00 'e' index u64 BE   -> entry
 *     rangeId 0x00 's'                -> hard state, and where the log was compacted to
 *     rangeId 0x00 'g'                -> the highest number of a replica that was here and is gone for ever, or what the range became a part of
 *     0x00 'g'                        -> as if of a range: this disk has lost writes once, nobody knows which
 */
const encoder = new TextEncoder()
const TYPES = ['command', 'config', 'empty'] as const
const MEMBERS = ['add-voter', 'add-learner', 'remove'] as const
const LEAVES = ['auto', 'explicit'] as const
const FORMAT = 1
const ENTRY_MARK = 0x65
const INDEX_BYTES = 8

export interface LogState {
  hardState: HardState
  compacted: { index: number; term: number }
}

export function logPrefix(range: string): Uint8Array {
  return encoder.encode(`${range}\0`)
}

export function stateKey(range: string): Uint8Array {
  return encoder.encode(`${range}\0s`)
}

export function entryKey(range: string, index: number): Uint8Array {
  const head = encoder.encode(`${range}\0e`)
  const key = new Uint8Array(head.length + INDEX_BYTES)
  key.set(head)
  new DataView(key.buffer).setBigUint64(head.length, BigInt(index))
  return key
}

/** Null where the key is not an entry's. */
export function indexOf(key: Uint8Array): number | null {
  const at = key.length - INDEX_BYTES
  if (at < 2 || key[at - 1] !== ENTRY_MARK || key.indexOf(0) !== at - 2) return null
  return Number(new DataView(key.buffer, key.byteOffset, key.byteLength).getBigUint64(at))
}

/** The range that a key of family `raft` belongs to. */
export function rangeOfKey(key: Uint8Array): string {
  return Buffer.from(key.subarray(0, Math.max(0, key.indexOf(0)))).toString()
}

export function encodeState({ hardState, compacted }: LogState): Uint8Array {
  const writer = new ByteWriter(48)
  writer.u8(FORMAT)
  writer.varint(hardState.term)
  writer.varint(hardState.vote ?? 0)
  writer.varint(hardState.commit)
  writer.varint(compacted.index)
  writer.varint(compacted.term)
  return writer.finish()
}

export function decodeState(bytes: Uint8Array): LogState {
  const reader = new ByteReader(bytes)
  expectFormat(reader.u8())
  const hardState = { term: reader.varint(), vote: reader.varint() || null, commit: reader.varint() }
  const compacted = { index: reader.varint(), term: reader.varint() }
  reader.end()
  return { hardState, compacted }
}

export function encodeLogEntry({ term, type, data, change }: Entry): Uint8Array {
  const writer = new ByteWriter(data.length + 32)
  writer.u8(FORMAT)
  writer.varint(term)
  writer.u8(TYPES.indexOf(type))
  if (change !== null) encodeChange(writer, change)
  writer.bytes(data)
  return writer.finish()
}

export function decodeLogEntry(index: number, bytes: Uint8Array): Entry {
  const reader = new ByteReader(bytes)
  expectFormat(reader.u8())
  const term = reader.varint()
  const type = TYPES[reader.u8()]
  if (type === undefined)
    throw new BrokerError('STORAGE_FAILED', `Cannot read log entry ${index}: its type is not known`)
  const change = type === 'config' ? decodeChange(reader) : null
  const data = reader.bytes()
  reader.end()
  return { index, term, type, data, change }
}

function encodeChange(writer: ByteWriter, { members, leave }: ConfigChange): void {
  writer.u8(LEAVES.indexOf(leave))
  writer.varint(members.length)
  for (const { type, id } of members) {
    writer.u8(MEMBERS.indexOf(type))
    writer.varint(id)
  }
}

function decodeChange(reader: ByteReader): ConfigChange {
  const leave = LEAVES[reader.u8()]
  const members: MemberChange[] = []
  for (let left = reader.varint(); left > 0; left--) {
    const type = MEMBERS[reader.u8()]
    if (type === undefined)
      throw new BrokerError('STORAGE_FAILED', 'Cannot read a change of the replicas: its kind is not known')
    members.push({ type, id: reader.varint() })
  }
  if (leave === undefined)
    throw new BrokerError('STORAGE_FAILED', 'Cannot read a change of the replicas: its kind is not known')
  return { members, leave }
}

function expectFormat(format: number): void {
  if (format === FORMAT) return
  throw new BrokerError('STORAGE_FAILED', `Cannot read a log of format ${format}: it is not known here`)
}

/** Where a replica is. */
export interface Place {
  replica: number
  store: string
}

/** The configuration of a group, in family `meta` beside its descriptor. No replica has had a number from `next` on. */
export function encodeConfig(config: ConfState, next: number): Uint8Array {
  const { voters, outgoing, learners, learnersNext, autoLeave } = config
  const writer = new ByteWriter(64)
  writer.u8(FORMAT)
  for (const ids of [voters, outgoing, learners, learnersNext]) {
    writer.varint(ids.length)
    for (const id of ids) writer.varint(id)
  }
  writer.u8(autoLeave ? 1 : 0)
  writer.varint(next)
  return writer.finish()
}

export function decodeConfig(bytes: Uint8Array): { config: ConfState; next: number } {
  const reader = new ByteReader(bytes)
  expectFormat(reader.u8())
  const ids = () => Array.from({ length: reader.varint() }, () => reader.varint())
  const config = { voters: ids(), outgoing: ids(), learners: ids(), learnersNext: ids(), autoLeave: reader.u8() === 1 }
  const next = reader.varint()
  reader.end()
  return { config, next }
}

export function goneKey(range: string): Uint8Array {
  return encoder.encode(`${range}\0g`)
}

export const LOSS_KEY = goneKey('')

/** The range became a part of `into`, of that version: no replica of it comes here again, whatever its number. */
export interface Absorption {
  into: string
  version: number
}

export interface Gone {
  replica: number
  absorption: Absorption | null
}

export function encodeGone(replica: number, absorption: Absorption | null = null): Uint8Array {
  const writer = new ByteWriter(64)
  writer.varint(replica)
  if (absorption === null) return writer.finish()
  writer.text(absorption.into)
  writer.varint(absorption.version)
  return writer.finish()
}

export function decodeGone(bytes: Uint8Array): Gone {
  const reader = new ByteReader(bytes)
  const replica = reader.varint()
  if (reader.done) return { replica, absorption: null }
  const absorption = { into: reader.text(), version: reader.varint() }
  reader.end()
  return { replica, absorption }
}

/** A replica that waits for its first state, or for another one in place of what it had; in family `meta`. */
export interface NewcomerRecord {
  replica: number
  /** See {@link RaftOptions.emptiedFor}. */
  emptiedFor: { index: number; term: number } | null
  /** As it was told, or as it was before. */
  descriptor: RangeDescriptor
}

export function encodeNewcomer({ replica, emptiedFor, descriptor }: NewcomerRecord): Uint8Array {
  const writer = new ByteWriter(128)
  writer.u8(FORMAT)
  writer.varint(replica)
  writer.varint(emptiedFor?.index ?? 0)
  writer.varint(emptiedFor?.term ?? 0)
  writer.bytes(encodeDescriptor(descriptor))
  return writer.finish()
}

export function decodeNewcomer(bytes: Uint8Array): NewcomerRecord {
  const reader = new ByteReader(bytes)
  expectFormat(reader.u8())
  const replica = reader.varint()
  const emptiedFor = { index: reader.varint(), term: reader.varint() }
  const descriptor = decodeDescriptor(reader.bytes())
  reader.end()
  return { replica, emptiedFor: emptiedFor.index === 0 ? null : emptiedFor, descriptor }
}

/** What a `config` entry carries for the range: where the replicas are that it brings in. */
export function encodePlaces(places: readonly Place[]): Uint8Array {
  const writer = new ByteWriter(64)
  writer.varint(places.length)
  for (const { replica, store } of places) {
    writer.varint(replica)
    writer.text(store)
  }
  return writer.finish()
}

/** Of an entry by which a leader leaves a joint configuration: no bytes, no places. */
export function decodePlaces(bytes: Uint8Array): Place[] {
  if (bytes.length === 0) return []
  const reader = new ByteReader(bytes)
  const places = Array.from({ length: reader.varint() }, () => ({ replica: reader.varint(), store: reader.text() }))
  reader.end()
  return places
}
