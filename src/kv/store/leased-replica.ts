import { BrokerError } from '../../base/errors.ts'
import { type LeaseOptions, type MatchMessage, MatchReplica } from '../lease/index.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Frozen } from '../range/merge.ts'
import type { Group } from './group.ts'
import type { HeldAnswer, ReplicaWatcher, WatchedReplica } from './watch.ts'

/** What the replicas of one store share: see {@link MatchLeases}. */
export interface LeaseHome {
  /** Its store: replicas are named by their stores. */
  readonly name: string
  readonly lease: LeaseOptions
  /** Monotonic ms. Whoever asks hears of a sleep of the machine first. */
  now(): number
  send(to: string, range: string, message: MatchMessage): void
  /** A lease counts that did not, or keys are another range's. */
  changed(): void
  /** It may have something to do before it is looked at next. */
  stepped(replica: LeasedReplica, nowMs: number): void
  released(replica: LeasedReplica, heldMs: number): void
  closed(replica: LeasedReplica): void
}

interface Held {
  answer: HeldAnswer
  sinceMs: number
}

/** Answers of one range that are held back, at most: entries, each with the commands of many. */
const HELD_MAX = 10_000
/** Asks that wait until a majority has confirmed the leader: a few of each holder. */
const ASKS_MAX = 1_024

/** One replica's match leases: what the group says goes to the machine, what the machine says is done. */
export class LeasedReplica implements ReplicaWatcher {
  readonly #replica: WatchedReplica
  readonly #home: LeaseHome
  readonly #machine: MatchReplica<Held>
  /** Of the leader machine; null: this replica does not lead. */
  #ledTerm: number | null = null
  /** A majority has acknowledged a heartbeat that was sent later than this. */
  #confirmedMs = Number.NEGATIVE_INFINITY
  #confirming = false
  #doubtMs = Number.NEGATIVE_INFINITY
  #asks: ((nowMs: number) => void)[] = []
  #holds = false
  #boundary: RangeDescriptor
  #frozen: Frozen | null
  #closed = false

  /** @param incarnation not used before, by any replica of this name */
  constructor(replica: WatchedReplica, home: LeaseHome, incarnation: number) {
    const { range } = replica
    this.#replica = replica
    this.#home = home
    this.#boundary = range.descriptor
    this.#frozen = range.merge.frozen
    const { name, lease } = home
    this.#machine = new MatchReplica({ name, incarnation, applied: range.applied.index, heldMax: HELD_MAX, lease })
  }

  get id(): string {
    return this.#replica.id
  }

  get boundary(): RangeDescriptor {
    return this.#boundary
  }

  /** The range whose lease must count too, for it may have taken this one over already; null = none. */
  get left(): string | null {
    return this.#frozen?.left ?? null
  }

  /** Its table may be matched against until then. */
  get untilMs(): number {
    return this.#machine.untilMs
  }

  get heldAnswers(): number {
    return this.#machine.heldAnswers
  }

