/**
 * Minutes at a steady rate to persistent sessions whose queues fill up to `queueBytes` of payload, then all of them come
 * back and drain while the load goes on, then they leave again; at the end everything is drained. Acks are what counts:
 * short runs hide compaction, memory that grows, disk space that is not given back.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { rssMib } from '../proc.ts'
import type { Measured, Progress } from '../spec.ts'
import { disconnectPacket } from './codec.ts'
import { type Context, closeAll, forEachBounded, openAll, sleep, untilDone } from './context.ts'
import { LatencyRecorder } from './latency.ts'
import { Ledger } from './ledger.ts'
import { Meter } from './meter.ts'
import { createAckedPublishers, createSessions, sessionLink, topicsOfPublisher } from './offline-acks.ts'
import { oddities } from './steady.ts'
import { StridedTracker } from './tracker.ts'
import { Flow, runSchedule, Subscriber } from './traffic.ts'

const stallMs = 30_000
/** Compaction gives space back some time after the last message has left. */
const settleSeconds = 60
const mebibyte = 1024 * 1024

/** Seconds of a line of progress. */
const lineSeconds = 10

interface Second {
  acked: number
  p99Ms: number
  queuedMib: number
  rssMib: number
  diskMib: number
}

export async function runLong(context: Context): Promise<Measured> {
  const { spec, meter } = context
  if (spec.qos === 0) throw new Error('Scenario "long" needs --qos 1 or 2: QoS 0 is not queued')
  await createSessions(context, spec.sessions)
  const flow = createAckedPublishers(context)
  const queues = new Queues(context, flow)
  await openAll(flow.publishers)
  const emptyMib = folderMib(context.target.folder)
  flow.running = true
  const schedule = { rate: spec.rate, burst: spec.burst, rampSeconds: spec.warmup / 2, pause: 'sleep' } as const
  if (spec.rate > 0) runSchedule(flow, schedule)
  else for (const publisher of flow.publishers) publisher.pump()
  await sleep(spec.warmup * 1000)
  const ledger = new Ledger(context.target)
  await ledger.open()
  meter.open()
  const seconds = await watch(context, queues)
  const window = meter.close()
  const cost = await ledger.figures(window.received)
  flow.running = false
  await untilDone(
    () => flow.publishers.every((publisher) => publisher.done),
    () => meter.received,
    stallMs,
  )
  await queues.online()
  const drained = await untilDone(
    () => queues.queued <= 0,
    () => queues.received,
    stallMs,
  )
  await queues.offline()
  await sleep(settleSeconds * 1000)
  const afterMib = folderMib(context.target.folder)
  const sent = flow.publishers.reduce((sum, publisher) => sum + publisher.sent, 0)
  const extra = {
    ...summary(seconds),
    ...{ drained: drained ? 1 : 0, diskEmptyMib: emptyMib, diskAfterDrainMib: afterMib },
    ...{ ...cost, ...oddities(flow) },
  }
  return { ...window, sent, ...queues.account(), extra, series: minutes(seconds) }
}

/** The sessions, there or away. */
class Queues {
  readonly subscribers: Subscriber[]
  readonly #flow: Flow
  #online = false
  /** By session: the one publisher that it hears. */
  readonly #trackers: StridedTracker[]

  constructor(context: Context, flow: Flow) {
    const { connections, sessions } = context.spec
    this.#flow = flow
    // A publisher goes round its topics, so that a session gets every n-th message of one publisher.
    const strides = Array.from({ length: connections }, (_, i) => topicsOfPublisher(context, i).length)
    this.#trackers = Array.from({ length: sessions }, (_, i) => new StridedTracker(strides[i % connections]!))
    // What arrives is not what is counted: acks are.
    const arrivals = new Flow(new Meter(0))
    this.subscribers = this.#trackers.map((tracker, i) => {
      const trackers = new Array<StridedTracker>(connections).fill(tracker)
      return new Subscriber(sessionLink(context, i), arrivals, i, trackers)
    })
  }

  get received(): number {
    return this.#trackers.reduce((sum, tracker) => sum + tracker.received, 0)
  }

  /** Messages acknowledged and not received yet, about. */
  get queued(): number {
    return this.#flow.publishers.reduce((sum, publisher) => sum + publisher.acked, 0) - this.received
  }

  get isOnline(): boolean {
    return this.#online
  }

  async online(): Promise<void> {
    if (this.#online) return
    this.#online = true
    await forEachBounded(this.subscribers, (subscriber) => subscriber.open({ clean: false }))
  }

  async offline(): Promise<void> {
    this.#online = false
    await closeAll(this.subscribers, disconnectPacket)
  }

  account(): Pick<Measured, 'lost' | 'duplicated' | 'outOfOrder'> {
    const all = this.#trackers
    return {
      lost: this.#flow.publishers.reduce((sum, publisher) => sum + publisher.sent, 0) - this.received,
      duplicated: all.reduce((sum, tracker) => sum + tracker.duplicated, 0),
      outOfOrder: all.reduce((sum, tracker) => sum + tracker.outOfOrder, 0),
    }
  }
}

