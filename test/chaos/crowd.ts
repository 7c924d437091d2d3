import { setTimeout as delay } from 'node:timers/promises'
import { type Random, seededRandom } from '../../src/base/clock.ts'
import { newHistory, owed, type Session } from '../durability/checker.ts'
import type { Peer, PeerOptions, Surroundings } from '../durability/peer.ts'
import { untilReal } from '../durability/process-node.ts'
import { Publisher } from '../durability/publisher.ts'
import { Subscriber, type SubscriberOptions } from '../durability/subscriber.ts'
import { Listener, Mortal, type Overheard, Passer } from './clients.ts'
import type { Cluster } from './cluster.ts'
import type { Finding, Judge } from './judge.ts'

const TOPICS = ['t/a', 't/b', 't/c', 't/d']
const FILTERS = ['t/#', 't/a', 't/+', 't/b', '+/c']
/** Publishes of one client without an end. */
const WINDOW = 16
/** A client gives up a connection that says nothing for so long. */
const PATIENCE_MS = 3_000
const REDIAL_MS_MAX = 400
const PACE_MS = 20
/** Between two things that clients do. */
const DISTURB_MS = 150
/** All answers are there so long after everything was made good, or a client is stuck: a node lease and an election. */
const ANSWER_MS_MAX = 60_000
/** So many deliveries, where all is well, are progress. */
const PROGRESS = 20
/** Connections that were left behind are closed so long after everything was made good. */
const STRAYS_MS_MAX = 20_000

export interface CrowdOptions {
  cluster: Cluster
  judge: (history: Surroundings['history']) => Judge
  seed: number
  /** Publishes a second, of all. */
  rate: number
  /** Without progress for so long what is missing does not come any more, ms. */
  silenceMs: number
  say: (line: string) => void
}

/**
 * All clients of a run. Publishers, sessions that stay, that come and go, and that come back when all is well; members of a
 * shared group; subscribers without a session; clients with a will, and the one that watches for wills. Each connection
 * goes to any node.
 */
export class Crowd {
  readonly judge: Judge
  readonly history = newHistory()
  readonly #cluster: Cluster
  readonly #random: Random
  readonly #rate: number
  readonly #silenceMs: number
  readonly #say: (line: string) => void
  readonly #overheard: Overheard[] = []
  readonly #publishers: Publisher[]
  readonly #stayers: Subscriber[]
  readonly #flappers: Subscriber[]
  readonly #sleepers: Subscriber[]
  readonly #members: Subscriber[]
  readonly #passers: Passer[]
  readonly #mortals: Mortal[]
  readonly #watcher: Subscriber
  #timers: NodeJS.Timeout[] = []
  /** Publishes of rounds that are over. */
  #old = 0

