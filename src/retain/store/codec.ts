import { unreachable } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import { ByteReader, ByteWriter } from '../../kv/range/wire.ts'
import type { RetainLimits, RetainResult } from '../contract.ts'
import type { Usage } from './books.ts'
import { damaged, readSlot } from './schema.ts'

export type RetainCommand = SetCommand | ClearCommand | PurgeCommand | ExpireCommand | { type: 'rebuild' }

export interface SetCommand extends RetainLimits {
  type: 'set'
  key: Uint8Array
  slot: Uint8Array
}

export interface ClearCommand {
  type: 'clear'
  key: Uint8Array
  timestamp: number
}

/** A slice of clearing a tenant: from `from` on, within its subtree. */
export interface PurgeCommand {
  type: 'purge'
  from: Uint8Array
  olderThanSeconds: number
}

/** One entry of the time index is due. */
export interface ExpireCommand {
  type: 'expire'
  deadlineMs: number
  key: Uint8Array
}

/** `usage`: what the tenant has in this range now, as far as it is counted. */
export type RetainResponse =
  | { type: 'set'; result: RetainResult | 'quota-topics' | 'quota-bytes'; usage: Usage }
  /** `next`: where to go on, maybe in the next range; null after the tenant's last key. */
  | { type: 'purge'; cleared: number; next: Uint8Array | null }
  | { type: 'none' }

/**
 * A batch in the log:
 *
 *     version u8 | count varint | { op u8 | fields }
 */
const BATCH_VERSION = 1
const OPS = ['set', 'clear', 'purge', 'expire', 'rebuild'] as const

export function encodeCommands(commands: readonly RetainCommand[]): Uint8Array {
  const writer = new ByteWriter()
  writer.u8(BATCH_VERSION)
  writer.varint(commands.length)
  for (const command of commands) writeCommand(writer, command)
  return writer.finish()
}

function writeCommand(writer: ByteWriter, command: RetainCommand): void {
  writer.u8(OPS.indexOf(command.type))
  switch (command.type) {
    case 'set':
      writer.bytes(command.key)
      writer.bytes(command.slot)
      writeLimit(writer, command.topicsMax)
      return writeLimit(writer, command.bytesMax)
    case 'clear':
      writer.bytes(command.key)
      return writer.bytes(float(command.timestamp))
    case 'purge':
      writer.bytes(command.from)
      return writer.varint(command.olderThanSeconds)
    case 'expire':
      writer.varint(command.deadlineMs)
      return writer.bytes(command.key)
    case 'rebuild':
      return
    default:
      return unreachable(command)
  }
}

/** A timestamp as slots hold it, whatever clock made it. */
function float(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeDoubleBE(value)
  return bytes
}

function readFloat(bytes: Uint8Array): number {
  if (bytes.length !== 8) throw damaged('a timestamp has another length than 8')
  return Buffer.from(bytes).readDoubleBE()
}

/** 0 = no limit. */
function writeLimit(writer: ByteWriter, limit: number): void {
  writer.varint(limit === Infinity ? 0 : limit + 1)
}

/** The reverse of {@link encodeCommands}; throws STORAGE_FAILED on bytes that are not a batch. */
export function decodeCommands(entry: Uint8Array): RetainCommand[] {
  const reader = new ByteReader(entry)
  const version = reader.u8()
  if (version !== BATCH_VERSION) throw damaged(`a batch has version ${version}`)
  const commands: RetainCommand[] = []
  for (let left = reader.varint(); left > 0; left--) commands.push(readCommand(reader))
  reader.end()
  return commands
}

function readCommand(reader: ByteReader): RetainCommand {
  const op = reader.u8()
  const type = OPS[op]
  switch (type) {
    case 'set': {
      const key = reader.bytes().slice()
      const slot = reader.bytes().slice()
      readSlot(slot)
      return { type, key, slot, topicsMax: readLimit(reader), bytesMax: readLimit(reader) }
    }
    case 'clear':
      return { type, key: reader.bytes().slice(), timestamp: readFloat(reader.bytes()) }
    case 'purge':
      return { type, from: reader.bytes().slice(), olderThanSeconds: reader.varint() }
    case 'expire':
      return { type, deadlineMs: reader.varint(), key: reader.bytes().slice() }
    case 'rebuild':
      return { type }
    case undefined:
      throw damaged(`a batch has operation ${op}`)
    default:
      return unreachable(type)
  }
}

function readLimit(reader: ByteReader): number {
  const limit = reader.varint()
  return limit === 0 ? Infinity : limit - 1
}

/** Approximate bytes of a command, for the limits of batches and queues. */
export function commandBytes(command: RetainCommand): number {
  switch (command.type) {
    case 'set':
      return command.key.length + command.slot.length + 64
    case 'clear':
    case 'expire':
      return command.key.length + 64
    default:
      return 64
  }
}

/** Checks what a caller of the client may get wrong; the range takes commands as they are. */
export function checkLimits({ topicsMax, bytesMax }: RetainLimits): void {
  for (const limit of [topicsMax, bytesMax]) {
    if (limit === Infinity || (Number.isSafeInteger(limit) && limit >= 0)) continue
    throw new BrokerError('INVALID_ARGUMENT', `Cannot retain a message: a limit of ${limit} is not a whole number`)
  }
}
