/** Section 6: MQTT over WebSocket. */
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { createWebSocketStream, WebSocket } from 'ws'
import { RawClient } from './client.ts'
import { inBoth, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker()
const sockets: WebSocket[] = []

async function open(protocols: string[] = ['mqtt']): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${h.broker.wsPort}/mqtt`, protocols)
  sockets.push(socket)
  await once(socket, 'open')
  return socket
}

function clientOf(socket: WebSocket, version: 4 | 5): RawClient {
  return new RawClient(createWebSocketStream(socket), version)
}

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.terminate()
})

test('[MQTT-6.0.0-1] [v3:MQTT-6.0.0-1] a text frame closes the connection', async () => {
  await inBoth(async (version) => {
    const socket = await open()
    const client = clientOf(socket, version)
    client.send(wire.connect({ version, clientId: name('c') }))
    await client.expect('connack', { reasonCode: 0 })
    socket.send('text')
    await once(socket, 'close')
  })
  const early = await open()
  early.send('text')
  await once(early, 'close')
})

test('[MQTT-6.0.0-1] the broker sends binary frames', async () => {
  const socket = await open()
  socket.send(wire.connect({ clientId: name('c') }))
  const [data, isBinary] = (await once(socket, 'message')) as [Buffer, boolean]
  expect(isBinary).toBe(true)
  expect(wire.decode(data, 5)).toMatchObject({ type: 'connack', reasonCode: 0 })
})

test('[MQTT-6.0.0-2] [v3:MQTT-6.0.0-2] packets need not be aligned with frames', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 1, { version })
    const stream = Buffer.concat([
      wire.connect({ version, clientId: name('c') }),
      ...[1, 2, 3].map((id) => wire.publish({ version, topic, payload: `${id}`, qos: 1, packetId: id })),
      wire.PINGREQ,
    ])
    for (const size of [1, 7, stream.length]) {
      const socket = await open()
      const client = clientOf(socket, version)
      for (let at = 0; at < stream.length; at += size) socket.send(stream.subarray(at, at + size))
      await client.expect('connack', { reasonCode: 0 })
      for (const id of [1, 2, 3]) {
        await client.expect('puback', { packetId: id })
        await subscriber.receive({ payload: `${id}` })
      }
      await client.expect('pingresp')
    }
  })
})

test('[MQTT-6.0.0-4] [v3:MQTT-6.0.0-4] the subprotocol that is selected is mqtt', async () => {
  expect((await open(['mqtt'])).protocol).toBe('mqtt')
  expect((await open(['other', 'mqtt'])).protocol).toBe('mqtt')
})

test('[MQTT-6.0.0-3] [v3:MQTT-6.0.0-3] without the subprotocol mqtt the handshake is refused', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${h.broker.wsPort}/mqtt`, ['other'])
  sockets.push(socket)
  const [error] = (await once(socket, 'error')) as [Error]
  expect(error.message).toBeTruthy()
})

test('messages pass between tcp and WebSocket clients', async () => {
  const topic = name()
  const client = clientOf(await open(), 5)
  client.send(wire.connect({ clientId: name('c') }))
  await client.expect('connack', { reasonCode: 0 })
  await client.subscribe(topic, 2)
  const publisher = await h.connect({ version: 4 })
  for (const qos of [0, 1, 2]) {
    await publisher.publish(topic, 'x'.repeat(70_000), { qos })
    expect((await client.receive({ qos })).payload).toHaveLength(70_000)
  }
})
