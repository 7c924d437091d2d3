/** mqtt.js against a real process, over tcp and WebSocket. */
import { connect as begin, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { startBroker, type TestBroker } from '../support/broker.ts'

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 })

let broker: TestBroker
const clients: MqttClient[] = []

beforeAll(async () => {
  broker = await startBroker({ process: true })
})
afterAll(() => broker.stop())
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true)
})

interface Received {
  topic: string
  payload: string
  packet: IPublishPacket
}

/** A client, and a way to wait for its next message. */
class Client {
  readonly mqtt: MqttClient
  connack: IConnackPacket | null = null
  readonly #received: Received[] = []
  #wake: (() => void) | null = null

  constructor(mqtt: MqttClient) {
    this.mqtt = mqtt
    mqtt.on('message', (topic, payload, packet) => {
      this.#received.push({ topic, payload: payload.toString(), packet })
      this.#wake?.()
    })
  }

  async next(): Promise<Received> {
    while (this.#received.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#received.shift()!
  }

  get waiting(): number {
    return this.#received.length
  }
}

async function connect(transport: 'tcp' | 'ws', options: IClientOptions = {}): Promise<Client> {
  const url = transport === 'tcp' ? `mqtt://127.0.0.1:${broker.port}` : `ws://127.0.0.1:${broker.wsPort}/mqtt`
  const mqtt = begin(url, { reconnectPeriod: 0, ...options })
  clients.push(mqtt)
  // The listener for messages is there before the first one of a resumed session.
  const client = new Client(mqtt)
  client.connack = await new Promise<IConnackPacket>((resolve, reject) => {
    mqtt.once('connect', resolve)
    mqtt.once('error', reject)
  })
  return client
}

for (const transport of ['tcp', 'ws'] as const) {
  for (const protocolVersion of [4, 5] as const) {
    describe(`${transport}, version ${protocolVersion}`, () => {
      const root = `${transport}/${protocolVersion}`
      const open = (options: IClientOptions = {}) => connect(transport, { protocolVersion, ...options })

      test('publishes and subscribes at each QoS', async () => {
        const subscriber = await open()
        await subscriber.mqtt.subscribeAsync(`${root}/each/#`, { qos: 2 })
        const publisher = await open()
        for (const qos of [0, 1, 2] as const) {
          await publisher.mqtt.publishAsync(`${root}/each/${qos}`, `qos ${qos}`, { qos })
          const { topic, payload, packet } = await subscriber.next()
          expect({ topic, payload, qos: packet.qos }).toEqual({
            topic: `${root}/each/${qos}`,
            payload: `qos ${qos}`,
            qos,
          })
        }
      })

      test('a burst of every QoS arrives complete and in order', async () => {
        const subscriber = await open()
        await subscriber.mqtt.subscribeAsync(`${root}/burst/+`, { qos: 2 })
        const publisher = await open()
        const sent = Array.from({ length: 300 }, (_, i) => i)
        const published = Promise.all(
          sent.map((i) => publisher.mqtt.publishAsync(`${root}/burst/${i % 3}`, `${i}`, { qos: (i % 3) as 0 | 1 | 2 })),
        )
        const got: number[][] = [[], [], []]
        for (const _ of sent) {
          const { payload, packet } = await subscriber.next()
          got[packet.qos]!.push(Number(payload))
        }
        await published
        expect(got).toEqual([0, 1, 2].map((qos) => sent.filter((i) => i % 3 === qos)))
      })

      test('a retained message comes with a subscription', async () => {
        const publisher = await open()
        await publisher.mqtt.publishAsync(`${root}/retained`, 'kept', { qos: 1, retain: true })
        const subscriber = await open()
        await subscriber.mqtt.subscribeAsync(`${root}/retained`, { qos: 1 })
        const { payload, packet } = await subscriber.next()
        expect({ payload, retain: packet.retain }).toEqual({ payload: 'kept', retain: true })
      })

      test('the will of a client that breaks off is published', async () => {
        const watcher = await open()
        await watcher.mqtt.subscribeAsync(`${root}/will`, { qos: 1 })
        const will = { topic: `${root}/will`, payload: Buffer.from('gone'), qos: 1, retain: false } as const
        const client = await open({ will })
        client.mqtt.stream.destroy()
        expect((await watcher.next()).payload).toBe('gone')
      })

      test('a persistent session is resumed with its queue', async () => {
        const options: IClientOptions = { clientId: `${transport}-${protocolVersion}-kept`, clean: false }
        if (protocolVersion === 5) options.properties = { sessionExpiryInterval: 60 }
        const first = await open(options)
        await first.mqtt.subscribeAsync(`${root}/kept`, { qos: 1 })
        await first.mqtt.endAsync()
        const publisher = await open()
        for (const payload of ['1', '2', '3']) await publisher.mqtt.publishAsync(`${root}/kept`, payload, { qos: 1 })
        const again = await open(options)
        expect(again.connack!.sessionPresent).toBe(true)
        for (const payload of ['1', '2', '3']) expect((await again.next()).payload).toBe(payload)
      })

      test('a shared subscription gives each message to one member', async () => {
        const members = [await open(), await open(), await open()]
        for (const member of members) await member.mqtt.subscribeAsync(`$share/g/${root}/shared`, { qos: 1 })
        const publisher = await open()
        const payloads = Array.from({ length: 30 }, (_, i) => `${i}`)
        for (const payload of payloads) await publisher.mqtt.publishAsync(`${root}/shared`, payload, { qos: 1 })
        const got = await Promise.all(
          members.map(async (member) => await Promise.all(Array.from({ length: 10 }, () => member.next()))),
        )
        expect(
          got
            .flat()
            .map(({ payload }) => payload)
            .toSorted(),
        ).toEqual(payloads.toSorted())
        expect(members.map(({ waiting }) => waiting)).toEqual([0, 0, 0])
      })

      test('after unsubscribing nothing comes', async () => {
        const subscriber = await open()
        await subscriber.mqtt.subscribeAsync([`${root}/gone`, `${root}/marker`], { qos: 1 })
        await subscriber.mqtt.unsubscribeAsync(`${root}/gone`)
        const publisher = await open()
        await publisher.mqtt.publishAsync(`${root}/gone`, 'never', { qos: 1 })
        await publisher.mqtt.publishAsync(`${root}/marker`, 'marker', { qos: 1 })
        expect((await subscriber.next()).payload).toBe('marker')
      })
    })
  }
}

test('request and response with correlation data', async () => {
  const requester = await connect('tcp', { protocolVersion: 5 })
  const responder = await connect('ws', { protocolVersion: 5 })
  await responder.mqtt.subscribeAsync('question', { qos: 1 })
  await requester.mqtt.subscribeAsync('answers/1', { qos: 1 })
  const correlationData = Buffer.from([1, 0, 255])
  await requester.mqtt.publishAsync('question', '6 x 7', {
    qos: 1,
    properties: { responseTopic: 'answers/1', correlationData, userProperties: { a: ['1', '2'] } },
  })
  const { packet } = await responder.next()
  expect(packet.properties).toMatchObject({ responseTopic: 'answers/1', userProperties: { a: ['1', '2'] } })
  const properties = { correlationData: packet.properties!.correlationData! }
  await responder.mqtt.publishAsync(packet.properties!.responseTopic!, '42', { qos: 1, properties })
  const answer = await requester.next()
  expect(answer.payload).toBe('42')
  expect(answer.packet.properties!.correlationData).toEqual(correlationData)
})

test('topic aliases of mqtt.js both ways', async () => {
  const subscriber = await connect('tcp', { protocolVersion: 5, properties: { topicAliasMaximum: 10 } })
  await subscriber.mqtt.subscribeAsync('a/topic/with/an/alias', { qos: 1 })
  const publisher = await connect('tcp', { protocolVersion: 5, autoUseTopicAlias: true, autoAssignTopicAlias: true })
  for (const payload of ['1', '2', '3']) {
    await publisher.mqtt.publishAsync('a/topic/with/an/alias', payload, { qos: 1 })
    expect(await subscriber.next()).toMatchObject({ topic: 'a/topic/with/an/alias', payload })
  }
})
