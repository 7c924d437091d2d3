/** The scenarios with steady traffic: pairs, fan-out, fan-in, shared, wildcard, persistent-online, latency, flood. */
import type { Measured } from '../spec.ts'
import { PublishRing } from './codec.ts'
import { type Context, forEachBounded, linkOptions, openAll, sleep, untilDone } from './context.ts'
import { type Plan, planTraffic } from './plan.ts'
import { CopyCounter, OrderedTracker, SharedTracker, type Tracker } from './tracker.ts'
import { account, Flow, Publisher, runSchedule, Subscriber } from './traffic.ts'

/** A publisher that waits so long for a message gives it up as lost. */
const stallMs = 2000
const sessionExpirySeconds = 600

export const runSteady = async (context: Context): Promise<Measured> => {
  const { spec, meter } = context
  const plan = planTraffic(spec, context.run)
  const trackers = createTrackers(context, plan)
  const flow = new Flow(meter)
  createPublishers(context, plan, flow)
  await openSubscribers(context, plan, flow, trackers)
  await openAll(flow.publishers)

  flow.running = true
  // Nodes of a cluster need this core too.
  const pause = spec.placing === 'one' ? 'spin' : 'sleep'
  if (spec.rate > 0) runSchedule(flow, { rate: spec.rate, pause })
  else for (const publisher of flow.publishers) publisher.pump()
  const stopProgress = meter.progress(context.report)
  const stopWatch = watchStalls(flow, trackers)
  await sleep(spec.warmup * 1000)
  meter.open()
  await sleep(spec.seconds * 1000)
  const window = meter.close()
  const byNode = nodeFigures(context)
  const late = meter.lateness.summary()
  flow.running = false
  stopProgress()
  stopWatch()
  await untilDone(
    () => flow.publishers.every((publisher) => publisher.done),
    () => meter.received,
    stallMs,
  )
  return {
    ...window,
    ...account(flow.publishers, trackers),
    extra: { ...byNode, ...(late ? { sentLateP99Us: late.p99 } : {}), ...oddities(flow) },
  }
}

/** Of a cluster: what each node costs. */
export function nodeFigures({ target, meter }: Context): Record<string, number> {
  return target.others === undefined ? {} : meter.byNode()
}

export function oddities(flow: Flow): Record<string, number> {
  return {
    ...(flow.strange > 0 ? { strange: flow.strange } : {}),
    ...(flow.refused > 0 ? { refused: flow.refused } : {}),
  }
}

/** One list of streams (by publisher) for all subscribers together, or, when all get everything, one for each. */
function createTrackers(context: Context, plan: Plan): Tracker[][] {
  const { spec } = context
  const windowMin = spec.rate > 0 ? 65_536 : Math.max(1024, 4 * spec.inFlight)
  const streams = () =>
    plan.publishers.map(() =>
      plan.reach === 'any' ? new SharedTracker(plan.subscribers.length, windowMin) : new OrderedTracker(),
    )
  return plan.reach === 'all' ? plan.subscribers.map(streams) : [streams()]
}

function createPublishers(context: Context, plan: Plan, flow: Flow): void {
  const { version, qos, payload, inFlight, onePerSegment, rate } = context.spec
  plan.publishers.forEach((topics, publisher) => {
    const ring = new PublishRing({
      version,
      qos,
      retain: false,
      payloadBytes: payload,
      publisher,
      topics,
      slotsMin: inFlight,
    })
    const copies =
      plan.reach === 'all' ? new CopyCounter(plan.subscribers.length, rate > 0 ? 65_536 : 4 * inFlight) : null
    const how = { ring, qos, inFlight, onePerSegment, copies, openLoop: rate > 0 }
    const link = linkOptions(context, `p${publisher}`, 'publisher', publisher)
    flow.publishers.push(new Publisher(link, flow, { ...how, limit: Number.POSITIVE_INFINITY, untilReceived: true }))
  })
}

async function openSubscribers(context: Context, plan: Plan, flow: Flow, trackers: Tracker[][]): Promise<void> {
  const { spec } = context
  const session = spec.scenario === 'persistent-online' ? { clean: false, sessionExpirySeconds } : {}
  const subscribers = plan.subscribers.map((_, i) => {
    const streams = trackers[plan.reach === 'all' ? i : 0]!
    return new Subscriber({ ...linkOptions(context, `s${i}`, 'subscriber', i), ...session }, flow, i, streams)
  })
  await forEachBounded(subscribers, async (subscriber, i) => {
    await subscriber.open()
    await subscriber.subscribe(plan.subscribers[i]!, spec.qos)
  })
}

/** Keeps a closed loop going when the broker drops: what did not come for 2 s is given up and counted as lost. */
function watchStalls(flow: Flow, trackers: readonly (readonly Tracker[])[]): () => void {
  let settledBefore = flow.publishers.map(() => -1)
  const timer = setInterval(() => {
    flow.publishers.forEach((publisher, p) => {
      if (publisher.settled !== settledBefore[p] || publisher.settled >= publisher.sent) return
      trackers.forEach((streams, subscriber) => {
        const given = streams[p]!.giveUp(publisher.sent)
        if (given > 0) flow.settle(publisher, subscriber, given)
      })
    })
    settledBefore = flow.publishers.map((publisher) => publisher.settled)
    flow.pumpReady()
  }, stallMs)
  return () => clearInterval(timer)
}