  constructor({ cluster, judge, seed, rate, silenceMs, say }: CrowdOptions) {
    this.#cluster = cluster
    this.#random = seededRandom(seed ^ 0x5eed)
    this.#rate = rate
    this.#silenceMs = silenceMs
    this.#say = say
    this.judge = judge(this.history)
    const common = (clientId: string, i: number): PeerOptions => ({
      ...{ clientId, version: i % 2 === 0 ? 5 : 4, surroundings: this.#surroundings() },
      ...{ patienceMs: PATIENCE_MS, redialMsMax: REDIAL_MS_MAX },
    })
    const many = <T>(count: number, name: string, make: (options: PeerOptions, i: number) => T) =>
      Array.from({ length: count }, (_, i) => make(common(`${name}${i + 1}`, i), i))
    const subscriber = (options: PeerOptions, i: number): SubscriberOptions => ({
      ...options,
      ...{ filter: FILTERS[i % FILTERS.length]!, qos: i % 4 === 3 ? 1 : 2, ackMsMax: 3, refusable: true },
      receiveMaximum: i % 3 === 2 ? 20 : 65_535,
    })
    const listener = (options: PeerOptions, i: number) =>
      new Listener({ ...subscriber(options, i), overheard: this.#overheard })
    this.#publishers = many(9, 'publisher', (options, i) => {
      // An answer waits for those before it: QoS 1 alone is answered soonest.
      return new Publisher({ ...options, topics: TOPICS, window: WINDOW, ...(i % 3 === 0 ? { qos: 1 } : {}) })
    })
    this.#stayers = many(6, 'stayer', listener)
    this.#flappers = many(6, 'flapper', listener)
    this.#sleepers = many(4, 'sleeper', listener)
    this.#members = many(3, 'member', (options, i) => {
      return new Subscriber({ ...subscriber(options, i), qos: 2, filter: '$share/g/t/#' })
    })
    this.#passers = many(8, 'passer', (options, i) => new Passer({ ...subscriber(options, i), transient: true }))
    this.#mortals = many(6, 'mortal', (options) => new Mortal(options))
    this.#watcher = new Subscriber({ ...common('watcher', 0), filter: 'w/#', qos: 2, ackMsMax: 1, refusable: true })
  }

  get #subscribers(): Subscriber[] {
    return [this.#watcher, ...this.#stayers, ...this.#flappers, ...this.#sleepers, ...this.#members]
  }

  get #all(): Peer[] {
    return [...this.#publishers, ...this.#subscribers, ...this.#passers, ...this.#mortals]
  }

  get acknowledged(): number {
    return this.#publishers.reduce((sum, { acknowledged }) => sum + acknowledged, 0)
  }

  /** All persistent sessions are there, and subscribed. */
  async start(): Promise<void> {
    for (const subscriber of this.#subscribers) subscriber.join()
    if (!(await untilReal(() => this.#subscribers.every(({ subscribed }) => subscribed), ANSWER_MS_MAX))) {
      throw new Error(
        `Not all clients of the run could subscribe: ${names(this.#subscribers.filter((s) => !s.subscribed))}`,
      )
    }
    const members = this.#members.map(({ clientId }) => clientId)
    this.history.sessions.push({ name: 'group', filter: 't/#', sinceMs: performance.now(), members })
  }

  /** Clients publish, come and go until {@link calm}. */
  begin(): void {
    this.#old = this.history.publishes.length
    for (const peer of [...this.#publishers, ...this.#passers, ...this.#mortals]) peer.join()
    for (const sleeper of this.#sleepers) sleeper.leave(this.#flip())
    let due = 0
    const pace = () => {
      due += (this.#rate * PACE_MS) / 1_000
      for (; due >= 1; due--) {
        const publisher = this.#one(this.#publishers)
        // Who waits for answers has enough to do.
        if (publisher.budget < WINDOW) publisher.produce(1)
      }
    }
    this.#timers = [setInterval(pace, PACE_MS), setInterval(() => this.#disturb(), DISTURB_MS)]
  }

  /** Nobody begins anything any more. */
  calm(): void {
    for (const timer of this.#timers) clearInterval(timer)
    this.#timers = []
    for (const publisher of this.#publishers) publisher.budget = 0
  }

  /** Everybody comes back and takes what is due; what does not come is told. Nothing fails any more. */
  async drain(): Promise<void> {
    const everybody = [...this.#subscribers, ...this.#passers, ...this.#mortals]
    for (const peer of everybody) peer.join()
    await this.#must(this.#publishers, ({ idle }) => idle, 'its publishes are not answered')
    await this.#must(everybody, ({ online }) => online, 'it is not let in')
    await this.#must(this.#passers, ({ subscribed }) => subscribed, 'it has no SUBACK')
    for (const passer of this.#passers) passer.expect()
    this.#say('everybody is there, and answered')
    // What comes last in every queue: who has it has all that is still there.
    const before = this.history.publishes.length
    for (const publisher of this.#publishers) publisher.produceLast()
    await this.#must(this.#publishers, ({ idle }) => idle, 'its last publishes are not answered')
    this.#say('the last publishes are answered')
    await this.#delivered(before)
    this.#say('what is due is there')
    await this.#alone()
    this.#say('older connections are closed')
    for (const mortal of this.#mortals) {
      mortal.part()
      this.judge.cancel(mortal.cancelled)
    }
  }

  /** Judges the round. */
  verdict(): Finding[] {
    const current = new Set<string>(this.#subscribers.map(({ clientId }) => clientId))
    const found = this.judge.round(this.#overheard, (session) => session !== 'group' && !current.has(session))
    for (const subscriber of [...this.#subscribers, ...this.#passers]) subscriber.got.clear()
    for (const passer of this.#passers) passer.part()
    return found
  }

  end(): void {
    this.calm()
    for (const peer of this.#all) {
      peer.leave(false)
      peer.gather()
    }
  }

  /** Waits as long as something comes. */
  async #delivered(lastFrom: number): Promise<void> {
    const { publishes, sessions, deliveries } = this.history
    const recent = publishes.slice(this.#old)
    const takers: readonly Subscriber[] = [...this.#subscribers, ...this.#passers]
    const dues = sessions.map((session) => {
      const getters = takers.filter((taker) => isGetter(taker, session))
      // What comes last to one member may overtake what another one has yet to take.
      return { getters, due: owed(session, session.members === undefined ? recent : publishes.slice(lastFrom)) }
    })
    const hasAll = ({ getters, due }: (typeof dues)[number]) => {
      while (due.length > 0 && (getters.length === 0 || getters.some(({ got }) => got.has(due.at(-1)!.id)))) due.pop()
      return due.length === 0
    }
    for (let seen = -1; seen < deliveries.length && !dues.every(hasAll); ) {
      seen = deliveries.length
      await untilReal(() => dues.every(hasAll) || deliveries.length >= seen + PROGRESS, this.#silenceMs)
    }
    for (const { getters, due } of dues) {
      const who = getters.map(({ clientId }) => clientId).join(', ')
      if (due.length > 0) this.#say(`${due.length} are not there, the last is ${due.at(-1)!.id}: ${who}`)
    }
  }

  /** Of two connections of one client id the older one is closed. */
  async #alone(): Promise<void> {
    await untilReal(() => this.#all.every(({ strays }) => strays === 0), STRAYS_MS_MAX)
    for (const peer of this.#all) {
      if (peer.strays === 0) continue
      this.judge.tell(
        'owners',
        peer.clientId,
        `${peer.strays} older connections are open ${STRAYS_MS_MAX} ms after all was well`,
      )
      peer.gather()
    }
  }

  async #must<T extends Peer>(peers: readonly T[], condition: (peer: T) => boolean, what: string): Promise<void> {
    if (await untilReal(() => peers.every(condition), ANSWER_MS_MAX)) return
    for (const peer of peers) {
      if (condition(peer)) continue
      this.judge.tell(
        'stuck',
        peer.clientId,
        `${what} ${ANSWER_MS_MAX} ms after all was well, at ${performance.now().toFixed(0)} ms`,
      )
    }
    await delay(0)
  }

  #disturb(): void {
    const what = this.#random.below(10)
    if (what < 2) return this.#one([...this.#publishers, ...this.#stayers, ...this.#members, ...this.#passers]).drop()
    if (what < 4) return this.#one([...this.#stayers, ...this.#flappers, ...this.#passers, ...this.#publishers]).stray()
    if (what < 6) {
      const mortal = this.#one(this.#mortals)
      if (!mortal.online) return mortal.join()
      const end = this.#random.below(4)
      if (end === 0) mortal.quit()
      else if (end === 1) mortal.stray()
      else mortal.drop()
      return
    }
    const comer = this.#one<Peer>([...this.#flappers, ...this.#passers, this.#members[0]!])
    if (this.#flip()) comer.join()
    else comer.leave(this.#flip())
  }

  /** Each client dials nodes of its own choice. */
  #surroundings(): Surroundings {
    return {
      dial: (handlers) => this.#cluster.dial(this.#random.below(this.#cluster.size))(handlers),
      history: this.history,
      random: this.#random,
      now: () => performance.now(),
      later: (ms, callback) => void setTimeout(callback, ms),
    }
  }

  #one<T>(of: readonly T[]): T {
    return of[this.#random.below(of.length)]!
  }

  #flip(): boolean {
    return this.#random.below(2) === 0
  }
}

function isGetter(taker: Subscriber, { name, members }: Session): boolean {
  return members === undefined
    ? name === taker.clientId || name.startsWith(`${taker.clientId}/`)
    : members.includes(taker.clientId)
}

function names(peers: readonly Peer[]): string {
  return peers.map(({ clientId }) => clientId).join(', ')
}
