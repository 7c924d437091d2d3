import type { CommandBatch, QueryRequest } from '../client/transport.ts'
import { FrameBytes, FrameCursor } from '../raft/frame-bytes.ts'
import { SERVICE_NAMES, type ServiceName } from '../range/coprocessor.ts'
import { type Interval, NO_INTERVALS } from '../range/intervals.ts'
import { type AnswerCodec, LOST } from '../range/streams.ts'

/** How one service's commands, questions and answers become bytes. */
export interface CallCodec<Command> {
  encode(commands: readonly Command[]): Uint8Array
  decode(bytes: Uint8Array): Command[]
  values: AnswerCodec
}

const VERSION = 1
const NAME_BYTES_MAX = 255
const STREAM_BYTES_MAX = 1_024
/** Of one batch: more is a mistake, or no friend. */
const KEYS_MAX = 65_536

/** The service that a request is for; what follows is for its codec. */
export function serviceOf(cursor: FrameCursor): ServiceName {
  const version = cursor.u8()
  if (version !== VERSION) throw cursor.malformed(`version ${version} is not known here`)
  const service = SERVICE_NAMES[cursor.u8()]
  if (service === undefined) throw cursor.malformed('the service is not known here')
  return service
}

export function encodeBatch<Command>(
  service: ServiceName,
  batch: CommandBatch<Command>,
  codec: CallCodec<Command>,
): Uint8Array {
  const bytes = begin(service, batch)
  const { stream, previous, first, count, answered, apart = NO_INTERVALS } = batch.run
  bytes.text(stream)
  for (const number of [previous, first, count, answered, batch.bytes]) bytes.varint(number)
  bytes.varint(batch.keys.length)
  for (const key of batch.keys) bytes.data(key)
  bytes.data(codec.encode(batch.commands))
  for (const [from, to] of apart) {
    bytes.varint(from)
    bytes.varint(to)
  }
  return bytes.take()
}

export function decodeBatch<Command>(cursor: FrameCursor, codec: CallCodec<Command>): CommandBatch<Command> {
  const range = cursor.text(NAME_BYTES_MAX)
  const epochVersion = cursor.varint()
  const stream = cursor.text(STREAM_BYTES_MAX)
  const run = {
    stream,
    previous: cursor.varint(),
    first: cursor.positive(),
    count: cursor.positive(),
    answered: cursor.varint(),
  }
  const bytes = cursor.varint()
  const count = cursor.varint()
  if (count > KEYS_MAX) throw cursor.malformed(`it has ${count} keys`)
  const keys = Array.from({ length: count }, () => cursor.data())
  const commands = codec.decode(cursor.data())
  if (commands.length !== run.count) throw cursor.malformed('its numbers do not fit its commands')
  if (cursor.done) return { range, epochVersion, run, keys, commands, bytes }
  const apart: Interval[] = []
  while (!cursor.done) apart.push([cursor.varint(), cursor.varint()])
  return { range, epochVersion, run: { ...run, apart }, keys, commands, bytes }
}

export function encodeRequest<Query>(
  service: ServiceName,
  request: QueryRequest<Query>,
  values: AnswerCodec,
): Uint8Array {
  const bytes = begin(service, request)
  bytes.data(request.key)
  bytes.u8(request.linearizable ? 1 : 0)
  bytes.data(values.encode([request.query]))
  return bytes.take()
}

export function decodeRequest<Query>(cursor: FrameCursor, values: AnswerCodec): QueryRequest<Query> {
  const range = cursor.text(NAME_BYTES_MAX)
  const epochVersion = cursor.varint()
  const key = cursor.data()
  const linearizable = cursor.flag()
  const [query] = values.decode(cursor.data()) as Query[]
  if (!cursor.done) throw cursor.malformed('it does not end')
  return { range, epochVersion, key, query: query as Query, linearizable }
}

/** Answers of a batch; those that are lost by their place. */
export function encodeAnswers(responses: readonly unknown[], values: AnswerCodec): Uint8Array {
  const lost = responses.flatMap((response, i) => (response === LOST ? [i] : []))
  const bytes = new FrameBytes()
  bytes.varint(lost.length)
  for (const at of lost) bytes.varint(at)
  bytes.data(values.encode(lost.length === 0 ? responses : responses.map((each) => (each === LOST ? null : each))))
  return bytes.take()
}

export function decodeAnswers<Response>(frame: Uint8Array, values: AnswerCodec): (Response | typeof LOST)[] {
  const cursor = new FrameCursor(frame, 'answers of a range')
  const lost = Array.from({ length: Math.min(cursor.varint(), KEYS_MAX) }, () => cursor.varint())
  const responses = values.decode(cursor.data()) as (Response | typeof LOST)[]
  for (const at of lost) if (at < responses.length) responses[at] = LOST
  return responses
}

function begin(service: ServiceName, call: { range: string; epochVersion: number }): FrameBytes {
  const bytes = new FrameBytes()
  bytes.u8(VERSION)
  bytes.u8(SERVICE_NAMES.indexOf(service))
  bytes.text(call.range)
  bytes.varint(call.epochVersion)
  return bytes
}