/** Looks at everything once a second, and lets the sessions come and go. */
async function watch({ spec, meter, target, report }: Context, queues: Queues): Promise<Second[]> {
  const seconds: Second[] = []
  meter.recent = new LatencyRecorder()
  let changing: Change = { done: true, error: null }
  let last = { at: performance.now(), acked: meter.received }
  const began = last.at
  const end = last.at + spec.seconds * 1000
  while (last.at < end) {
    await sleep(1000)
    const now = { at: performance.now(), acked: meter.received }
    const queuedBytes = Math.max(0, queues.queued) * spec.payload
    seconds.push({
      acked: ((now.acked - last.acked) * 1000) / (now.at - last.at),
      p99Ms: (meter.recent.summary()?.p99 ?? 0) / 1000,
      queuedMib: queuedBytes / mebibyte,
      rssMib: rssMib(target.pid) ?? 0,
      diskMib: folderMib(target.folder),
    })
    last = now
    meter.recent.reset()
    if (changing.error !== null) throw changing.error
    if (seconds.length % lineSeconds === 0) report(progressOf(seconds.slice(-lineSeconds), now.at - began))
    // Not awaited: what happens while they come or go counts too.
    if (!changing.done) continue
    if (!queues.isOnline && queuedBytes >= spec.queueBytes) changing = begin(queues.online())
    else if (queues.isOnline && queuedBytes < spec.queueBytes / 100) changing = begin(queues.offline())
  }
  while (!changing.done) await sleep(100)
  if (changing.error !== null) throw changing.error
  return seconds
}

/** The sessions come or go. */
interface Change {
  done: boolean
  error: Error | null
}

function begin(work: Promise<void>): Change {
  const change: Change = { done: false, error: null }
  work.then(
    () => {
      change.done = true
    },
    (error: Error) => Object.assign(change, { done: true, error }),
  )
  return change
}

function progressOf(some: readonly Second[], atMs: number): Progress {
  const rates = some.map(({ acked }) => acked)
  const { queuedMib, diskMib } = some.at(-1)!
  const more = { minPerSecond: Math.min(...rates), p99Ms: Math.max(...some.map(({ p99Ms }) => p99Ms)) }
  const at = atMs / 1000
  return { at, receivedPerSecond: mean(rates), sentPerSecond: mean(rates), more: { ...more, queuedMib, diskMib } }
}

function summary(seconds: readonly Second[]): Record<string, number> {
  const rates = seconds.map(({ acked }) => acked)
  const max = (read: (second: Second) => number) => seconds.reduce((most, second) => Math.max(most, read(second)), 0)
  const quarter = seconds.slice(0, Math.ceil(seconds.length / 4))
  const lastQuarter = seconds.slice(-Math.ceil(seconds.length / 4))
  return {
    ackedMinPerSecond: Math.min(...rates),
    ackedMeanPerSecond: mean(rates),
    secondsUnderHalfOfMean: rates.filter((rate) => rate < mean(rates) / 2).length,
    p99MsFirstQuarter: mean(quarter.map(({ p99Ms }) => p99Ms)),
    p99MsLastQuarter: mean(lastQuarter.map(({ p99Ms }) => p99Ms)),
    rssMibFirstQuarter: mean(quarter.map((second) => second.rssMib)),
    rssMibLastQuarter: mean(lastQuarter.map((second) => second.rssMib)),
    queuedMibMax: max(({ queuedMib }) => queuedMib),
    diskMibMax: max(({ diskMib }) => diskMib),
  }
}

/** A row for each minute. */
function minutes(seconds: readonly Second[]): Record<string, number>[] {
  const rows: Record<string, number>[] = []
  for (let at = 0; at < seconds.length; at += 60) {
    const some = seconds.slice(at, at + 60)
    const rates = some.map(({ acked }) => acked)
    const last = some.at(-1)!
    rows.push({
      ...{ minute: 1 + at / 60, meanPerSecond: mean(rates), minPerSecond: Math.min(...rates) },
      p99Ms: mean(some.map(({ p99Ms }) => p99Ms)),
      ...{ queuedMib: last.queuedMib, rssMib: last.rssMib, diskMib: last.diskMib },
    })
  }
  return rows
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
}

/** Size of all files below; files come and go meanwhile. */
function folderMib(folder: string | null): number {
  if (folder === null) return 0
  let bytes = 0
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    bytes += statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0
  }
  return bytes / mebibyte
}
