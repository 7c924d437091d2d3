/**
 * Persistent sessions: messages are queued while their subscribers are away, then drained when they return.
 * The two phases are timed apart; the main figures are those of the drain.
 */
import type { Measured } from '../spec.ts'
import { disconnectPacket, PublishRing } from './codec.ts'
import { type Context, closeAll, forEachBounded, linkOptions, openAll, untilDone } from './context.ts'
import { planTraffic } from './plan.ts'
import { oddities } from './steady.ts'
import { OrderedTracker } from './tracker.ts'
import { account, Flow, Publisher, Subscriber } from './traffic.ts'

const stallMs = 5000
const sessionExpirySeconds = 600

export async function runPersistentOffline(context: Context): Promise<Measured> {
  const { spec, meter, run } = context
  if (spec.qos === 0) throw new Error('Scenario "persistent-offline" needs --qos 1 or 2: QoS 0 is not queued')
  const flow = new Flow(meter)
  const trackers = Array.from({ length: spec.connections }, () => new OrderedTracker())
  const plan = planTraffic(spec, run)
  const subscribers = plan.subscribers.map(
    (_, i) => new Subscriber({ ...linkOptions(context, `s${i}`), sessionExpirySeconds }, flow, i, trackers),
  )
  flow.publishers.push(...plan.publishers.map((topics, i) => createPublisher(context, flow, topics, i)))
  await forEachBounded(subscribers, async (subscriber, i) => {
    await subscriber.open({ clean: false })
    await subscriber.subscribe(plan.subscribers[i]!, spec.qos)
  })
  await closeAll(subscribers, disconnectPacket)
  await openAll(flow.publishers)

  const stopProgress = meter.progress(context.report)
  const stored = await store(context, flow)
  meter.open()
  await forEachBounded(subscribers, (subscriber) => subscriber.open({ clean: false }))
  const total = spec.connections * spec.messages
  await untilDone(
    () => trackers.reduce((sum, tracker) => sum + tracker.received, 0) >= total,
    () => meter.received,
    stallMs,
  )
  const window = meter.close()
  stopProgress()
  const resumed = subscribers.filter((subscriber) => subscriber.sessionPresent).length
  await closeAll(subscribers, disconnectPacket)
  await forEachBounded(subscribers, (subscriber) => subscriber.open({ clean: true, sessionExpirySeconds: 0 }))
  const extra = { ...stored, sessionsResumed: resumed, ...oddities(flow) }
  return { ...window, ...account(flow.publishers, [trackers]), extra }
}

function createPublisher(context: Context, flow: Flow, topics: string[], publisher: number): Publisher {
  const { version, qos, payload, inFlight, onePerSegment, messages } = context.spec
  const ring = new PublishRing({
    version,
    qos,
    retain: false,
    payloadBytes: payload,
    publisher,
    topics,
    slotsMin: inFlight,
  })
  const how = { ring, qos, inFlight, onePerSegment, copies: null, openLoop: false }
  const link = linkOptions(context, `p${publisher}`)
  return new Publisher(link, flow, { ...how, limit: messages, untilReceived: false })
}

/** Publishes everything and waits for the acks. */
async function store(context: Context, flow: Flow): Promise<Record<string, number>> {
  const { meter, spec } = context
  const acked = () => flow.publishers.reduce((sum, publisher) => sum + publisher.acked, 0)
  const total = spec.connections * spec.messages
  meter.open()
  flow.running = true
  for (const publisher of flow.publishers) publisher.pump()
  if (!(await untilDone(() => acked() >= total, acked, stallMs))) {
    throw new Error(
      `The broker acknowledged ${acked()} of ${total} messages for absent subscribers, then nothing for 5 s`,
    )
  }
  flow.running = false
  const window = meter.close()
  const cpu =
    window.brokerCpuPercent === null ? {} : { storeCpuMicros: (window.brokerCpuPercent * window.seconds * 1e4) / total }
  return { storedPerSecond: total / window.seconds, ...cpu }
}
