import { unreachable } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import { ByteReader, ByteWriter } from '../range/wire.ts'
import type { MetaCommand, SettingChange } from './contract.ts'

/**
 * A batch in the log:
 *
 *     version u8 | count varint | { op u8 | fields }
 */
const BATCH_VERSION = 1
const OPS = ['found', 'assign', 'created', 'set', 'register', 'fence', 'leave', 'gone'] as const

export function encodeCommands(commands: readonly MetaCommand[]): Uint8Array {
  const writer = new ByteWriter()
  writer.u8(BATCH_VERSION)
  writer.varint(commands.length)
  for (const command of commands) writeCommand(writer, command)
  return writer.finish()
}

function writeCommand(writer: ByteWriter, command: MetaCommand): void {
  writer.u8(OPS.indexOf(command.type))
  switch (command.type) {
    case 'found':
      writer.text(command.id)
      writer.text(command.name)
      writer.text(command.founder)
      return writeTexts(writer, command.services)
    case 'assign':
      writer.text(command.service)
      writer.text(command.store)
      return writer.text(command.expected ?? '')
    case 'created':
      writer.text(command.service)
      return writer.text(command.store)
    case 'set':
      writer.varint(command.changes.length)
      for (const change of command.changes) writeChange(writer, change)
      return
    case 'register':
      writer.text(command.host)
      writer.varint(command.incarnation)
      return writeTexts(writer, command.features)
    case 'fence':
      writer.text(command.host)
      return writer.varint(command.incarnation)
    case 'leave':
      writer.text(command.host)
      return writer.u8(command.leaving ? 1 : 0)
    case 'gone':
      return writer.text(command.host)
    default:
      return unreachable(command)
  }
}

/** `0` = no value, or none expected; else one more than the length or the version. */
function writeChange(writer: ByteWriter, { section, name, value, expected }: SettingChange): void {
  writer.text(section)
  writer.text(name)
  writer.u8(value === null ? 0 : 1)
  if (value !== null) writer.bytes(value)
  writer.varint(expected === null ? 0 : expected + 1)
}

function writeTexts(writer: ByteWriter, texts: readonly string[]): void {
  writer.varint(texts.length)
  for (const text of texts) writer.text(text)
}

/** The reverse of {@link encodeCommands}; throws STORAGE_FAILED on bytes that are not a batch. */
export function decodeCommands(entry: Uint8Array): MetaCommand[] {
  const reader = new ByteReader(entry)
  const version = reader.u8()
  if (version !== BATCH_VERSION) throw damaged(`a batch has version ${version}`)
  const commands: MetaCommand[] = []
  for (let left = reader.varint(); left > 0; left--) commands.push(readCommand(reader))
  reader.end()
  return commands
}

function readCommand(reader: ByteReader): MetaCommand {
  const op = reader.u8()
  const type = OPS[op]
  const host = () => reader.text() as HostId
  switch (type) {
    case 'found':
      return { type, id: reader.text(), name: reader.text(), founder: host(), services: readTexts(reader) }
    case 'assign': {
      const [service, store, expected] = [reader.text(), host(), host()]
      return { type, service, store, expected: expected === '' ? null : expected }
    }
    case 'created':
      return { type, service: reader.text(), store: host() }
    case 'set':
      return { type, changes: readList(reader, readChange) }
    case 'register':
      return { type, host: host(), incarnation: reader.varint(), features: readTexts(reader) }
    case 'fence':
      return { type, host: host(), incarnation: reader.varint() }
    case 'leave':
      return { type, host: host(), leaving: reader.u8() === 1 }
    case 'gone':
      return { type, host: host() }
    case undefined:
      throw damaged(`a batch has operation ${op}`)
    default:
      return unreachable(type)
  }
}

function readChange(reader: ByteReader): SettingChange {
  const [section, name] = [reader.text(), reader.text()]
  const value = reader.u8() === 0 ? null : reader.bytes().slice()
  const expected = reader.varint()
  return { section, name, value, expected: expected === 0 ? null : expected - 1 }
}

function readTexts(reader: ByteReader): string[] {
  return readList(reader, (each) => each.text())
}

/** The count is only believed as far as there are bytes. */
function readList<T>(reader: ByteReader, item: (reader: ByteReader) => T): T[] {
  const items: T[] = []
  for (let left = reader.varint(); left > 0; left--) items.push(item(reader))
  return items
}

function damaged(why: string): BrokerError {
  return new BrokerError('STORAGE_FAILED', `Cannot read an entry of the cluster's records: ${why}`)
}
