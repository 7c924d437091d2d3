/** A client connection of the generator against a server that answers in pieces of any size. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { encodePublish, PublishRing, scan } from '../../bench/generator/codec.ts'
import { Link, type LinkOptions, setOnLost } from '../../bench/generator/link.ts'
import { Meter } from '../../bench/generator/meter.ts'
import { OrderedTracker } from '../../bench/generator/tracker.ts'
import { account, Flow, Publisher, Subscriber } from '../../bench/generator/traffic.ts'

const server = createServer()
afterEach(() => {
  server.removeAllListeners('connection')
  server.close()
})

/** Listens, hands each accepted socket to `serve`, and gives the options to connect with. */
async function listen(serve: (socket: Socket) => void): Promise<LinkOptions> {
  server.on('connection', serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { host: '127.0.0.1', port, version: 4, clientId: 'c' }
}

/** Waits up to 5 s, on a busy machine too. */
function eventually(check: () => void): Promise<void> {
  return vi.waitFor(check, { timeout: 5000, interval: 5 })
}

const connack = Buffer.from([0x20, 2, 0, 0])

function messages(count: number, payloadBytes: number): Buffer {
  const ring = { version: 4, qos: 0, retain: false, payloadBytes, publisher: 0, topics: ['t'] } as const
  const frames = Array.from({ length: count }, (_, sequence) => {
    const one = new PublishRing({ ...ring, slotsMin: 1 })
    one.stamp(0, 1, sequence, 0, 1)
    return one.bytes
  })
  return Buffer.concat(frames)
}

/** Writes in pieces, each when the one before is on its way. */
async function writePieces(socket: Socket, bytes: Buffer, size: number): Promise<void> {
  socket.setNoDelay(true)
  for (let at = 0; at < bytes.length; at += size) {
    await new Promise<void>((resolve) => socket.write(bytes.subarray(at, at + size), () => setImmediate(resolve)))
  }
}

test.each([
  ['small messages in pieces of 7 bytes', 40, 16, 7],
  ['messages of 60 KiB in pieces of 10,000 bytes', 12, 60_000, 10_000],
  ['messages longer than the room for a cut packet', 4, 900_000, 300_000],
])('%s arrive once and in order', async (_name, count, payloadBytes, size) => {
  const stream = messages(count, payloadBytes)
  const options = await listen((socket) => void writePieces(socket, Buffer.concat([connack, stream]), size))
  const flow = new Flow(new Meter(0))
  const tracker = new OrderedTracker()
  flow.publishers.push(publisher(options, flow))
  const subscriber = new Subscriber(options, flow, 0, [tracker])
  await subscriber.open()
  await eventually(() => expect(tracker.received).toBe(count))
  expect([tracker.duplicated, tracker.outOfOrder, flow.strange]).toEqual([0, 0, 0])
  await subscriber.close()
})

function publisher(options: LinkOptions, flow: Flow, qos: 0 | 1 = 0, limit = 0): Publisher {
  const ring = { version: 4, qos, retain: false, payloadBytes: 16, publisher: 0, topics: ['t'], slotsMin: 4 } as const
  const how = { qos, inFlight: 4, onePerSegment: false, untilReceived: false, openLoop: false, copies: null, limit }
  return new Publisher(options, flow, { ring: new PublishRing(ring), ...how })
}

test('a publisher keeps within its window of unacknowledged messages, and stops at its limit', async () => {
  let socket: Socket | undefined
  const ids: number[] = []
  const options = await listen((accepted) => {
    socket = accepted
    accepted.on('data', (data) => {
      if (data[0] === 0x10) accepted.write(connack)
      else scan(data, 0, data.length, false, { onPublish: (_, id) => ids.push(id), onAck() {}, onControl() {} })
    })
  })
  const flow = new Flow(new Meter(0))
  const sender = publisher(options, flow, 1, 6)
  flow.publishers.push(sender)
  await sender.open()
  flow.running = true
  sender.pump()
  sender.pump()
  await eventually(() => expect(ids).toEqual([1, 2, 3, 4]))
  socket?.write(Buffer.from([0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3]))
  await eventually(() => expect(ids).toEqual([1, 2, 3, 4, 5, 6]))
  expect(sender.done).toBe(false)
  socket?.write(Buffer.from([0x40, 2, 0, 4, 0x40, 2, 0, 5, 0x40, 2, 0, 6]))
  await eventually(() => expect(sender.done).toBe(true))
  expect(account([sender], [[new OrderedTracker()]])).toMatchObject({ sent: 6, lost: 6 })
  await sender.close()
})

test('the open loop sends at once, whatever is unanswered, with the intended time in the message', async () => {
  const stamps: number[] = []
  const options = await listen((accepted) => {
    accepted.on('data', (data) => {
      if (data[0] === 0x10) accepted.write(connack)
      else {
        const onPublish = (_head: number, _id: number, payload: number) => stamps.push(data.readUInt32LE(payload + 8))
        scan(data, 0, data.length, false, { onPublish, onAck() {}, onControl() {} })
      }
    })
  })
  const flow = new Flow(new Meter(0))
  const ring = {
    version: 4,
    qos: 1,
    retain: false,
    payloadBytes: 16,
    publisher: 0,
    topics: ['t'],
    slotsMin: 1,
  } as const
  const how = { qos: 1 as const, inFlight: 1, onePerSegment: false, untilReceived: true, openLoop: true, copies: null }
  const limit = Number.POSITIVE_INFINITY
  const sender = new Publisher(options, flow, { ring: new PublishRing(ring), ...how, limit })
  await sender.open()
  flow.running = true
  sender.pump()
  for (const intended of [10, 20, 30]) sender.sendAt(intended)
  await eventually(() => expect(stamps).toEqual([10, 20, 30]))
  await sender.close()
})

test('a refused CONNECT, a refused SUBSCRIBE and a lost connection are named', async () => {
  let socket: Socket | undefined
  let code = 5
  const options = await listen((accepted) => {
    socket = accepted
    accepted.on('data', (data) => {
      accepted.write(data[0] === 0x10 ? Buffer.from([0x20, 2, 0, code]) : Buffer.from([0x90, 4, 0, 1, 0, 0x80]))
    })
  })
  await expect(new Link(options).open()).rejects.toThrow('refused CONNECT with 0x5')
  code = 0
  const link = new Link(options)
  await link.open()
  await expect(link.subscribe(['a', 'b'], 1)).rejects.toThrow('refused SUBSCRIBE with 0x80')
  const lost = new Promise<Error>(setOnLost)
  socket?.destroy()
  expect((await lost).message).toContain('Client "c": the broker closed the connection')
})

test('a message of somebody else is counted as strange, not as received', async () => {
  const foreign = encodePublish({ version: 4, qos: 0, retain: false, topic: 't', payload: Buffer.from('hello') })
  const options = await listen((socket) => void socket.write(Buffer.concat([connack, foreign])))
  const flow = new Flow(new Meter(0))
  const subscriber = new Subscriber(options, flow, 0, [new OrderedTracker()])
  await subscriber.open()
  await eventually(() => expect(flow.strange).toBe(1))
  expect(flow.meter.received).toBe(0)
  await subscriber.close()
})
