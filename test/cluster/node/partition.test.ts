import type { Packet } from 'mqtt-packet'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { builtMain } from '../../build.ts'
import { dialTcp } from '../../durability/peer.ts'
import { untilReal } from '../../durability/process-node.ts'
import { Talker } from '../../durability/talker.ts'
import { eventually, Fleet, type NodeProcess } from './fleet.ts'
import { Network } from './network.ts'

vi.setConfig({ testTimeout: 240_000 })

const TOKEN = 'hush'
const MQTT_PORT = 1_883
const TRANSIENT = { clean: true, properties: { sessionExpiryInterval: 0 } }
const SUCCESS = 0
/** Implementation specific error: try again later. */
const NOT_NOW = 0x83
const SERVER_UNAVAILABLE = 0x88

const reason = Network.whyNot()
const fleet = new Fleet(TOKEN)
let network: Network

beforeAll(async () => {
  if (reason !== null) return
  await builtMain()
  network = Network.open(3)
  for (let index = 0; index < 3; index++) {
    const address = network.address(index)
    const set = [
      ...[`cluster.host=${address}`, `api.host=${address}`, `api.token=${TOKEN}`, 'cluster.secret=s'],
      ...[`mqtt.listeners.tcp.host=${address}`, `mqtt.listeners.tcp.port=${MQTT_PORT}`],
      'plugins.authNone.beyondLoopback=true',
    ]
    const seed = index === 0 ? [] : ['--seed', fleet.nodes[0]!.address]
    await fleet.add([...set.flatMap((text) => ['--set', text]), ...seed], network.prefix(index)).start()
  }
  await fleet.whole()
  await fleet.replicated(3)
}, 120_000)

afterAll(async () => {
  await fleet.end()
  network?.end()
})

async function client(node: number, clientId: string, fields: Parameters<Talker['connect']>[1] = {}): Promise<Talker> {
  const talker = new Talker(
    dialTcp(() => MQTT_PORT, network.address(node)),
    untilReal,
  )
  const { reasonCode } = await talker.connect(clientId, fields)
  expect(reasonCode).toBe(0)
  return talker
}

let packetId = 0

/** Sends, and gives the reason code of the answer and how long it took, ms. */
async function ask(talker: Talker, packet: Packet, answer: 'puback' | 'suback' | 'connack'): Promise<[number, number]> {
  const beganMs = performance.now()
  talker.send(packet)
  const got = (await talker.expect(answer)) as { reasonCode?: number; granted?: (number | object)[] }
  const code = got.granted === undefined ? (got.reasonCode ?? 0) : Number(got.granted[0])
  return [code, performance.now() - beganMs]
}

function publish(talker: Talker, topic: string, payload = 'x'): Promise<[number, number]> {
  const messageId = (++packetId % 60_000) + 1
  return ask(talker, { cmd: 'publish', topic, payload, qos: 1, retain: false, dup: false, messageId }, 'puback')
}

const whole = async () => {
  await fleet.whole()
  await eventually(async () => (await Promise.all(fleet.nodes.map(isReady))).every(Boolean), 'all are ready')
}

async function isReady(node: NodeProcess): Promise<boolean> {
  const answer = await fetch(`${node.api}/readyz`)
  await answer.arrayBuffer()
  return answer.ok
}

test.skipIf(reason !== null)(
  `one node is cut off: the others go on, it refuses what it cannot promise, and it heals${reason === null ? '' : ` (skipped: ${reason})`}`,
  async () => {
    const session = await client(0, 'session')
    await session.subscribe('kept/#', 1)
    const local = await client(2, 'local', TRANSIENT)
    await local.subscribe('here', 1)
    const [majority, minority] = [await client(1, 'majority', TRANSIENT), await client(2, 'minority', TRANSIENT)]
    const wanderer = await client(2, 'wanderer')

    for (const other of [0, 1]) {
      network.cut(2, other)
      network.cut(other, 2)
    }
    const cutMs = performance.now()
    await eventually(async () => (await publish(majority, 'kept/first'))[0] === SUCCESS, 'the majority goes on')
    const goesOnMs = performance.now() - cutMs

    // What needs nobody else goes on.
    minority.send({ cmd: 'publish', topic: 'here', payload: 'now', qos: 0, retain: false, dup: false })
    await local.expect('publish')
    const [publishCode, publishMs] = await publish(minority, 'kept/second')
    const subscriptions = [{ topic: 'new', qos: 1 as const }]
    const subscribe = { cmd: 'subscribe', messageId: 9, subscriptions } as const
    const [subscribeCode, subscribeMs] = await ask(minority, subscribe, 'suback')
    const late = new Talker(
      dialTcp(() => MQTT_PORT, network.address(2)),
      untilReal,
    )
    const lateMs = performance.now()
    const { reasonCode: connectCode } = await late.connect('late')
    const connectMs = performance.now() - lateMs
    expect([publishCode, subscribeCode, connectCode]).toEqual([NOT_NOW, NOT_NOW, SERVER_UNAVAILABLE])
    // Its session goes on where the majority is.
    const again = await client(0, 'wanderer')

    for (const from of [0, 1, 2]) for (const to of [0, 1, 2]) if (from !== to) network.mend(from, to)
    const healMs = performance.now()
    await whole()
    const wholeMs = performance.now() - healMs
    expect(await untilReal(() => wanderer.closed)).toBe(true)
    expect(again.closed).toBe(false)
    await eventually(async () => (await publish(minority, 'kept/third'))[0] === SUCCESS, 'it accepts again')
    expect((await ask(minority, { ...subscribe, messageId: 10 }, 'suback'))[0]).toBe(1)
    const topics = () => session.heard.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : []))
    await untilReal(() => topics().includes('kept/third'))
    expect(topics()).toEqual(expect.arrayContaining(['kept/first', 'kept/third']))
    const rows = { goesOnMs, publishMs, subscribeMs, connectMs, wholeMs }
    const told = Object.entries(rows).map(([name, ms]) => `${name} ${Math.round(ms)}`)
    process.stdout.write(`${told.join(', ')}\n`)
  },
)
