import { unreachable } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { RangeDescriptor } from './coprocessor.ts'
import type { Interval, Intervals } from './intervals.ts'
import { decodeDescriptor, encodeDescriptor } from './schema.ts'
import { ByteReader, ByteWriter } from './wire.ts'

/** What a range's log carries. Everything that decides the outcome is in it, so that every replica comes out the same. */
export type Entry<Command> = CommandsEntry<Command> | SplitEntry | MergeEntry

/** See {@link MergeState}: the first four are the left range's, the last two the right one's. */
export type MergeEntry = MergeBeginEntry | MergeCommitEntry | MergeDecisionEntry | FreezeEntry | ThawEntry

interface EntryHead {
  /** Version of the coprocessor's logic that must apply it. */
  logic: number
  /** Time of the entry, ms since 1970: max(the leader's clock, the last entry's). */
  nowMs: number
  /** The boundary's generation that it was proposed for: refused where another one holds by now. */
  epochVersion: number
}

export interface CommandsEntry<Command> extends EntryHead {
  type: 'commands'
  runs: readonly Run[]
  /** Those of all runs, in their order. */
  commands: readonly Command[]
}

/** Ends the range at `key`; `child` is the id of the range that goes on from there. */
export interface SplitEntry extends EntryHead {
  type: 'split'
  key: Uint8Array
  child: string
}

/** The neighbour that begins where this range ends is to be taken over. */
export interface MergeBeginEntry extends EntryHead {
  type: 'merge-begin'
  right: string
  /** The right one's boundary's generation. */
  version: number
  /** The generation of this range's replicas that it was proposed for. */
  confVersion: number
  /** Where the right one's replicas are. */
  stores: readonly string[]
}

/** The right range is a part of this one: where it was proposed, all replicas of the right one have its log up to `index`. */
export interface MergeCommitEntry extends EntryHead {
  type: 'merge-commit'
  /** As frozen. */
  right: RangeDescriptor
  /** Of the entry that froze it. */
  index: number
  term: number
}

export interface MergeDecisionEntry extends EntryHead {
  type: 'merge-cancel' | 'merge-end'
  right: string
  version: number
}

/** From here on nothing is applied: the range is to become a part of `left`. */
export interface FreezeEntry extends EntryHead {
  type: 'freeze'
  left: string
  confVersion: number
}

/** The range goes on, in its next generation. */
export interface ThawEntry extends EntryHead {
  type: 'thaw'
}

/**
 * Commands of one client's numbered stream: the numbers `first` to `first + count - 1`.
 *
 * `previous` is the number that must have been applied before: the one of the client's command before, where there is
 * one unanswered, else the last answered. Numbers in between belong to no one (given up, or another range's since a
 * split).
 */
export interface Run {
  /** Unique for ever: the client's incarnation, and a counter. Empty: the range's own timed work, without numbers. */
  stream: string
  previous: number
  first: number
  count: number
  /** The client has every answer up to here: they need not be kept. */
  answered: number
  /**
   * Of the numbers between `previous` and `first` those that are on their way to another range, since a split: after a
   * merge they may come here.
   */
  apart?: Intervals
}

const FORMAT = 1
const KINDS = [
  'commands',
  'split',
  'merge-begin',
  'merge-commit',
  'merge-cancel',
  'merge-end',
  'freeze',
  'thaw',
] as const

/** Whether the bytes of an entry are a merge's commit, without reading all of them. */
export function isMergeCommit(bytes: Uint8Array): boolean {
  return KINDS[bytes[1] ?? 0] === 'merge-commit'
}

export function encodeEntry<Command>(
  entry: Entry<Command>,
  encode: (commands: readonly Command[]) => Uint8Array,
): Uint8Array {
  const writer = new ByteWriter()
  writer.u8(FORMAT)
  writer.u8(KINDS.indexOf(entry.type))
  writer.varint(entry.logic)
  writer.varint(entry.nowMs)
  writer.varint(entry.epochVersion)
  if (entry.type !== 'commands') {
    encodeAct(writer, entry)
    return writer.finish()
  }
  writer.varint(entry.runs.length)
  for (const run of entry.runs) {
    writer.text(run.stream)
    writer.varint(run.previous)
    writer.varint(run.first)
    writer.varint(run.count)
    writer.varint(run.answered)
  }
  writer.bytes(encode(entry.commands))
  encodeApart(writer, entry.runs)
  return writer.finish()
}

