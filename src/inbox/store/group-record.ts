import type { SubscriptionOptions } from '../../dist/index.ts'
import { decodeSubscription, encodeSubscription, open } from './records.ts'
import { Writer } from './wire.ts'

/** A shared group's members. The entries above its tally's `window` are assigned to nobody yet. */
export interface Group {
  members: GroupMember[]
  /** Index of the member whose turn is next. */
  turn: number
  /** Entries at or below the window that are assigned to nobody: given back, or waiting for their one member. */
  returned: number
}

export interface GroupMember {
  /** Client id. */
  inbox: string
  /** Of the member's session. */
  incarnation: number
  /** Its subscription's: the granted QoS counts at delivery [MQTT-4.8.2-3]. */
  options: SubscriptionOptions
  /** Of the open feed; empty while the member is away. */
  connection: string
  /** Of the owner that opened it last: see `Session`. */
  attachment: number
  /** Node that holds the connection. */
  node: string
  /** See {@link Session}. */
  nodeIncarnation: number
  credit: number
  /** Entries it has and has not acknowledged. */
  assigned: number
}

const VERSION = 1

export function encodeGroup(group: Group): Buffer {
  const writer = new Writer(64 + group.members.length * 64)
  writer.u8(VERSION)
  writer.varint(group.turn)
  writer.varint(group.returned)
  writer.varint(group.members.length)
  for (const member of group.members) {
    writer.text(member.inbox)
    writer.varint(member.incarnation)
    writer.bytes(encodeSubscription(member.options, false))
    writer.text(member.connection)
    writer.varint(member.attachment)
    writer.text(member.node)
    writer.varint(member.credit)
    writer.varint(member.assigned)
  }
  for (const { nodeIncarnation } of group.members) writer.varint(nodeIncarnation)
  return writer.finish()
}

export function decodeGroup(bytes: Uint8Array): Group {
  const reading = open(bytes)
  const group: Group = { turn: reading.varint(), returned: reading.varint(), members: [] }
  for (let left = reading.varint(); left > 0; left--) {
    group.members.push({
      inbox: reading.text(),
      incarnation: reading.varint(),
      options: decodeSubscription('', reading.bytes()).options,
      connection: reading.text(),
      attachment: reading.varint(),
      node: reading.text(),
      credit: reading.varint(),
      assigned: reading.varint(),
      nodeIncarnation: 0,
    })
  }
  // Earlier versions did not know it.
  if (reading.left > 0) for (const member of group.members) member.nodeIncarnation = reading.varint()
  return group
}
