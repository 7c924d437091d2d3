/** Reads: heads, pages of a queue, lists. Bounded answers that say where to go on. */
import { compareBytes, earlierEnd, laterStart } from '../../kv/engine/bytes.ts'
import type { QueryContext, Reader } from '../../kv/range/coprocessor.ts'
import type { InboxHead } from '../contract.ts'
import type { Answer, Query } from './command.ts'
import { decodeGroup } from './group-record.ts'
import { decodeSession, decodeTally, type Session, sessionEndMs, type Tally } from './records.ts'
import {
  KIND_GROUP,
  KIND_SESSION,
  KIND_TALLY,
  PART_ENTRY,
  parseStart,
  partStart,
  sequenceKey,
  sequenceOf,
  withKind,
} from './schema.ts'
import { walk } from './walk.ts'

export function query(request: Query, reader: Reader, context: QueryContext): Answer {
  switch (request.type) {
    case 'head': {
      const session = readSession(reader, request.key)
      if (session === null || sessionEndMs(session) <= context.nowMs) return null
      return headOf(request.key, session, readTally(reader, request.key)!)
    }
    case 'open': {
      const session = readSession(reader, request.key)
      const owned =
        session?.attached && session.connection === request.connection && session.incarnation === request.incarnation
      if (!owned) return 'conflict'
      const { head, tail, window, sentUpTo, limits } = readTally(reader, request.key)!
      const { messagesMax, queueQos0 } = limits
      return { type: 'feed', head, tail, window, sentUpTo, messagesMax, queueQos0 }
    }
    case 'entries':
      return readEntries(request, reader)
    case 'qos0': {
      const tally = readTally(reader, request.key)
      if (tally === null || tally.incarnation !== request.incarnation) return 'absent'
      const nodes = nodesOf(request.key, tally, reader)
      const queue = tally.limits.queueQos0
      if (nodes.length > 0) return { type: 'online', nodes, queue }
      return queue ? 'queue' : 'drop'
    }
    case 'list':
      return list(request, reader, context)
  }
}

/** Where those are who get what comes. */
function nodesOf(key: Uint8Array, { attached }: Tally, reader: Reader): string[] {
  if (attached) return [readSession(reader, key)!.node]
  const group = reader.get(withKind(key, KIND_GROUP))
  const online = group === undefined ? [] : decodeGroup(group).members.filter(({ connection }) => connection !== '')
  return [...new Set(online.map(({ node }) => node))]
}

function readEntries(request: Extract<Query, { type: 'entries' }>, reader: Reader): Answer {
  const { key, incarnation, from, to, limit, bytesMax } = request
  const prefix = partStart(key, incarnation, PART_ENTRY)
  const sequences: number[] = []
  const values: Uint8Array[] = []
  let bytes = 0
  const cursor = reader.cursor({ start: sequenceKey(prefix, from), end: sequenceKey(prefix, to + 1) })
  try {
    while (cursor.next()) {
      const sequence = sequenceOf(cursor.key)
      sequences.push(sequence)
      values.push(Buffer.from(cursor.value))
      bytes += cursor.value.length
      if (sequences.length >= limit || bytes >= bytesMax)
        return { type: 'entries', sequences, values, examined: sequence }
    }
  } finally {
    cursor.close()
  }
  return { type: 'entries', sequences, values, examined: to }
}

function list({ from, to, limit }: Extract<Query, { type: 'list' }>, reader: Reader, context: QueryContext): Answer {
  const end = earlierEnd(to, context.boundary.end)!
  const heads: InboxHead[] = []
  const stopped = walk(reader, { start: laterStart(from, context.boundary.start), end }, (start) => {
    if (heads.length >= limit) return false
    const session = readSession(reader, start)
    if (session !== null && sessionEndMs(session) > context.nowMs) {
      heads.push(headOf(start, session, readTally(reader, start)!))
    }
    return true
  })
  return { type: 'list', heads, next: stopped ?? (compareBytes(end, to) < 0 ? end : null) }
}

export function readSession(reader: Reader, start: Uint8Array): Session | null {
  const bytes = reader.get(withKind(start, KIND_SESSION))
  return bytes === undefined ? null : decodeSession(bytes)
}

export function readTally(reader: Reader, start: Uint8Array): Tally | null {
  const bytes = reader.get(withKind(start, KIND_TALLY))
  return bytes === undefined ? null : decodeTally(bytes)
}

function headOf(start: Uint8Array, session: Session, tally: Tally): InboxHead {
  return {
    ...parseStart(start),
    incarnation: session.incarnation,
    connection: session.attached ? session.connection : null,
    node: session.attached ? session.node : null,
    user: session.user,
    expirySeconds: session.expirySeconds,
    detachedAtMs: session.attached ? null : session.detachedAtMs,
    subscriptions: session.filters,
    queuedMessages: tally.messages,
    queuedBytes: tally.bytes,
  }
}
