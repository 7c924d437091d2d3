/**
 * Retained messages: set `messages` of them, then read all by one wildcard from each of `connections` subscribers
 * at once, then clear them. The main figures are those of the reading; latency counts from SUBSCRIBE.
 */
import type { Measured } from '../spec.ts'
import { disconnectPacket, encodePublish, PUBACK, PUBCOMP, PUBREC, PUBREL, PublishRing } from './codec.ts'
import { type Context, closeAll, forEachBounded, linkOptions, openAll, untilDone } from './context.ts'
import { clockMicros } from './latency.ts'
import { Link } from './link.ts'
import type { Meter } from './meter.ts'
import { oddities } from './steady.ts'
import { SharedTracker } from './tracker.ts'
import { Flow, Publisher } from './traffic.ts'

const stallMs = 5000

export async function runRetained(context: Context): Promise<Measured> {
  const { spec, meter, run } = context
  const flow = new Flow(meter)
  const topics = shareTopics(spec.connections, spec.messages, run)
  flow.publishers.push(...topics.map((own, i) => createPublisher(context, flow, own, i)))
  await openAll(flow.publishers)
  const stopProgress = meter.progress(context.report)
  const set = await setAll(context, flow)

  const readers = topics.map((_, i) => new Reader(context, i, topics))
  await openAll(readers)
  const total = spec.messages * readers.length
  meter.open()
  await forEachBounded(readers, (reader) => reader.read(`bench/${run}/#`))
  await untilDone(
    () => readers.reduce((sum, reader) => sum + reader.distinct, 0) >= total,
    () => meter.received,
    stallMs,
  )
  const window = meter.close()
  stopProgress()
  await closeAll(readers, disconnectPacket)
  await clearAll(context, topics)
  return {
    ...window,
    sent: spec.messages,
    lost: readers.reduce((sum, reader) => sum + spec.messages - reader.distinct, 0),
    duplicated: readers.reduce((sum, reader) => sum + reader.duplicated, 0),
    outOfOrder: 0,
    extra: { ...set, ...oddities(flow) },
  }
}

/** Receives the retained set. There is no order to check: every message has a topic of its own. */
class Reader extends Link {
  readonly #trackers: SharedTracker[]
  readonly #meter: Meter
  readonly #qos: 0 | 1 | 2
  #asked = 0

  constructor(context: Context, index: number, topics: readonly (readonly string[])[]) {
    super(linkOptions(context, `s${index}`))
    this.#meter = context.meter
    this.#qos = context.spec.qos
    this.#trackers = topics.map((own) => new SharedTracker(1, own.length))
  }

  get distinct(): number {
    return this.#trackers.reduce((sum, tracker) => sum + tracker.received, 0)
  }

  get duplicated(): number {
    return this.#trackers.reduce((sum, tracker) => sum + tracker.duplicated, 0)
  }

  read(filter: string): Promise<void> {
    this.#asked = clockMicros()
    return this.subscribe([filter], this.#qos)
  }

  override onPublish(head: number, packetId: number, payload: number): void {
    if ((head & 6) !== 0) this.appendAck((head & 4) === 0 ? PUBACK : PUBREC, packetId)
    this.#meter.received++
    this.#meter.latency.record(this.#asked, this.now)
    this.#trackers[this.view.getUint32(payload, true)]?.accept(this.view.getUint32(payload + 4, true), 0)
  }

  override onAck(type: number, packetId: number): void {
    if (type === PUBREL) this.appendAck(PUBCOMP, packetId)
  }

  protected override onChunkEnd(): void {
    this.flush()
  }
}

function shareTopics(publishers: number, messages: number, run: string): string[][] {
  const topics: string[][] = Array.from({ length: publishers }, () => [])
  for (let i = 0; i < messages; i++)
    topics[i % publishers]!.push(`bench/${run}/${i % 100}/${String(i).padStart(7, '0')}`)
  return topics
}

function createPublisher(context: Context, flow: Flow, topics: string[], publisher: number): Publisher {
  const { version, qos, payload, inFlight, onePerSegment } = context.spec
  const ring = new PublishRing({ version, qos, retain: true, payloadBytes: payload, publisher, topics, slotsMin: 1 })
  const how = { ring, qos, inFlight, onePerSegment, copies: null, openLoop: false }
  const link = linkOptions(context, `p${publisher}`)
  return new Publisher(link, flow, { ...how, limit: topics.length, untilReceived: false })
}

async function setAll(context: Context, flow: Flow): Promise<Record<string, number>> {
  const { meter, spec } = context
  if (spec.qos === 0) throw new Error('Scenario "retained" needs --qos 1 or 2: only an ack tells when a message is set')
  const acked = () => flow.publishers.reduce((sum, publisher) => sum + publisher.acked, 0)
  meter.open()
  flow.running = true
  for (const publisher of flow.publishers) publisher.pump()
  if (!(await untilDone(() => acked() >= spec.messages, acked, stallMs))) {
    throw new Error(`The broker acknowledged ${acked()} of ${spec.messages} retained messages, then nothing for 5 s`)
  }
  flow.running = false
  const { seconds, brokerCpuPercent } = meter.close()
  const cpu = brokerCpuPercent === null ? {} : { setCpuMicros: (brokerCpuPercent * seconds * 1e4) / spec.messages }
  return { setPerSecond: spec.messages / seconds, ...cpu }
}

/** Empty payloads clear (MQTT 5.0, 3.3.1.3); one client, QoS 0, closed after a last acknowledged exchange. */
async function clearAll(context: Context, topics: readonly (readonly string[])[]): Promise<void> {
  const cleaner = new Cleaner(linkOptions(context, 'c'))
  await cleaner.open()
  const { version } = context.spec
  const empty = new Uint8Array(0)
  cleaner.send(topics.flat().map((topic) => encodePublish({ version, qos: 0, retain: true, topic, payload: empty })))
  await cleaner.subscribe([`bench/${context.run}/cleared`], 0)
  await cleaner.close(disconnectPacket)
}

class Cleaner extends Link {
  send(packets: readonly Buffer[]): void {
    for (const packet of packets) this.append(packet, 0, packet.length)
    this.flush()
  }
}