  /** When {@link tick} has something to do. Who is alone asks itself when it wants a lease. */
  nextMs(nowMs: number): number {
    return isLonely(this.#replica.group) ? Number.POSITIVE_INFINITY : this.#machine.nextMs(nowMs)
  }

  ledBy(): void {
    const { group } = this.#replica
    const nowMs = this.#home.now()
    if (!group.leads && this.#ledTerm !== null) {
      this.#ledTerm = null
      this.#asks = []
      this.#machine.deposed()
    } else if (group.leads && this.#ledTerm !== group.term) {
      this.#ledTerm = group.term
      this.#confirmedMs = Number.NEGATIVE_INFINITY
      this.#machine.led(isLonely(group) ? Number.NEGATIVE_INFINITY : nowMs)
    }
    this.tick(nowMs)
  }

  merged(): void {
    if (!isLonely(this.#replica.group)) this.#machine.adopt(this.#home.now())
  }

  applied(index: number): void {
    const nowMs = this.#home.now()
    const { descriptor, merge } = this.#replica.range
    this.#machine.applied(index, nowMs)
    const isOther = descriptor !== this.#boundary || merge.frozen !== this.#frozen
    this.#boundary = descriptor
    this.#frozen = merge.frozen
    this.#perform(nowMs)
    if (isOther) this.#home.changed()
  }

  answers(index: number, answer: HeldAnswer): void {
    const nowMs = this.#home.now()
    this.#machine.hold(index, { answer, sinceMs: nowMs }, nowMs)
    this.#perform(nowMs)
  }

  closed(): void {
    if (this.#closed) return
    this.#closed = true
    this.#asks = []
    this.#machine.deposed()
    this.#perform(this.#home.now())
    this.#home.closed(this)
  }

  received(from: string, message: MatchMessage): void {
    const nowMs = this.#home.now()
    if (message.type === 'ask' && this.#replica.group.leads) {
      if (message.ask.holder === from) this.#asked((atMs) => this.#machine.received(from, message, atMs), nowMs)
    } else this.#machine.received(from, message, nowMs)
    this.#perform(nowMs)
  }

  /** Asks for a lease where it is time to, and lets go what time allows. */
  tick(nowMs: number): void {
    const { group } = this.#replica
    this.#machine.follows(group.leaderStore)
    if (group.leads) this.#confirm(nowMs)
    this.#machine.committed(group.status().commit)
    this.#machine.tick(nowMs)
    group.keepAwake(this.#machine.leasesOut(nowMs), 'match leases')
    this.#perform(nowMs)
  }

  /** A lease is wanted: it is asked for now. */
  want(nowMs: number): void {
    this.#machine.want()
    this.tick(nowMs)
  }

  doubt(nowMs: number): void {
    this.#doubtMs = nowMs
    this.#confirmedMs = Number.NEGATIVE_INFINITY
    this.#machine.doubt(nowMs)
    this.#holds = false
  }

  /** Leases run from the last confirmation on: one that is too old is renewed first. */
  #asked(grant: (nowMs: number) => void, nowMs: number): void {
    if (nowMs - this.#confirmedMs < this.#home.lease.askMs) {
      this.#machine.committed(this.#replica.group.status().commit)
      grant(nowMs)
    } else if (this.#asks.length < ASKS_MAX) this.#asks.push(grant)
    this.#confirm(nowMs)
  }

  /** Lets a majority confirm that this replica leads, twice as often as somebody asks: it is the group's heartbeat. */
  #confirm(askedMs: number): void {
    if (this.#confirming || askedMs - this.#confirmedMs < this.#home.lease.askMs / 2) return
    this.#confirming = true
    const term = this.#ledTerm
    this.#replica.confirm((leads) => {
      this.#confirming = false
      if (this.#closed || !leads || term !== this.#ledTerm) return
      const nowMs = this.#home.now()
      if (askedMs > this.#doubtMs) this.#confirmedMs = askedMs
      this.#machine.confirmed(askedMs)
      // Who may read knows what all leaders before it have committed.
      this.#machine.established()
      this.#machine.committed(this.#replica.group.status().commit)
      for (const ask of this.#asks.splice(0)) ask(nowMs)
      if (!this.#machine.holds(nowMs)) this.#machine.want()
      this.#machine.tick(nowMs)
      this.#perform(nowMs)
    })
  }

  #perform(nowMs: number): void {
    const { messages, released, givenUp } = this.#machine.ready()
    for (const { to, message } of messages) this.#home.send(to, this.id, message)
    const holds = this.#machine.holds(nowMs)
    const gained = holds && !this.#holds
    this.#holds = holds
    for (const { answer, sinceMs } of released) {
      this.#home.released(this, nowMs - sinceMs)
      answer.release()
    }
    if (givenUp.length > 0) {
      const hint = { range: this.id, leader: this.#replica.group.leaderStore }
      const message = `Cannot tell who matches by it: the replica of range "${this.id}" here does not lead any more`
      const error = new BrokerError('UNAVAILABLE', message, { hint })
      for (const { answer } of givenUp) answer.giveUp(error)
    }
    if (gained) this.#home.changed()
    if (!this.#closed) this.#home.stepped(this, nowMs)
  }
}

/** Nobody else can have a lease: the only replica is here, and never fed another one. */
function isLonely({ alone, nextReplica, replica }: Group): boolean {
  return alone && replica === 1 && nextReplica === 2
}
