/**
 * Scenario `restart`: a data folder full of persistent sessions and retained messages; then from the start of the
 * broker's process to the first persistent session that is served, and to the first message that reached its queue.
 */
import { type BrokerOptions, launch, type RunningBroker, removeFolder, temporaryFolder } from './brokers/index.ts'
import { disconnectPacket, encodePublish, PUBACK, PublishRing } from './generator/codec.ts'
import { noMessages } from './generator/context.ts'
import { metricOf, readMetrics } from './generator/ledger.ts'
import { Link, setOnLost } from './generator/link.ts'
import { Meter } from './generator/meter.ts'
import { Flow, Publisher } from './generator/traffic.ts'
import { cpuMicros, rssMib } from './proc.ts'
import type { Measured, Spec } from './spec.ts'

const retryMs = 5
const timeoutMs = 60_000
const connectsUnderWay = 64
const sessionExpirySeconds = 86_400
/** Loopback has 28,000 ports per source address, and a closed one rests for a minute. */
const sourceAddresses = 200

export async function measureRestart(
  options: BrokerOptions,
  spec: Spec,
  log: (text: string) => void,
): Promise<Measured> {
  if (options.name === 'external') throw new Error('Cannot run "restart": an external broker is not ours to stop')
  const folder = temporaryFolder(options.name)
  try {
    await fill(options, spec, folder, log)
    const extra: Record<string, number> = {}
    for (const round of [1, 2, 3]) {
      const figures = await startOnce(options, spec, folder)
      log(`round ${round}: ${JSON.stringify(figures)}`)
      // The best round: a busy machine only ever adds to it.
      for (const [name, value] of Object.entries(figures)) extra[name] = Math.min(extra[name] ?? value, value)
    }
    const ms = extra.firstSessionMs!
    return {
      ...{ received: 1, seconds: ms / 1000, receivedPerSecond: 1000 / ms, latency: null, ...noMessages },
      ...{ cpuMicrosPerMessage: null, brokerCpuPercent: null, generatorCpuPercent: 0, extra },
    }
  } finally {
    removeFolder(folder)
  }
}

async function fill(options: BrokerOptions, spec: Spec, folder: string, log: (text: string) => void): Promise<void> {
  const broker = await launch(options, folder)
  try {
    await (await connected(broker, performance.now(), 'probe')).close(disconnectPacket)
    await storeSessions(broker, spec, log)
    await storeRetained(broker, spec, log)
  } finally {
    await broker.stop()
  }
}

async function storeSessions(broker: RunningBroker, spec: Spec, log: (text: string) => void): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < spec.sessions) {
      const i = next++
      if (i % 20_000 === 0) log(`${i} sessions`)
      const link = new Link({ ...linkTo(broker, `s${i}`), localAddress: `127.0.1.${1 + (i % sourceAddresses)}` })
      await link.open({ clean: false })
      await link.subscribe([topicOf(i)], 1)
      await link.close(disconnectPacket)
    }
  }
  await Promise.all(Array.from({ length: connectsUnderWay }, worker))
}

/** Each with a topic of its own, QoS 1: all are stored when all are acknowledged. */
async function storeRetained(broker: RunningBroker, spec: Spec, log: (text: string) => void): Promise<void> {
  const { messages, connections, payload, inFlight } = spec
  const flow = new Flow(new Meter(0))
  const share = Math.ceil(messages / connections)
  // A publisher takes up new topics piece by piece: rings are small.
  const piece = 1_000
  const worker = async (publisher: number) => {
    for (let from = 0; from < share; from += piece) {
      const count = Math.min(piece, share - from)
      const topics = Array.from({ length: count }, (_, i) => `retained/${publisher}/${from + i}`)
      const ring = new PublishRing({
        ...{
          version: 4 as const,
          qos: 1 as const,
          retain: true,
          payloadBytes: payload,
          publisher,
          topics,
          slotsMin: 1,
        },
      })
      const how = { ring, qos: 1 as const, inFlight, onePerSegment: false, copies: null, openLoop: false }
      const link = new Publisher(linkTo(broker, `p${publisher}`), flow, { ...how, limit: count, untilReceived: false })
      await link.open()
      link.pump()
      while (!link.done) await new Promise((resolve) => setTimeout(resolve, 5))
      await link.close(disconnectPacket)
      if (publisher === 0) log(`${from * connections} retained messages`)
    }
  }
  flow.running = true
  await Promise.all(Array.from({ length: connections }, (_, publisher) => worker(publisher)))
}

