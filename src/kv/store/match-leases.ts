import type { Clock, Random } from '../../base/clock.ts'
import type { Logger } from '../../base/logging.ts'
import { Histogram, type MetricSink, type MetricSource } from '../../base/metrics.ts'
import { type LeaseOptions, MATCH_LEASE, type MatchMessage } from '../lease/index.ts'
import { LeasedReplica, type LeaseHome } from './leased-replica.ts'
import type { WatchReplicas } from './watch.ts'

export interface MatchLeasesOptions {
  /** Of this store. */
  name: string
  clock: Clock
  random: Random
  log: Logger
  /** To the same range on another store; may be lost. */
  send(to: string, range: string, message: MatchMessage): void
  lease?: LeaseOptions
}

/** Keys that may be matched for QoS 1 and 2 until `untilMs`, monotonic. */
export interface LeasedSpan {
  range: string
  /** Inclusive; undefined = from the first key. */
  start: Uint8Array | undefined
  /** Exclusive; undefined = to the last key. */
  end: Uint8Array | undefined
  untilMs: number
}

/** The wall clock went on by so much more than the monotonic one: the machine slept. What else moves it does no harm. */
const SLEPT_MS = 20
/** Between two looks at what time brings, at least: what is due together goes in one frame. */
const LOOK_MS_MIN = 20
/** Between two times that all leases are asked for at once. */
const WANT_MS = 20
const WARN_MS = 10_000

/** Seconds: applied elsewhere in a round trip; else the end of a lease. */
const HELD_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.6]

/**
 * The match leases of a store's replicas of one service: whether its tables may be matched against, and when the answers
 * to mutations may go out of what this store leads. The machines are in `kv/lease`; this is their host.
 *
 * Who is the only one, and always was, has its leases from itself, without a message or a timer.
 */
export class MatchLeases implements MetricSource {
  readonly #options: MatchLeasesOptions
  readonly #home: LeaseHome
  readonly #replicas = new Map<string, LeasedReplica>()
  readonly #listeners: (() => void)[] = []
  readonly #held = new Histogram(HELD_SECONDS)
  /** Wall clock less monotonic, as of the last look. */
  #aheadMs: number
  #incarnation: number
  #nextMs = Number.POSITIVE_INFINITY
  #stopTimer: (() => void) | null = null
  #wantedMs = Number.NEGATIVE_INFINITY
  #warnedMs = Number.NEGATIVE_INFINITY
  #sleeps = 0
  #stopped = false

  constructor(options: MatchLeasesOptions) {
    const { clock, random, name, lease = MATCH_LEASE, send } = options
    this.#options = options
    this.#aheadMs = clock.now() - clock.monotonic()
    // Above it is counted: what another process, or another replica of the range here, was granted is nobody's.
    this.#incarnation = random.below(2 ** 31) * 2 ** 21
    this.#home = {
      ...{ name, lease, send },
      now: () => this.now(),
      changed: () => this.#changed(),
      stepped: (replica, nowMs) => this.#schedule(replica.nextMs(nowMs), nowMs),
      released: (replica, heldMs) => this.#released(replica, heldMs),
      closed: (replica) => {
        if (this.#replicas.get(replica.id) === replica) this.#replicas.delete(replica.id)
        this.#changed()
      },
    }
  }

  /** Watches the replicas of the service. */
  readonly watch: WatchReplicas = (replica) => {
    const leased = new LeasedReplica(replica, this.#home, ++this.#incarnation)
    this.#replicas.set(replica.id, leased)
    this.#changed()
    return leased
  }

  /** Monotonic ms, for {@link spans}. Where the machine slept, no lease counts any more when this returns. */
  now(): number {
    const { clock } = this.#options
    const nowMs = clock.monotonic()
    const aheadMs = clock.now() - nowMs
    const slept = aheadMs - this.#aheadMs > SLEPT_MS
    this.#aheadMs = aheadMs
    if (slept) this.#doubt(nowMs)
    return nowMs
  }

  /** What another store says. */
  received(from: string, range: string, message: MatchMessage): void {
    this.#replicas.get(range)?.received(from, message)
  }

  /** The keys of all replicas here. */
  spans(): LeasedSpan[] {
    return Array.from(this.#replicas.values(), (replica) => {
      const { start, end } = replica.boundary
      return { range: replica.id, start, end, untilMs: this.#untilMs(replica) }
    })
  }

  /** Tells when {@link spans} say less than they did, or when a lease counts that did not; not when one is renewed. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Somebody waits for leases: they are asked for at once. */
  want(): void {
    const nowMs = this.now()
    if (nowMs - this.#wantedMs < WANT_MS || this.#stopped) return
    this.#wantedMs = nowMs
    for (const replica of this.#replicas.values()) if (replica.untilMs <= nowMs) replica.want(nowMs)
  }

  stop(): void {
    this.#stopped = true
    this.#stopTimer?.()
  }

  collect(sink: MetricSink): void {
    const nowMs = this.#options.clock.monotonic()
    let holds = 0
    let held = 0
    for (const replica of this.#replicas.values()) {
      if (this.#untilMs(replica) > nowMs) holds++
      held += replica.heldAnswers
    }
    sink.gauge('flockmq_match_leases', 'Ranges of routes here with a lease, by which QoS 1 and 2 are matched', holds)
    sink.gauge('flockmq_match_lease_ranges', 'Ranges of routes here', this.#replicas.size)
    sink.gauge('flockmq_match_held_answers', 'Answers to route changes that wait for other nodes', held)
    sink.histogram('flockmq_match_held_seconds', 'How long answers to route changes waited for other nodes', this.#held)
    sink.counter('flockmq_match_sleeps_total', 'Times that this machine slept, and gave up its leases', this.#sleeps)
  }

  #untilMs({ untilMs, left }: LeasedReplica): number {
    if (left === null) return untilMs
    return Math.min(untilMs, this.#replicas.get(left)?.untilMs ?? Number.NEGATIVE_INFINITY)
  }

  #doubt(nowMs: number): void {
    this.#sleeps++
    for (const replica of this.#replicas.values()) replica.doubt(nowMs)
    this.#changed()
    this.#schedule(nowMs, nowMs)
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }

  #released({ id }: LeasedReplica, heldMs: number): void {
    this.#held.observe(heldMs / 1_000)
    const { log, lease = MATCH_LEASE, clock } = this.#options
    const nowMs = clock.monotonic()
    if (heldMs <= lease.leaseMs || nowMs - this.#warnedMs < WARN_MS) return
    this.#warnedMs = nowMs
    const ms = Math.round(heldMs)
    log.warn(
      { range: id, heldMs: ms },
      `Changes of routes in range "${id}" were answered late: no lease takes ${ms} ms`,
    )
  }

  #schedule(atMs: number, nowMs: number): void {
    const dueMs = Math.max(atMs, nowMs + LOOK_MS_MIN)
    if (dueMs >= this.#nextMs || this.#stopped) return
    this.#stopTimer?.()
    this.#nextMs = dueMs
    this.#stopTimer = this.#options.clock.after(dueMs - nowMs, () => this.#look())
  }

  #look(): void {
    this.#nextMs = Number.POSITIVE_INFINITY
    const nowMs = this.now()
    let nextMs = Number.POSITIVE_INFINITY
    for (const replica of this.#replicas.values()) {
      if (replica.nextMs(nowMs) <= nowMs) replica.tick(nowMs)
      nextMs = Math.min(nextMs, replica.nextMs(nowMs))
    }
    this.#schedule(nextMs, nowMs)
  }
}
