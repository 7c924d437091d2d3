import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../../../src/base/clock.ts'
import { ShellCounters } from '../../../../src/cluster/underlay/shell/counters.ts'
import { EXCHANGES_MAX, ExchangeClient } from '../../../../src/cluster/underlay/shell/exchange-client.ts'
import {
  CONNECTIONS_MAX,
  CONNECTIONS_PER_ADDRESS_MAX,
  ExchangeServer,
} from '../../../../src/cluster/underlay/shell/exchange-server.ts'
import { FrameReader, frameOf } from '../../../../src/cluster/underlay/shell/frames.ts'
import { until } from './real-cluster.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

/** Answers each frame with `answer` of it; timers fire when the test says. */
async function serve(answer: (bytes: Buffer) => Uint8Array | null | 'later', frameBytesMax = 100_000) {
  const counters = new ShellCounters()
  const timers = new Set<() => void>()
  const clock: Clock = {
    ...systemClock,
    after: (_ms, callback) => {
      timers.add(callback)
      return () => timers.delete(callback)
    },
  }
  const tcp: Server = createServer()
  await new Promise<void>((resolve) => tcp.listen(0, () => resolve()))
  const port = (tcp.address() as { port: number }).port
  const server: ExchangeServer = new ExchangeServer(tcp, {
    ...{ clock, counters, frameBytesMax },
    onFrame: (request, bytes) => {
      const reply = answer(bytes)
      if (reply !== 'later') server.answer(request, reply)
    },
  })
  closing.push(() => {
    server.close()
    tcp.close()
  })
  return { counters, server, port, timers }
}

function client(frameBytesMax = 100_000): ExchangeClient {
  const made = new ExchangeClient({ clock: systemClock, frameBytesMax, localAddress: undefined })
  closing.push(() => made.close())
  return made
}

function ask(port: number, bytes: Uint8Array, with_ = client()): Promise<Buffer | null | 'oversized'> {
  return new Promise((resolve) => {
    with_.begin({ to: { host: '127.0.0.1', port }, bytes, answered: true, timeoutMs: 2_000 }, resolve)
  })
}

/** Open; the server may close it. */
function dial(port: number, from = '127.0.0.1'): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: from })
    socket.on('error', () => {})
    socket.on('connect', () => resolve(socket))
    closing.push(() => socket.destroy())
  })
}

test.each([0, 1, 1_000, 100_000])('%i bytes there and back', async (size) => {
  const { port, counters } = await serve((bytes) => Buffer.from(bytes).reverse())
  const bytes = Buffer.from(Array.from({ length: size }, (_, i) => i % 251))
  expect(await ask(port, bytes)).toEqual(Buffer.from(bytes).reverse())
  expect(counters).toMatchObject({ connections: 1, connectionsRefused: 0, connectionsBroken: 0, oversized: 0 })
})

test('no answer, nobody there, too long an answer', async () => {
  const silent = await serve(() => null)
  expect(await ask(silent.port, Buffer.from('x'))).toBeNull()
  expect(await ask(1, Buffer.from('x'))).toBeNull()
  const long = await serve(() => new Uint8Array(1_000))
  expect(await ask(long.port, Buffer.from('x'), client(999))).toBe('oversized')
})

test('a frame in single bytes, and more behind it', () => {
  const reader = new FrameReader(10)
  const frame = frameOf(Buffer.from('0123456789'))
  for (const byte of frame.subarray(0, -1)) expect(reader.push(Buffer.from([byte]))).toBeNull()
  expect(reader.push(Buffer.from('9and more'))).toEqual(Buffer.from('0123456789'))
  expect(new FrameReader(9).push(frame)).toBe('oversized')
  expect(new FrameReader(10).push(Buffer.from([0xff, 0xff, 0xff, 0xff]))).toBe('oversized')
})

test('memory follows what came, not what was announced', () => {
  const reader = new FrameReader(1_000_000)
  const announced = Buffer.alloc(4)
  announced.writeUInt32BE(1_000_000)
  reader.push(announced)
  expect(reader.heldBytes).toBeLessThan(2_000)
  reader.push(Buffer.alloc(10_000))
  expect(reader.heldBytes).toBeLessThan(30_000)
})

test('an oversized frame, and one that breaks off, are counted', async () => {
  const { port, counters, server } = await serve(() => null, 100)
  const long = await dial(port)
  long.write(frameOf(new Uint8Array(101)))
  await until(() => counters.oversized === 1 && server.connections === 0, 'it is refused')
  const broken = await dial(port)
  broken.write(frameOf(new Uint8Array(100)).subarray(0, 50))
  await until(() => server.connections === 1, 'it is there')
  broken.destroy()
  await until(() => counters.connectionsBroken === 2, 'it is counted')
})

// Only Linux has all of 127.0.0.0/8.
test.runIf(process.platform === 'linux')('one address does not take all connections, nor all together', async () => {
  const { port, counters, server } = await serve(() => 'later')
  for (let i = 0; i < CONNECTIONS_PER_ADDRESS_MAX + 3; i++) await dial(port)
  await until(() => counters.connectionsRefused === 3, 'the fourth part of them')
  expect(server.connections).toBe(CONNECTIONS_PER_ADDRESS_MAX)
  for (let i = 0; i < CONNECTIONS_MAX + 4; i++) await dial(port, `127.0.0.${2 + (i % 10)}`)
  await until(() => counters.connections === CONNECTIONS_PER_ADDRESS_MAX + 3 + CONNECTIONS_MAX + 4, 'all came')
  expect(server.connections).toBe(CONNECTIONS_MAX)
  server.close()
  await until(() => server.connections === 0, 'all gone')
})

test('frames that are not complete hold 16 MiB together at most, and what was held is free again', async () => {
  const { port, counters, server } = await serve((bytes) => bytes.subarray(0, 1), 4 * 1_048_576)
  const begin = frameOf(new Uint8Array(3 * 1_048_576)).subarray(0, 1_200_000)
  const sockets = await Promise.all(Array.from({ length: 16 }, () => dial(port)))
  for (const socket of sockets) socket.write(begin)
  await until(() => counters.connectionsRefused >= 4, 'some of them, which would hold 2 MiB each')
  expect(server.connections).toBeGreaterThanOrEqual(6)
  for (const socket of sockets) socket.destroy()
  await until(() => server.connections === 0, 'all gone')
  expect(await ask(port, new Uint8Array(2 * 1_048_576))).toHaveLength(1)
})

test('what takes too long is ended', async () => {
  const { port, counters, server, timers } = await serve(() => 'later')
  const socket = await dial(port)
  socket.write('\0')
  await until(() => timers.size === 1, 'it has a deadline')
  for (const fire of timers) fire()
  await until(() => server.connections === 0, 'it is ended')
  expect(counters.connectionsOverdue).toBe(1)
})

test('one who asks without end is told to wait', async () => {
  const { port } = await serve(() => 'later')
  const asking = client()
  const exchange = { to: { host: '127.0.0.1', port }, bytes: new Uint8Array(1), answered: true, timeoutMs: 5_000 }
  for (let i = 0; i < EXCHANGES_MAX; i++) expect(asking.begin(exchange, () => {})).toBe(true)
  expect(asking.begin(exchange, () => expect.fail('It was not begun'))).toBe(false)
})
