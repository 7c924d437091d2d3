/**
 * The front-end nodes that may have sessions of a range attached, and those that are held for gone.
 *
 * Each range keeps its own account: a node may be fenced in one range and not in another, until it finds out and comes
 * with a new incarnation. A fence is one small entry; what the node held is detached in slices after it, by whoever leads.
 * From the fence on nothing is attached for it, so each session is detached once, and its will settled once.
 *
 * A split's right part knows no nodes: it finds them while its time index is built. After a merge a node that only the
 * right part has fenced is whole again: it may hold what it has in the left one.
 */
import type { Write } from '../../kv/engine/engine.ts'
import type { Reader } from '../../kv/range/coprocessor.ts'
import type { NodeCommand, Response } from './command.ts'
import type { Draft } from './draft.ts'
import { setSweeping } from './index-head.ts'
import { open as openRecord } from './records.ts'
import { after, nodeKey, nodesStart, textOf } from './schema.ts'
import { Writer } from './wire.ts'

export interface NodeRecord {
  /** Incarnation that may have sessions here; 0 = none. */
  present: number
  /** It and all before it are held for gone; 0 = none. */
  fenced: number
  /** Sessions of fenced incarnations are being detached: all inboxes below are done. Null = all are. */
  swept: Uint8Array | null
  /** Routes of fenced incarnations are to be taken back: the first range sees to that for all. */
  owesRoutes: boolean
}

const FROM_START = Buffer.alloc(0)
const VERSION = 1

/** Whether the incarnation may have sessions here; a later one than is known has from now on. */
export function admit(draft: Draft, node: string, incarnation: number): boolean {
  const record = readNode(draft, node)
  if (incarnation <= record.fenced || incarnation < record.present) return false
  if (incarnation === record.present) return true
  const before = record.present
  record.present = incarnation
  if (before > 0) beginSweep(draft, record, before)
  writeNode(draft, node, record, before > 0)
  return true
}

export function isFenced(draft: Draft, node: string, incarnation: number): boolean {
  return incarnation <= readNode(draft, node).fenced
}

export function enter(draft: Draft, { node, incarnation }: NodeCommand): Response {
  const before = readNode(draft, node)
  if (!admit(draft, node, incarnation)) return 'fenced'
  const record = readNode(draft, node)
  // Such as routes of one that has left.
  if (before.present === incarnation || !isFirst(draft) || record.owesRoutes) return 'done'
  record.fenced = Math.max(record.fenced, incarnation - 1)
  record.owesRoutes = true
  writeNode(draft, node, record, false)
  return 'done'
}

export function fence(draft: Draft, { node, incarnation }: NodeCommand): Response {
  const record = readNode(draft, node)
  if (incarnation <= record.fenced) return 'none'
  if (record.present <= incarnation) record.present = 0
  beginSweep(draft, record, incarnation)
  writeNode(draft, node, record, true)
  return 'done'
}

/** As a fence, where nothing is left to be detached. */
export function exit(draft: Draft, { node, incarnation }: NodeCommand): Response {
  const record = readNode(draft, node)
  if (record.present !== incarnation) return 'none'
  record.present = 0
  record.fenced = Math.max(record.fenced, incarnation)
  record.owesRoutes ||= isFirst(draft)
  writeNode(draft, node, record, false)
  return 'done'
}

export function routed(draft: Draft, { node, incarnation }: NodeCommand): Response {
  const record = readNode(draft, node)
  if (!record.owesRoutes || record.fenced !== incarnation) return 'none'
  record.owesRoutes = false
  writeNode(draft, node, record, false)
  return 'done'
}

/** A session that is attached, or a member that is there, as found: its node may have more. */
export function note(draft: Draft, node: string, incarnation: number): void {
  const record = readNode(draft, node)
  if (incarnation <= record.fenced) {
    if (record.swept !== null) return
    beginSweep(draft, record, record.fenced)
  } else if (record.present === 0) record.present = incarnation
  else if (incarnation === record.present) return
  else {
    beginSweep(draft, record, Math.min(incarnation, record.present))
    record.present = Math.max(incarnation, record.present)
  }
  writeNode(draft, node, record, false)
}

