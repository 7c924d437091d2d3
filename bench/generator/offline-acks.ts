/**
 * QoS 1 (or 2) to absent persistent sessions: from PUBLISH to PUBACK (PUBCOMP), which is the fdatasync's.
 * "Received" counts acknowledgements. Every publisher goes round its share of the sessions, so that no queue is full.
 */
import type { Measured } from '../spec.ts'
import { disconnectPacket, PublishRing } from './codec.ts'
import { type Context, forEachBounded, linkOptions, openAll, sleep, untilDone } from './context.ts'
import { probeDisk } from './disk-probe.ts'
import { Ledger } from './ledger.ts'
import { Link, type LinkOptions } from './link.ts'
import { nodeFigures, oddities } from './steady.ts'
import { Flow, Publisher, runSchedule } from './traffic.ts'

const stallMs = 5000
const sessionExpirySeconds = 3600

export async function runOfflineAcks(context: Context): Promise<Measured> {
  const { spec, meter } = context
  if (spec.qos === 0) throw new Error('Scenario "offline-acks" needs --qos 1 or 2: QoS 0 is not acknowledged')
  await createSessions(context, spec.sessions)
  const disk = probeDisk(context.target.folder)
  const flow = createAckedPublishers(context)
  await openAll(flow.publishers)
  flow.running = true
  const schedule = { rate: spec.rate, burst: spec.burst, rampSeconds: spec.warmup / 2, pause: 'sleep' } as const
  if (spec.rate > 0) runSchedule(flow, schedule)
  else for (const publisher of flow.publishers) publisher.pump()
  const stopProgress = meter.progress(context.report)
  await sleep(spec.warmup * 1000)
  const ledger = new Ledger(context.target)
  await ledger.open()
  meter.open()
  await sleep(spec.seconds * 1000)
  const window = meter.close()
  const byNode = nodeFigures(context)
  const cost = await ledger.figures(window.received)
  const late = meter.lateness.summary()
  flow.running = false
  stopProgress()
  await untilDone(
    () => flow.publishers.every((publisher) => publisher.done),
    () => meter.received,
    stallMs,
  )
  const sent = flow.publishers.reduce((sum, publisher) => sum + publisher.sent, 0)
  const acked = flow.publishers.reduce((sum, publisher) => sum + publisher.acked, 0)
  const lateness = late ? { sentLateP99Us: late.p99 } : {}
  const extra = { ...byNode, ...cost, ...disk, ...lateness, ...oddities(flow) }
  return { ...window, sent, lost: sent - acked, duplicated: 0, outOfOrder: 0, extra }
}

/** Persistent sessions with one filter each, and nobody there. */
export async function createSessions(
  context: Context,
  count: number,
  filterOf = (i: number) => sessionTopic(context, i),
): Promise<void> {
  const links = Array.from({ length: count }, (_, i) => new Link(sessionLink(context, i)))
  await forEachBounded(links, async (link, i) => {
    await link.open({ clean: false })
    await link.subscribe([filterOf(i)], context.spec.qos)
    await link.close(disconnectPacket)
  })
}

export function sessionLink(context: Context, i: number): LinkOptions {
  return { ...linkOptions(context, `s${i}`, 'subscriber', i), sessionExpirySeconds }
}

export function sessionTopic({ run }: Context, i: number): string {
  return `bench/${run}/${String(i).padStart(6, '0')}`
}

/** Publishers whose latency is that of their acks. */
export function createAckedPublishers(
  context: Context,
  {
    topicsOf = (publisher: number) => topicsOfPublisher(context, publisher),
    limit = Number.POSITIVE_INFINITY,
  }: { topicsOf?: (publisher: number) => string[]; limit?: number } = {},
): Flow {
  const { spec, meter } = context
  const { version, qos, payload, inFlight, onePerSegment, rate, connections } = spec
  const flow = new Flow(meter)
  for (let publisher = 0; publisher < connections; publisher++) {
    const topics = topicsOf(publisher)
    const ring = new PublishRing({
      ...{ version, qos, retain: false, payloadBytes: payload, publisher, topics },
      slotsMin: inFlight,
    })
    const how = { ring, qos, inFlight, onePerSegment, copies: null, openLoop: rate > 0, timeAcks: true }
    const link = linkOptions(context, `p${publisher}`, 'publisher', publisher)
    flow.publishers.push(new Publisher(link, flow, { ...how, limit, untilReceived: false }))
  }
  return flow
}

export function topicsOfPublisher(context: Context, publisher: number): string[] {
  const { connections, sessions } = context.spec
  const topics: string[] = []
  for (let i = publisher; i < Math.max(sessions, connections); i += connections) {
    topics.push(sessionTopic(context, i % sessions))
  }
  return topics
}
