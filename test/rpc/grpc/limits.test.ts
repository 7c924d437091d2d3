import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { CONNECT, WINDOW_BYTES } from '../../../src/rpc/grpc/connect.ts'
import { serviceOf } from '../../../src/rpc/grpc/contracts.ts'
import { reflectionMethods } from '../../../src/rpc/grpc/reflection.ts'
import { GrpcServer } from '../../../src/rpc/grpc/server.ts'
import { GrpcTransport } from '../../../src/rpc/grpc/transport.ts'
import type { WireEvents } from '../../../src/rpc/link/transport.ts'
import { until } from '../rig.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

async function listen(connectionsMax = 8): Promise<{ server: GrpcServer; packets: Buffer[]; ends: string[] }> {
  const packets: Buffer[] = []
  const ends: string[] = []
  const events: WireEvents = {
    packet: (bytes) => void packets.push(bytes),
    closed: (reason) => void ends.push(reason),
  }
  const server = await GrpcServer.listen({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    accept: () => events,
    methods: new Map([[serviceOf('grpc.reflection.v1.ServerReflection'), reflectionMethods]]),
    connectionsMax,
  })
  closers.push(() => server.close())
  return { server, packets, ends }
}

function http2(server: GrpcServer): ClientHttp2Session {
  const session = connectHttp2(`http://127.0.0.1:${server.port}`, { settings: { initialWindowSize: 1_000 } })
  session.on('error', () => {})
  closers.push(() => session.destroy())
  return session
}

function request(session: ClientHttp2Session, path: string, encoding = 'identity') {
  const headers = { 'content-type': 'application/grpc', 'grpc-encoding': encoding }
  const stream = session.request({ ':method': 'POST', ':path': path, ...headers })
  stream.on('error', () => {})
  const end = { status: '' }
  const read = (headers: object) => {
    if ('grpc-status' in headers) end.status = String(headers['grpc-status'])
  }
  stream.on('response', read)
  stream.on('trailers', read)
  return { stream, end }
}

/** Compressed u8 | length u32 BE | message. */
function framed(message: Buffer, compressed = 0, length = message.length): Buffer {
  const prefix = Buffer.from([compressed, 0, 0, 0, 0])
  prefix.writeUInt32BE(length, 1)
  return Buffer.concat([prefix, message])
}

test('HTTP/2 holds no link back, and has a limit for streams', async () => {
  const { server } = await listen()
  const session = http2(server)
  const [settings] = await once(session, 'remoteSettings')
  expect(settings).toMatchObject({ initialWindowSize: WINDOW_BYTES, maxConcurrentStreams: 64 })
  await until(() => (session.state.remoteWindowSize ?? 0) >= WINDOW_BYTES, 'the window of the connection')
})

test.each([
  ['too large', 'identity', framed(Buffer.alloc(0), 0, 128 * 1024 + 1), '8'],
  ['too large when inflated', 'gzip', framed(gzipSync(Buffer.alloc(1024 * 1024)), 1), '8'],
  ['compressed in a way nobody knows', 'rot13', framed(Buffer.from('x'), 1), '12'],
])('a packet that is %s ends its call', async (_name, encoding, bytes, status) => {
  const { server, packets, ends } = await listen()
  const { stream, end } = request(http2(server), CONNECT.path, encoding)
  stream.resume()
  stream.write(framed(Buffer.from('fine')))
  await until(() => packets.length === 1, 'the first packet')
  stream.write(bytes)
  await until(() => end.status !== '', 'the end')
  expect(end.status).toBe(status)
  await until(() => ends.length === 1, 'the link hears of it')
  expect(packets.map(String)).toEqual(['fine'])
})

test('connections beyond the limit are closed at once', async () => {
  const { server } = await listen(2)
  const sockets: Socket[] = []
  let closed = 0
  for (let i = 0; i < 5; i++) {
    const socket = connect(server.port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('close', () => closed++)
    await once(socket, 'connect')
  }
  for (const socket of sockets) socket.resume()
  await until(() => closed === 3, 'three are closed')
  server.close()
  await until(() => closed === 5, 'and all of them with the server')
})

test('who does not read the answers of reflection is cut off', async () => {
  const { server } = await listen()
  const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo'
  const { stream, end } = request(http2(server), path)
  stream.pause()
  // listServices (7): ""
  for (let i = 0; i < 300; i++) stream.write(framed(Buffer.from([0x3a, 0])))
  await until(() => stream.readableLength > 0, 'the first answers')
  stream.end(() => stream.resume())
  await until(() => end.status !== '', 'the end')
  expect(end.status).toBe('8')
})

test('a peer that has frozen keeps no connection of those who gave it up', async () => {
  const peer = createServer({ allowHalfOpen: true }, (socket) => {
    // Only who has let go answers bytes with a reset.
    socket.on('end', () => {
      const timer = setInterval(() => socket.write('x'), 2)
      socket.on('close', () => clearInterval(timer))
    })
    socket.on('error', () => resets++)
    socket.on('data', () => wire.close())
  })
  let resets = 0
  peer.listen(0, '127.0.0.1')
  await once(peer, 'listening')
  closers.push(() => peer.close())
  const { port } = peer.address() as AddressInfo
  const target = { node: 'frozen' as HostId, address: `127.0.0.1:${port}`, kind: 'raft' } as const
  const wire = new GrpcTransport(null).dial(target, { connected() {}, packet() {}, closed() {} })
  await until(() => resets === 1, 'the connection is gone')
})
