/**
 * Messages from one node to another without the link: CPU microseconds each, at the sender (into batches) and at the
 * receiver (from batches to the outputs of subscribers).
 *
 *     npx tsc -p bench/tsconfig.json && node build/dev/bench/micro/deliver.js [messages]
 */
import { systemClock } from '../../src/base/clock.ts'
import type { TenantId } from '../../src/base/ids.ts'
import type { Dist } from '../../src/dist/index.ts'
import { encodePacket, FRAME_READY, FrameReader, PublishView, parsePublish } from '../../src/mqtt/codec/index.ts'
import { FlushQueue } from '../../src/mqtt/connection/flush-queue.ts'
import { Output } from '../../src/mqtt/connection/output.ts'
import { NodeBroker } from '../../src/mqtt/delivery/node-broker.ts'
import { Receiver } from '../../src/mqtt/delivery/receiver.ts'
import { LocalTable } from '../../src/mqtt/routing/local-table.ts'
import { Publication } from '../../src/mqtt/routing/publication.ts'
import type { Subscriber } from '../../src/mqtt/routing/subscriber.ts'

const TENANT = 'default' as TenantId
const MESSAGES = Number(process.argv[2] ?? 2_000_000)
const TURN = 640
const life = { alive: true }
let endTurn = () => {}
const queue = new FlushQueue((callback) => {
  endTurn = callback
})
const dist = { touch() {}, changeWith: (_change: unknown, done: (error: null) => void) => done(null) }

function subscriberOf(clientId: string): Subscriber {
  const output = new Output({ write: () => true, writableBytes: 0 }, queue)
  const plain = { clientPacketBytesMax: Number.POSITIVE_INFINITY, outputBytesMax: 1 << 20, individual: false }
  const calls = { noteLive() {}, dropped() {}, deliver() {}, credit: () => 1 }
  return { version: 4, clientId, output, streaming: false, ...plain, ...calls }
}

interface Batches {
  bytes: Buffer[]
  messages: number
}

function brokerTo(batches: Batches): NodeBroker {
  const send = (batch: Buffer) => {
    batches.bytes.push(Buffer.from(batch))
    return 'accepted' as const
  }
  const ignored = { pending() {}, waiting() {}, dropped() {} }
  const link = { send, bufferedBytes: () => 0, nowMs: () => systemClock.monotonic(), ...ignored }
  const broker = new NodeBroker('n2', 1, link)
  broker.joined()
  return broker
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** Sends `MESSAGES` messages of 64 bytes on `topics` topics, in turns of {@link TURN}; `run` of them as they came. */
function measure(what: string, topics: number, run: number): void {
  const batches: Batches = { bytes: [], messages: 0 }
  const broker = brokerTo(batches)
  const table = new LocalTable(dist as unknown as Dist, 'n2', 1)
  const routes = Array.from({ length: topics }, (_, i) => {
    const topic = `bench/topic/${i}`
    const subscriber = subscriberOf(`s${i}`)
    const options = { qos: 0, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const
    table.subscribe(TENANT, topic, subscriber, options, () => {})
    const payload = Buffer.alloc(64, 'x')
    const packet = { type: 'publish', topic, payload, qos: 0, retain: false, dup: false, packetId: 0 } as const
    const bytes = encodePacket({ ...packet, properties: {} }, 4)
    const chunk = Buffer.concat(Array.from({ length: Math.max(run, 1) }, () => bytes))
    return {
      route: broker.topic({ tenant: TENANT, topic, filters: [topic], group: null }),
      chunk,
      topic,
      size: bytes.length,
    }
  })
  const parts = { node: 'n2', table, lifeOf: () => life, nowMs: () => 0, dropped() {} }
  const receiver = new Receiver(parts)
  const frames = new FrameReader(1 << 20)
  const view = new PublishView()
  const publication = new Publication()
  let sendUs = 0
  let receiveUs = 0
  let next = 0
  for (let done = 0; done < MESSAGES; done += TURN) {
    const startUs = cpuUs()
    for (let i = 0; i < TURN; i += Math.max(run, 1)) {
      const { route, chunk, topic } = routes[next++ % topics]!
      if (run > 0) {
        route.sendPackets('publisher', 1e15, { version: 4, buffer: chunk, start: 0, end: chunk.length, count: run })
        continue
      }
      frames.push(chunk)
      if (frames.next() !== FRAME_READY) throw new Error('No packet')
      parsePublish(view, chunk, frames.first, frames.start, frames.body, frames.end, 4)
      publication.fromView(view, 4, topic, 'publisher', 1e15)
      route.send(publication)
    }
    broker.flush()
    const sentUs = cpuUs()
    for (const batch of batches.bytes) receiver.received('n1', batch)
    endTurn()
    receiveUs += cpuUs() - sentUs
    sendUs += sentUs - startUs
    batches.bytes.length = 0
  }
  const count = Math.ceil(MESSAGES / TURN) * TURN
  if (receiver.delivered !== count) throw new Error(`${receiver.delivered} of ${count} were delivered`)
  const each = (us: number) => (us / count).toFixed(3)
  console.log(`${what.padEnd(48)} ${each(sendUs)} + ${each(receiveUs)} us CPU a message`)
}

measure('warming up', 50, 0)
measure('single messages, 50 topics', 50, 0)
measure('single messages, 10,000 topics', 10_000, 0)
measure('runs of 64 packets, 50 topics', 50, 64)
measure('runs of 4 packets, 50 topics', 50, 4)
