import { deserialize, serialize } from 'node:v8'
import { BrokerError } from '../../base/errors.ts'
import type { AnswerCodec } from '../range/streams.ts'
import { ByteReader, ByteWriter } from '../range/wire.ts'

// Hot: every entry's answers are written on every replica. For six numbers V8's own serializer takes 4.5 us, this 1 us,
// and V8's leaves an object outside of the heap behind that a collection has to visit.

/** The first byte of what V8 writes is 0xff. */
const FORMAT = 1
const TAG = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  /** At least 0, as a varint. */
  integer: 4,
  number: 5,
  text: 6,
  bytes: 7,
  array: 8,
  object: 9,
} as const

/** A half of a surrogate pair, alone, has no bytes in UTF-8. */
const HALVES = /\p{Surrogate}/u

/** Answers on disk and between stores: any structured value; plain ones in a form of our own, others in V8's. */
export const ANSWERS: AnswerCodec = {
  encode(responses) {
    const writer = new ByteWriter(16 + responses.length * 8)
    writer.u8(FORMAT)
    writer.varint(responses.length)
    for (const response of responses) if (!write(writer, response)) return serialize(responses)
    return writer.finish()
  },
  decode(bytes) {
    if (bytes[0] !== FORMAT) return deserialize(bytes) as unknown[]
    const reader = new ByteReader(bytes)
    reader.u8()
    const responses = readAll(reader)
    reader.end()
    return responses
  },
}

/** False where a value is not plain. */
function write(writer: ByteWriter, value: unknown): boolean {
  switch (typeof value) {
    case 'number':
      writeNumber(writer, value)
      return true
    case 'string':
      writer.u8(TAG.text)
      writer.text(value)
      return !HALVES.test(value)
    case 'boolean':
      writer.u8(value ? TAG.true : TAG.false)
      return true
    case 'undefined':
      writer.u8(TAG.undefined)
      return true
    case 'object':
      return writeObject(writer, value)
    default:
      return false
  }
}

function writeNumber(writer: ByteWriter, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)) {
    writer.u8(TAG.integer)
    writer.varint(value)
    return
  }
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value)
  writer.u8(TAG.number)
  writer.bytes(bytes)
}

function writeObject(writer: ByteWriter, value: object | null): boolean {
  if (value === null) {
    writer.u8(TAG.null)
    return true
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Uint8Array.prototype) {
    writer.u8(TAG.bytes)
    writer.bytes(value as Uint8Array)
    return true
  }
  if (prototype === Array.prototype) {
    const list = value as unknown[]
    writer.u8(TAG.array)
    writer.varint(list.length)
    for (const each of list) if (!write(writer, each)) return false
    return true
  }
  return prototype === Object.prototype && writeFields(writer, value)
}

function writeFields(writer: ByteWriter, value: object): boolean {
  const keys = Object.keys(value)
  writer.u8(TAG.object)
  writer.varint(keys.length)
  for (const key of keys) {
    writer.text(key)
    if (HALVES.test(key) || !write(writer, (value as Record<string, unknown>)[key])) return false
  }
  return true
}

function readAll(reader: ByteReader): unknown[] {
  const values: unknown[] = []
  for (let left = reader.varint(); left > 0; left--) values.push(read(reader))
  return values
}

function read(reader: ByteReader): unknown {
  const tag = reader.u8()
  switch (tag) {
    case TAG.undefined:
      return undefined
    case TAG.null:
      return null
    case TAG.false:
      return false
    case TAG.true:
      return true
    case TAG.integer:
      return reader.varint()
    case TAG.number: {
      const { buffer, byteOffset, length } = reader.bytes()
      if (length === 8) return new DataView(buffer, byteOffset, length).getFloat64(0)
      break
    }
    case TAG.text:
      return reader.text()
    case TAG.bytes:
      return new Uint8Array(reader.bytes())
    case TAG.array:
      return readAll(reader)
    case TAG.object:
      return readFields(reader)
  }
  throw new BrokerError('STORAGE_FAILED', `Cannot read an answer of a range: its bytes are damaged, kind ${tag}`)
}

function readFields(reader: ByteReader): Record<string, unknown> {
  const fields: [string, unknown][] = []
  for (let left = reader.varint(); left > 0; left--) fields.push([reader.text(), read(reader)])
  // Unlike assignments this makes own fields of all names, `__proto__` too.
  return Object.fromEntries(fields)
}