async function startOnce(options: BrokerOptions, spec: Spec, folder: string): Promise<Record<string, number>> {
  const began = performance.now()
  const broker = await launch(options, folder)
  try {
    const i = Math.floor(spec.sessions / 2)
    const session = await connected(broker, began, `s${i}`)
    const firstSessionMs = performance.now() - began
    if (!session.sessionPresent) throw new Error('The broker has forgotten a session')
    const cpuMs = (cpuMicros(broker.target.pid) ?? 0) / 1000
    const rss = rssMib(broker.target.pid) ?? 0
    await session.exchange(topicOf(i), began)
    const firstMessageMs = performance.now() - began
    const sessions = await untilCounted(broker, spec)
    const countedMs = performance.now() - began
    await session.close(disconnectPacket)
    return { firstSessionMs, firstMessageMs, countedMs, cpuMsUntilFirstSession: cpuMs, rssMib: rss, sessions }
  } finally {
    await broker.stop()
  }
}

/** Until the metrics page knows all of the sessions; 0 where there is no page. */
async function untilCounted(broker: RunningBroker, spec: Spec): Promise<number> {
  for (const began = performance.now(); performance.now() - began < timeoutMs; ) {
    const page = await readMetrics(broker.target)
    const sessions = page === null ? null : metricOf(page, 'flockmq_inbox_sessions')
    if (sessions === null || sessions >= spec.sessions) return sessions ?? 0
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('The broker does not count its sessions to the end')
}

/** Publishes to itself. */
class Returning extends Link {
  #arrived: () => void = () => {}
  #acked: () => void = () => {}

  override onPublish(_head: number, packetId: number): void {
    this.appendAck(PUBACK, packetId)
    this.flush()
    this.#arrived()
  }

  override onAck(type: number): void {
    if (type === PUBACK) this.#acked()
  }

  async exchange(topic: string, began: number): Promise<void> {
    for (;;) {
      const acked = new Promise<void>((resolve) => {
        this.#acked = resolve
      })
      const arrived = new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
      const packet = encodePublish({ version: 4, qos: 1, retain: false, topic, payload: Buffer.alloc(64) })
      packet.writeUInt16BE(1, 4 + Buffer.byteLength(topic))
      this.append(packet, 0, packet.length)
      this.flush()
      await acked
      const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 500))
      if (await Promise.race([arrived.then(() => true), late])) return
      if (performance.now() - began > timeoutMs) throw new Error('A message does not reach its session')
    }
  }
}

async function connected(broker: RunningBroker, began: number, clientId: string): Promise<Returning> {
  setOnLost(() => {})
  for (;;) {
    const client = new Returning(linkTo(broker, clientId))
    try {
      await client.open({ clean: false })
      return client
    } catch (error) {
      if (performance.now() - began > timeoutMs || !broker.running()) {
        throw new Error(`The broker does not accept clients. It said:\n${broker.output()}`, { cause: error })
      }
      await new Promise((resolve) => setTimeout(resolve, retryMs))
    }
  }
}

function linkTo({ target: { host, port } }: RunningBroker, clientId: string) {
  return { host, port, version: 4 as const, clientId, sessionExpirySeconds }
}

function topicOf(i: number): string {
  return `session/${i % 1000}/${i}`
}
