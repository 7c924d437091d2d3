import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import { ByteReader, ByteWriter } from '../range/wire.ts'
import type { ClusterRecord, GoneHost, Member, MetaChange, Origin, Setting } from './contract.ts'

/**
 * How the cluster's records lie in their family. Names are UTF-8 and never hold U+0000:
 *
 *     0x01                           -> cluster: id | name | founder | foundedMs
 *     0x02 service                   -> origin: store | created u8
 *     0x03 section 0x00 name         -> setting: setting's version varint | value
 *     0x04 gate                      -> (nothing): it is open
 *     0x05 host                      -> member: incarnation varint | flags u8 | count varint | { feature }
 *     0x06 host                      -> gone: goneMs
 *     0x07                           -> books: revision varint | settings varint | bytes varint
 *
 * Every value begins with a version u8.
 */
const RECORD_VERSION = 1
const CLUSTER = 1
const ORIGIN = 2
const SETTING = 3
const GATE = 4
const MEMBER = 5
const GONE = 6
const BOOKS = 7
const FENCED = 1
const LEAVING = 2

export const clusterKey = Buffer.from([CLUSTER])
export const booksKey = Buffer.from([BOOKS])
/** Before the first and after the last record of a snapshot. */
export const recordsStart = Buffer.from([CLUSTER])
export const recordsEnd = Buffer.from([BOOKS])

export function originKey(service: string): Uint8Array {
  return named(ORIGIN, service)
}

export function settingKey(section: string, name: string): Uint8Array {
  return named(SETTING, `${section}\0${name}`)
}

export function gateKey(gate: string): Uint8Array {
  return named(GATE, gate)
}

export function memberKey(host: string): Uint8Array {
  return named(MEMBER, host)
}

export function goneKey(host: string): Uint8Array {
  return named(GONE, host)
}

export const GATES = { start: Buffer.from([GATE]), end: Buffer.from([GATE + 1]) }
export const MEMBERS = { start: Buffer.from([MEMBER]), end: Buffer.from([MEMBER + 1]) }

function named(kind: number, name: string): Uint8Array {
  const text = Buffer.from(name)
  const key = Buffer.allocUnsafeSlow(1 + text.length)
  key[0] = kind
  key.set(text, 1)
  return key
}

export function clusterValue({ id, name, founder, foundedMs }: ClusterRecord): Uint8Array {
  const writer = begin()
  writer.text(id)
  writer.text(name)
  writer.text(founder)
  writer.varint(foundedMs)
  return writer.finish()
}

export function originValue({ store, created }: Origin): Uint8Array {
  const writer = begin()
  writer.text(store)
  writer.u8(created ? 1 : 0)
  return writer.finish()
}

export function settingValue({ version, value }: Setting): Uint8Array {
  const writer = begin()
  writer.varint(version)
  writer.bytes(value)
  return writer.finish()
}

export function gateValue(): Uint8Array {
  return begin().finish()
}

export function memberValue({ incarnation, fenced, leaving, features }: Member): Uint8Array {
  const writer = begin()
  writer.varint(incarnation)
  writer.u8((fenced ? FENCED : 0) | (leaving ? LEAVING : 0))
  writer.varint(features.length)
  for (const feature of features) writer.text(feature)
  return writer.finish()
}

export function goneValue({ goneMs }: GoneHost): Uint8Array {
  const writer = begin()
  writer.varint(goneMs)
  return writer.finish()
}

export interface Books {
  /** Counts the entries that changed something. */
  revision: number
  settings: number
  /** Of their keys and values. */
  bytes: number
}

export function booksValue({ revision, settings, bytes }: Books): Uint8Array {
  const writer = begin()
  writer.varint(revision)
  writer.varint(settings)
  writer.varint(bytes)
  return writer.finish()
}

export function readBooks(value: Uint8Array | undefined): Books {
  if (value === undefined) return { revision: 0, settings: 0, bytes: 0 }
  return read(value, (reader) => ({ revision: reader.varint(), settings: reader.varint(), bytes: reader.varint() }))
}

/** A record as the change that makes it; throws STORAGE_FAILED where the bytes are none. */
export function readRecord(key: Uint8Array, value: Uint8Array): MetaChange {
  const name = Buffer.from(key.buffer, key.byteOffset, key.length).toString('utf8', 1)
  switch (key[0]) {
    case CLUSTER:
      return { type: 'cluster', cluster: read(value, readCluster) }
    case ORIGIN:
      return { type: 'origin', origin: read(value, (reader) => readOrigin(name, reader)) }
    case SETTING:
      return { type: 'setting', setting: read(value, (reader) => readSetting(name, reader)) }
    case GATE:
      return { type: 'gate', gate: read(value, () => name) }
    case MEMBER:
      return { type: 'member', member: read(value, (reader) => readMember(name as HostId, reader)) }
    case GONE:
      return { type: 'gone', gone: read(value, (reader) => ({ host: name as HostId, goneMs: reader.varint() })) }
    default:
      throw damaged(`a record has kind ${key[0]}`)
  }
}

function readCluster(reader: ByteReader): ClusterRecord {
  const [id, name, founder] = [reader.text(), reader.text(), reader.text() as HostId]
  return { id, name, founder, foundedMs: reader.varint() }
}

function readOrigin(service: string, reader: ByteReader): Origin {
  return { service, store: reader.text() as HostId, created: reader.u8() === 1 }
}

function readSetting(path: string, reader: ByteReader): Setting {
  const cut = path.indexOf('\0')
  if (cut < 0) throw damaged('a setting has no section')
  const version = reader.varint()
  return { section: path.slice(0, cut), name: path.slice(cut + 1), value: reader.bytes().slice(), version }
}

function readMember(host: HostId, reader: ByteReader): Member {
  const incarnation = reader.varint()
  const flags = reader.u8()
  const features = Array.from({ length: reader.varint() }, () => reader.text())
  return { host, incarnation, fenced: (flags & FENCED) !== 0, leaving: (flags & LEAVING) !== 0, features }
}

function begin(): ByteWriter {
  const writer = new ByteWriter(32)
  writer.u8(RECORD_VERSION)
  return writer
}

function read<T>(value: Uint8Array, body: (reader: ByteReader) => T): T {
  const reader = new ByteReader(value)
  const version = reader.u8()
  if (version !== RECORD_VERSION) throw damaged(`a record has version ${version}`)
  const record = body(reader)
  reader.end()
  return record
}

function damaged(why: string): BrokerError {
  return new BrokerError('STORAGE_FAILED', `Cannot read the cluster's records: ${why}`)
}
