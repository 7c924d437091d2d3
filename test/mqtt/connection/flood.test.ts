import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import { encodePacket, type Packet } from '../../../src/mqtt/codec/index.ts'
import { connectOf, subscriptionOf, willOf } from '../session/values.ts'
import type { FakeTransport } from './fake-transport.ts'
import { Harness } from './harness.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const bytesOf = (packet: Packet) => encodePacket(packet, 5)

function noise(random: Random, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < size; i++) bytes[i] = random.below(256)
  return bytes
}

/** A CONNECT of one of a few clients, so that they take each other over now and then. */
function anyConnect(random: Random): Buffer {
  const properties = random.below(3) === 0 ? { sessionExpiryInterval: 1 } : {}
  const will = random.below(3) === 0 ? willOf() : null
  return bytesOf(
    connectOf({
      clientId: `c${random.below(100)}`,
      keepAliveSeconds: 10,
      cleanStart: random.below(2) === 0,
      properties,
      will,
    }),
  )
}

/** What a client that was accepted does before it breaks. */
function anyLife(random: Random): Buffer {
  const subscriptions = [subscriptionOf(`f/${random.below(20)}`, { qos: 1 })]
  const publish = {
    type: 'publish',
    topic: `f/${random.below(20)}`,
    payload: Buffer.alloc(random.below(2000)),
  } as const
  const plain = { retain: false, dup: false, properties: {} }
  return Buffer.concat([
    bytesOf({ type: 'subscribe', packetId: 1, subscriptions, properties: {} }),
    bytesOf({ ...publish, ...plain, qos: 0, packetId: 0 }),
    bytesOf({ ...publish, ...plain, qos: 2, packetId: 1 + random.below(60_000) }),
  ])
}

/** One bad client, from its accepted socket to what it has sent last. */
function misbehave(harness: Harness, random: Random): FakeTransport {
  const transport = harness.open()
  const connect = anyConnect(random)
  switch (random.below(9)) {
    case 0: // never says a word
      break
    case 1: // half a CONNECT
      transport.send(connect.subarray(0, 1 + random.below(connect.length - 1)))
      break
    case 2:
      transport.send(noise(random, 1 + random.below(300)))
      break
    case 3: // announces a packet far too large
      transport.send(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]))
      break
    case 4:
      transport.send(Buffer.concat([connect, connect]))
      break
    case 5:
      transport.send(Buffer.concat([connect, anyLife(random), noise(random, 100)]))
      break
    case 6: // reads nothing
      transport.stuck = true
      transport.send(Buffer.concat([connect, anyLife(random)]))
      break
    case 7: // a byte at a time
      for (const byte of connect) transport.send(Buffer.from([byte]))
      transport.send(anyLife(random))
      break
    default:
      transport.send(Buffer.concat([connect, anyLife(random), Buffer.from([0x32, 0xff, 0x3f, 0])]))
  }
  return transport
}

/** `count` bad clients; all of them are gone when it resolves. */
async function flood(harness: Harness, random: Random, count: number, witnesses: WeakRef<object>[]): Promise<void> {
  for (let done = 0; done < count; done += 1000) {
    const transports = Array.from({ length: 1000 }, () => misbehave(harness, random))
    await harness.settle()
    // Half of them go away by themselves, some with a reset; the rest must be sent away.
    for (const transport of transports) {
      if (random.below(2) === 0) transport.close(random.below(2) === 0 ? new Error('reset') : null)
    }
    await harness.run(15_500)
    witnesses.push(...transports.slice(0, 10).map((transport) => new WeakRef(transport)))
    harness.events.length = 0
    harness.inbox.calls.length = 0
    harness.inbox.inserted.length = 0
    harness.inbox.sinks.clear()
  }
}

test('twenty thousand bad clients leave nothing behind', async () => {
  const flapping = { enabled: true, disconnectsMax: 1000, windowSeconds: 60, banSeconds: 1, clientsMax: 100 }
  const harness = await new Harness({ options: { flapping, connectTimeoutMs: 10_000 } }).start()
  const survivor = await harness.subscriber('alive', 0, { clientId: 'survivor', keepAliveSeconds: 0 })
  const random = seededRandom(Number(process.env.SEED ?? 1))
  const witnesses: WeakRef<object>[] = []

  await flood(harness, random, 4_000, witnesses)
  const before = await heapBytes(harness)
  await flood(harness, random, 16_000, witnesses)
  const after = await heapBytes(harness)

  expect(harness.server.connections).toBe(1)
  expect(harness.metric('flockmq_mqtt_connections')).toBe(1)
  expect(harness.table.subscriptions).toBe(1)
  expect(harness.dist.stats().routes).toBe(1 + routesOfSessions(harness))
  expect(witnesses.filter((witness) => witness.deref() !== undefined)).toEqual([])
  expect((after - before) / 16_000).toBeLessThan(100) // bytes for each of them: a connection takes thousands
  const publisher = await harness.connect({ clientId: 'publisher' })
  publisher.publish('alive', 'still')
  await harness.settle()
  expect(survivor.payloads()).toEqual(['still'])
}, 60_000)

/** Sessions that are kept have their routes; nobody else has one. */
function routesOfSessions(harness: Harness): number {
  return [...harness.inbox.sessions.values()].reduce((sum, { subscriptions }) => sum + subscriptions.size, 0)
}

async function heapBytes(harness: Harness): Promise<number> {
  await harness.settle()
  collectGarbage()
  await harness.settle()
  collectGarbage()
  return process.memoryUsage().heapUsed + process.memoryUsage().external
}
