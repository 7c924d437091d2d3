import { readFileSync } from 'node:fs'
import { connect as connectTls } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { Authority, Client, cleanup, dial, NO_TLS, open, until } from './harness.ts'

const authority = new Authority()
const server = authority.issue('server', '/CN=broker')
afterAll(() => authority.remove())

interface WsClient {
  ws: WebSocket
  received: string
  status: number | null
  refusal: string | null
}

function connect(port: number, options: object = {}, path = '/mqtt', protocols: string[] = ['mqtt']): WsClient {
  const { secure, ...rest } = options as { secure?: boolean }
  const ws = new WebSocket(`${secure ? 'wss' : 'ws'}://127.0.0.1:${port}${path}`, protocols, rest)
  const client: WsClient = { ws, received: '', status: null, refusal: null }
  ws.on('message', (data) => {
    client.received += data.toString()
  })
  ws.on('close', (status) => {
    client.status = status
  })
  ws.on('error', (error) => {
    client.refusal = error.message
  })
  cleanup(() => ws.terminate())
  return client
}

const REQUEST =
  'GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n'

describe('ws', () => {
  test('messages are stream bytes, both ways', async () => {
    const { listener, seen } = await open({ type: 'ws' })
    const client = connect(listener.port)
    await until(() => seen.length === 1 && client.ws.readyState === WebSocket.OPEN)
    expect(client.ws.protocol).toBe('mqtt')
    expect(client.ws.extensions).toBe('')
    expect(seen[0]!.info).toMatchObject({ type: 'ws', secure: false, remoteAddress: '127.0.0.1' })
    client.ws.send(Buffer.from('hel'))
    client.ws.send(Buffer.alloc(0))
    client.ws.send(Buffer.from('lo'))
    await until(() => seen[0]!.text() === 'hello')
    seen[0]!.transport.write(Buffer.from('world'))
    await until(() => client.received === 'world')
    expect(seen[0]!.transport.writableBytes).toBe(0)
    seen[0]!.transport.end(Buffer.from('!'))
    await until(() => client.status === 1000 && seen[0]!.closed === null)
    expect(client.received).toBe('world!')
    expect(seen[0]!.transport.write(Buffer.from('x'))).toBe(false)
    await until(() => listener.counters.open === 0)
  })

  test('bytes sent right behind the request are not lost', async () => {
    const { listener, seen } = await open({ type: 'ws' })
    const client = dial(listener)
    // A masked binary frame with the key 0: the payload is as it is.
    client.socket.write(`${REQUEST}\x82\x85\0\0\0\0hello`, 'latin1')
    await until(() => seen[0]?.text() === 'hello')
    await until(() => client.received.includes('101 Switching Protocols'))
  })

  test.each([
    ['the subprotocol of MQTT 3.1', '/mqtt', ['mqttv3.1'], 'mqttv3.1'],
    ['the better of two', '/mqtt', ['mqttv3.1', 'mqtt'], 'mqtt'],
    ['a query', '/mqtt?token=1', ['mqtt'], 'mqtt'],
  ])('%s is accepted', async (_what, path, protocols, chosen) => {
    const { listener, seen } = await open({ type: 'ws' })
    const client = connect(listener.port, {}, path, protocols)
    await until(() => seen.length === 1 && client.ws.readyState === WebSocket.OPEN)
    expect(client.ws.protocol).toBe(chosen)
  })

  test.each([
    ['another path', '/other', ['mqtt'], {}, '404'],
    ['a longer path', '/mqtt/x', ['mqtt'], {}, '404'],
    ['no subprotocol', '/mqtt', [], {}, '400'],
    ['another subprotocol', '/mqtt', ['chat'], {}, '400'],
    ['another origin', '/mqtt', ['mqtt'], { origin: 'https://evil.example' }, '403'],
    ['another version', '/mqtt', ['mqtt'], { protocolVersion: 8 }, null],
  ])('%s is refused', async (_what, path, protocols, options, status) => {
    const { listener, seen } = await open({ type: 'ws', origins: ['https://app.example'] })
    if (status === null) {
      const client = dial(listener)
      client.socket.write(REQUEST.replace('Version: 13', 'Version: 7'))
      await until(() => client.closed)
      expect(client.received).toContain('HTTP/1.1 400')
    } else {
      const client = connect(listener.port, options, path, protocols)
      await until(() => client.refusal !== null)
      expect(client.refusal).toContain(status)
    }
    await until(() => listener.counters.httpRefused === 1 && listener.counters.open === 0)
    expect(seen).toEqual([])
  })

  test('an allowed origin and a client that is no browser are let in', async () => {
    const { listener, seen } = await open({ type: 'ws', origins: ['https://app.example'] })
    connect(listener.port, { origin: 'https://app.example' })
    connect(listener.port)
    await until(() => seen.length === 2)
  })

  test('plain HTTP, nonsense, endless headers and silence end, counted', async () => {
    const { listener, seen } = await open({ type: 'ws' }, { handshakeTimeoutMs: 100 })
    const http = dial(listener)
    http.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await until(() => http.closed)
    expect(http.received).toContain('426 Upgrade Required')
    const mqtt = dial(listener)
    mqtt.socket.write(Buffer.from('100c00044d5154540402003c0000', 'hex'))
    await until(() => mqtt.closed)
    const endless = dial(listener)
    endless.socket.write(`GET /mqtt HTTP/1.1\r\nX: ${'x'.repeat(9000)}`)
    await until(() => endless.closed)
    await until(() => listener.counters.httpRefused === 3)
    const slow = dial(listener)
    slow.socket.write('GET /mqtt HTTP/1.1\r\n')
    await until(() => slow.closed)
    expect(listener.counters).toMatchObject({ handshakeTimeouts: 1, handshaking: 0, open: 0 })
    expect(seen).toEqual([])
  })

  test('a text message ends with 1003, a too large one with 1009', async () => {
    const { listener, seen } = await open({ type: 'ws' }, { messageBytesMax: 1000 })
    const text = connect(listener.port)
    await until(() => text.ws.readyState === WebSocket.OPEN)
    text.ws.send('hello')
    await until(() => text.status !== null)
    expect(text.status).toBe(1003)
    await until(() => seen[0]!.closed !== undefined)
    expect(seen[0]!.closed?.message).toContain('text message')
    expect(seen[0]!.bytes).toBe(0)

    const large = connect(listener.port)
    await until(() => large.ws.readyState === WebSocket.OPEN)
    large.ws.send(Buffer.alloc(1000))
    await until(() => seen[1]?.bytes === 1000)
    large.ws.send(Buffer.alloc(600), { fin: false })
    large.ws.send(Buffer.alloc(600))
    await until(() => large.status !== null)
    expect(large.status).toBe(1009)
    expect(seen[1]!.bytes).toBe(1000)
    await until(() => listener.counters.open === 0)
  })

  test('pause stops reading, resume goes on; a client that does not read is seen and drained', async () => {
    const { listener, seen } = await open({ type: 'ws' }, {}, ({ transport }) => transport.pause())
    const client = connect(listener.port)
    await until(() => seen.length === 1 && client.ws.readyState === WebSocket.OPEN)
    const { transport } = seen[0]!
    client.ws.send(Buffer.from('wait'))
    client.ws.pause()
    let sent = 0
    do sent += 256 * 1024
    while (transport.write(Buffer.alloc(256 * 1024)))
    expect(transport.writableBytes).toBeGreaterThan(0)
    expect(seen[0]!.bytes).toBe(0)
    client.ws.resume()
    await until(() => seen[0]!.drained > 0 && client.received.length === sent)
    expect(transport.writableBytes).toBe(0)
    transport.resume()
    await until(() => seen[0]!.text() === 'wait')
  })

  test('pings are answered, but not piled up for a client that does not read', async () => {
    const { listener, seen } = await open({ type: 'ws' })
    const client = connect(listener.port)
    let pongs = 0
    client.ws.on('pong', () => pongs++)
    await until(() => seen.length === 1 && client.ws.readyState === WebSocket.OPEN)
    client.ws.ping('x')
    await until(() => pongs === 1)
    client.ws.pause()
    while (seen[0]!.transport.write(Buffer.alloc(256 * 1024)));
    const waiting = seen[0]!.transport.writableBytes
    for (let i = 0; i < 1000; i++) client.ws.ping('y'.repeat(100))
    client.ws.send(Buffer.from('end'))
    await until(() => seen[0]!.text() === 'end')
    expect(seen[0]!.transport.writableBytes).toBeLessThanOrEqual(waiting)
  })

  test('a client that goes away without a close is closed; end is bounded in time', async () => {
    const { listener, seen } = await open({ type: 'ws' })
    const client = connect(listener.port)
    await until(() => seen.length === 1 && client.ws.readyState === WebSocket.OPEN)
    client.ws.terminate()
    await until(() => seen[0]!.closed !== undefined)
    const deaf = dial(listener)
    deaf.socket.write(REQUEST)
    await until(() => seen.length === 2)
    seen[1]!.transport.end()
    await until(() => seen[1]!.closed !== undefined)
    expect(listener.counters.open).toBe(0)
  })
})

