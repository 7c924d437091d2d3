import { BrokerError } from '../../base/errors.ts'
import { ByteReader, ByteWriter } from './wire.ts'

/** What a range's log carries. Everything that decides the outcome is in it, so that every replica comes out the same. */
export type Entry<Command> = CommandsEntry<Command> | SplitEntry

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
}

const FORMAT = 1
const KINDS = ['commands', 'split'] as const

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
  if (entry.type === 'split') {
    writer.bytes(entry.key)
    writer.text(entry.child)
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
  if (type === 'split') {
    const entry = { type, ...head, key: reader.bytes(), child: reader.text() }
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
  reader.end()
  return { type, ...head, runs, commands }
}