/** What the left range of a merge needs to know: see above. */
export function mergeNodes(
  reader: Reader,
  left: Uint8Array | undefined,
  right: Uint8Array | undefined,
): { writes: Write[]; sweeping: boolean } {
  const own = new Map(readNodes(reader, left).map(({ node, record }) => [node, record]))
  const writes: Write[] = []
  let sweeping = false
  for (const { node, record } of readNodes(reader, right)) {
    const value = joined(own.get(node) ?? NOBODY, record)
    sweeping ||= value.swept !== null
    writes.push({ type: 'put', key: nodeKey(left, node), value: encodeNode(value) })
  }
  return { writes, sweeping }
}

function joined(left: NodeRecord, right: NodeRecord): NodeRecord {
  const present = Math.max(left.present, right.present)
  const replaced = left.present > 0 && right.present > 0 ? Math.min(left.present, right.present) : 0
  const gone = present === 0 ? right.fenced : Math.min(right.fenced, present - 1)
  const fenced = Math.max(left.fenced, gone, replaced < present ? replaced : 0)
  const isSwept = left.swept === null && right.swept === null && fenced === left.fenced
  return { present, fenced, swept: isSwept ? null : FROM_START, owesRoutes: left.owesRoutes }
}

/** All nodes that a range knows of. */
export function readNodes(reader: Reader, rangeStart: Uint8Array | undefined): { node: string; record: NodeRecord }[] {
  const prefix = nodesStart(rangeStart)
  const cursor = reader.cursor({ start: prefix, end: after(prefix) })
  const nodes: { node: string; record: NodeRecord }[] = []
  try {
    while (cursor.next()) nodes.push({ node: textOf(cursor.key, prefix), record: decodeNode(cursor.value) })
  } finally {
    cursor.close()
  }
  return nodes
}

function beginSweep(draft: Draft, record: NodeRecord, incarnation: number): void {
  record.fenced = Math.max(record.fenced, incarnation)
  record.swept = FROM_START
  record.owesRoutes ||= isFirst(draft)
  setSweeping(draft, true)
}

/** The range that begins where all keys do. */
function isFirst(draft: Draft): boolean {
  return draft.context.boundary.start === undefined
}

export function allNodes(draft: Draft): { node: string; record: NodeRecord }[] {
  const prefix = nodesStart(draft.context.boundary.start)
  return draft
    .scan({ start: prefix, end: after(prefix) })
    .map(({ key, value }) => ({ node: textOf(key, prefix), record: decodeNode(value) }))
}

function keyOf(draft: Draft, node: string): Uint8Array {
  return nodeKey(draft.context.boundary.start, node)
}

/** A command before, of the same batch, has changed what is known of the node. */
export function isChanging(draft: Draft, node: string): boolean {
  return draft.hasWritten(keyOf(draft, node))
}

const NOBODY: NodeRecord = { present: 0, fenced: 0, swept: null, owesRoutes: false }

function readNode(draft: Draft, node: string): NodeRecord {
  const bytes = draft.get(keyOf(draft, node))
  return bytes === undefined ? { ...NOBODY } : decodeNode(bytes)
}

export function writeNode(draft: Draft, node: string, record: NodeRecord, isFence: boolean, sessions = 0): void {
  draft.put(keyOf(draft, node), encodeNode(record))
  const { present, fenced, owesRoutes } = record
  draft.effects.push({ type: 'node', node, present, fenced, owesRoutes, isFence, sessions })
}

const SWEEPS = 1
const OWES_ROUTES = 2

function encodeNode(record: NodeRecord): Uint8Array {
  const writer = new Writer(32)
  writer.u8(VERSION)
  writer.varint(record.present)
  writer.varint(record.fenced)
  writer.u8((record.swept === null ? 0 : SWEEPS) | (record.owesRoutes ? OWES_ROUTES : 0))
  if (record.swept !== null) writer.bytes(record.swept)
  return writer.finish()
}

export function decodeNode(bytes: Uint8Array): NodeRecord {
  const reading = openRecord(bytes)
  const present = reading.varint()
  const fenced = reading.varint()
  const flags = reading.u8()
  const swept = (flags & SWEEPS) === 0 ? null : Buffer.from(reading.bytes())
  return { present, fenced, swept, owesRoutes: (flags & OWES_ROUTES) !== 0 }
}