describe('wss', () => {
  test('bytes pass; the PROXY header comes before TLS', async () => {
    const { listener, seen } = await open({ type: 'wss', tls: { ...NO_TLS, ...server }, path: '/broker' })
    const client = connect(listener.port, { secure: true, ca: readFileSync(authority.ca.cert) }, '/broker')
    await until(() => seen.length === 1 && client.ws.readyState === WebSocket.OPEN)
    expect(seen[0]!.info).toMatchObject({ type: 'wss', secure: true, remoteAddress: '127.0.0.1' })
    client.ws.send(Buffer.from('hello'))
    await until(() => seen[0]!.text() === 'hello')
    seen[0]!.transport.end(Buffer.from('bye'))
    await until(() => client.status === 1000)
    expect(client.received).toBe('bye')
    await until(() => listener.counters.open === 0)
  })

  test('PROXY header, TLS and request', async () => {
    const tls = { ...NO_TLS, ...server }
    const { listener, seen } = await open({ type: 'wss', tls, proxyProtocol: 'required' })
    const below = dial(listener)
    below.socket.write('PROXY TCP6 2001:db8::7 ::1 4321 8084\r\n')
    below.socket.removeAllListeners('data')
    const client = new Client(connectTls({ socket: below.socket, ca: readFileSync(authority.ca.cert) }))
    client.socket.write(`${REQUEST}\x82\x85\0\0\0\0hello`, 'latin1')
    await until(() => seen[0]?.text() === 'hello')
    expect(seen[0]!.info).toMatchObject({ remoteAddress: '2001:db8::7', secure: true })
  })

  test('PROXY header and request in one segment, without TLS', async () => {
    const { listener, seen } = await open({ type: 'ws', proxyProtocol: 'required' })
    dial(listener).socket.write(`PROXY UNKNOWN\r\n${REQUEST}\x82\x85\0\0\0\0hello`, 'latin1')
    await until(() => seen[0]?.text() === 'hello')
  })

  test('a refused request and a failed handshake are counted once', async () => {
    const { listener } = await open({ type: 'wss', tls: { ...NO_TLS, ...server } })
    const client = connect(listener.port, { secure: true, ca: readFileSync(authority.ca.cert) }, '/wrong')
    await until(() => client.refusal !== null)
    const plain = dial(listener)
    plain.socket.write(REQUEST)
    await until(() => plain.closed)
    await until(() => listener.counters.open === 0)
    expect(listener.counters).toMatchObject({ httpRefused: 1, tlsFailed: 1, handshaking: 0, handshakeAborted: 0 })
  })
})
