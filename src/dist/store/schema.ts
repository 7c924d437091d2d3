import { unreachable } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { InboxId, TenantId } from '../../base/ids.ts'
import type { GroupMember, Receiver, Route } from '../contract.ts'
import { packOptions, unpackOptions } from '../options.ts'

/**
 * How routes lie in the `dist` family. Text is UTF-8 and never holds U+0000, so that 0x00 ends a part:
 *
 *     tenant 0x00 | filter 0x00 | 0x01 | node                               -> head
 *     tenant 0x00 | filter 0x00 | 0x02 | inbox                              -> head | options u32
 *     tenant 0x00 | filter 0x00 | 0x03 | broker 0x00 | receiver             -> head
 *     tenant 0x00 | filter 0x00 | 0x04 | group 0x00 | 0x01 | node           -> head | count u32    ($share)
 *     tenant 0x00 | filter 0x00 | 0x04 | group 0x00 | 0x02 | inbox          -> head
 *     tenant 0x00 | filter 0x00 | 0x05 | ...                                   as 0x04             ($oshare)
 *
 *     head = version u8 | incarnation f64 BE
 *
 * One tenant's routes are contiguous, those of one filter too; all of a route that is not in its key is in its value.
 */
const VALUE_VERSION = 1
const HEAD_BYTES = 9

const KIND_NODE = 1
const KIND_INBOX = 2
const KIND_PLUGIN = 3
const KIND_GROUP = 4
const KIND_ORDERED_GROUP = 5
const MEMBER_NODE = 1
const MEMBER_INBOX = 2

/** The first key that a route of `tenant` may have. */
export function tenantStart(tenant: TenantId): Uint8Array {
  return Buffer.from(`${tenant}\0`)
}

/** The key after the last one that a route of `tenant` may have. */
export function tenantEnd(tenant: TenantId): Uint8Array {
  return Buffer.from(`${tenant}\x01`)
}

/** The smallest key after `key`. */
export function keyAfter(key: Uint8Array): Uint8Array {
  const after = new Uint8Array(key.length + 1)
  after.set(key)
  return after
}

export function routeKey(route: Route): Uint8Array {
  return Buffer.from(`${route.tenant}\0${route.filter}\0${receiverKey(route.receiver)}`)
}

export function routeValue(route: Route): Uint8Array {
  const detail = detailOf(route.receiver)
  const value = Buffer.allocUnsafeSlow(detail === null ? HEAD_BYTES : HEAD_BYTES + 4)
  value[0] = VALUE_VERSION
  value.writeDoubleBE(route.incarnation, 1)
  if (detail !== null) value.writeUInt32BE(detail, HEAD_BYTES)
  return value
}

/** The incarnation of a stored route, without reading the rest of it. */
export function incarnationOf(value: Uint8Array): number {
  return asBuffer(value).readDoubleBE(1)
}

/** Reads a stored route; throws STORAGE_FAILED where the bytes are not one. */
export function readRoute(keyBytes: Uint8Array, valueBytes: Uint8Array): Route {
  const key = asBuffer(keyBytes)
  const value = asBuffer(valueBytes)
  const tenantEndAt = key.indexOf(0)
  const filterEndAt = key.indexOf(0, tenantEndAt + 1)
  if (tenantEndAt <= 0 || filterEndAt <= tenantEndAt + 1) throw damaged('its key has no tenant or no filter')
  if (value.length < HEAD_BYTES || value[0] !== VALUE_VERSION) throw damaged(`its value has version ${value[0]}`)
  const incarnation = value.readDoubleBE(1)
  if (!Number.isSafeInteger(incarnation) || incarnation < 0) throw damaged(`its incarnation is ${incarnation}`)
  return {
    tenant: key.toString('utf8', 0, tenantEndAt) as TenantId,
    filter: key.toString('utf8', tenantEndAt + 1, filterEndAt),
    receiver: readReceiver(key, filterEndAt + 1, value, incarnation),
    incarnation,
  }
}

function receiverKey(receiver: Receiver): string {
  switch (receiver.kind) {
    case 'node':
      return `\x01${receiver.node}`
    case 'inbox':
      return `\x02${receiver.inbox}`
    case 'plugin':
      return `\x03${receiver.broker}\0${receiver.receiver}`
    case 'group':
      return `${receiver.ordered ? '\x05' : '\x04'}${receiver.group}\0${memberKey(receiver.member)}`
    default:
      return unreachable(receiver)
  }
}

function memberKey(member: GroupMember): string {
  return member.kind === 'node' ? `\x01${member.node}` : `\x02${member.inbox}`
}

/** The four bytes after the head; null where there are none. */
function detailOf(receiver: Receiver): number | null {
  if (receiver.kind === 'inbox') return packOptions(receiver.options)
  return receiver.kind === 'group' && receiver.member.kind === 'node' ? receiver.member.count : null
}

function readReceiver(key: Buffer, at: number, value: Buffer, incarnation: number): Receiver {
  const kind = key[at]
  const name = at + 1
  switch (kind) {
    case KIND_NODE:
      return { kind: 'node', node: readName(key, name) }
    case KIND_INBOX:
      return { kind: 'inbox', inbox: readName(key, name) as InboxId, options: unpackOptions(readDetail(value)) }
    case KIND_PLUGIN: {
      const end = readPart(key, name)
      return { kind: 'plugin', broker: key.toString('utf8', name, end), receiver: readName(key, end + 1) }
    }
    case KIND_GROUP:
    case KIND_ORDERED_GROUP: {
      const end = readPart(key, name)
      const group = key.toString('utf8', name, end)
      const member = readMember(key, end + 1, value, incarnation)
      return { kind: 'group', group, ordered: kind === KIND_ORDERED_GROUP, member }
    }
    default:
      throw damaged(`its receiver has kind ${kind}`)
  }
}

function readMember(key: Buffer, at: number, value: Buffer, incarnation: number): GroupMember {
  const name = readName(key, at + 1)
  if (key[at] === MEMBER_NODE) return { kind: 'node', node: name, count: readDetail(value) }
  if (key[at] === MEMBER_INBOX) return { kind: 'inbox', inbox: name as InboxId, incarnation }
  throw damaged(`its group member has kind ${key[at]}`)
}

/** The offset of the 0x00 that ends a part which is not empty. */
function readPart(key: Buffer, at: number): number {
  const end = key.indexOf(0, at)
  if (end <= at) throw damaged('a part of its key does not end')
  return end
}

function readName(key: Buffer, at: number): string {
  if (at >= key.length) throw damaged('its key ends before the name of the receiver')
  return key.toString('utf8', at)
}

function readDetail(value: Buffer): number {
  if (value.length !== HEAD_BYTES + 4) throw damaged(`its value has ${value.length} bytes`)
  return value.readUInt32BE(HEAD_BYTES)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

function damaged(reason: string): BrokerError {
  return new BrokerError('STORAGE_FAILED', `Cannot read a route: ${reason}`)
}