export function decodeEntry<Command>(bytes: Uint8Array, decode: (entry: Uint8Array) => Command[]): Entry<Command> {
  const reader = new ByteReader(bytes)
  const format = reader.u8()
  const type = KINDS[reader.u8()]
  if (format !== FORMAT || type === undefined) {
    throw new BrokerError('STORAGE_FAILED', `Cannot read an entry of format ${format}: it is not known here`)
  }
  const head = { logic: reader.varint(), nowMs: reader.varint(), epochVersion: reader.varint() }
  if (type !== 'commands') {
    const entry = decodeAct(reader, type, head)
    reader.end()
    return entry
  }
  const runs: Run[] = []
  for (let left = reader.varint(); left > 0; left--) {
    runs.push({
      stream: reader.text(),
      previous: reader.varint(),
      first: reader.varint(),
      count: reader.varint(),
      answered: reader.varint(),
    })
  }
  const commands = decode(reader.bytes())
  if (!reader.done) decodeApart(reader, runs)
  reader.end()
  return { type, ...head, runs, commands }
}

function encodeAct(writer: ByteWriter, entry: SplitEntry | MergeEntry): void {
  switch (entry.type) {
    case 'split':
      writer.bytes(entry.key)
      return writer.text(entry.child)
    case 'merge-begin':
      writer.text(entry.right)
      writer.varint(entry.version)
      writer.varint(entry.confVersion)
      writer.varint(entry.stores.length)
      for (const store of entry.stores) writer.text(store)
      return
    case 'merge-commit':
      writer.bytes(encodeDescriptor(entry.right))
      writer.varint(entry.index)
      return writer.varint(entry.term)
    case 'merge-cancel':
    case 'merge-end':
      writer.text(entry.right)
      return writer.varint(entry.version)
    case 'freeze':
      writer.text(entry.left)
      return writer.varint(entry.confVersion)
    case 'thaw':
      return
    default:
      return unreachable(entry)
  }
}

function decodeAct(
  reader: ByteReader,
  type: (SplitEntry | MergeEntry)['type'],
  head: EntryHead,
): SplitEntry | MergeEntry {
  switch (type) {
    case 'split':
      return { type, ...head, key: reader.bytes(), child: reader.text() }
    case 'merge-begin': {
      const attempt = { right: reader.text(), version: reader.varint(), confVersion: reader.varint() }
      return { type, ...head, ...attempt, stores: Array.from({ length: reader.varint() }, () => reader.text()) }
    }
    case 'merge-commit':
      return {
        ...{ type, ...head },
        right: decodeDescriptor(new Uint8Array(reader.bytes())),
        index: reader.varint(),
        term: reader.varint(),
      }
    case 'merge-cancel':
    case 'merge-end':
      return { type, ...head, right: reader.text(), version: reader.varint() }
    case 'freeze':
      return { type, ...head, left: reader.text(), confVersion: reader.varint() }
    case 'thaw':
      return { type, ...head }
    default:
      return unreachable(type)
  }
}

/** At the end, and only where there is any: nearly no run has it. */
function encodeApart(writer: ByteWriter, runs: readonly Run[]): void {
  runs.forEach(({ apart }, i) => {
    if (apart === undefined || apart.length === 0) return
    writer.varint(i)
    writer.varint(apart.length)
    for (const [from, to] of apart) {
      writer.varint(from)
      writer.varint(to)
    }
  })
}

function decodeApart(reader: ByteReader, runs: Run[]): void {
  while (!reader.done) {
    const run = runs[reader.varint()]
    const apart = Array.from({ length: reader.varint() }, (): Interval => [reader.varint(), reader.varint()])
    if (run !== undefined) run.apart = apart
  }
}
