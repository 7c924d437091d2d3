import type { Random } from '../../src/base/clock.ts'
import { owed } from './checker.ts'
import type { Peer, Surroundings } from './peer.ts'
import { Publisher } from './publisher.ts'
import { Subscriber } from './subscriber.ts'

/** Waits until the condition holds; gives up after `msMax`, and says whether it did hold. */
export type Until = (condition: () => boolean, msMax?: number) => Promise<boolean>

const TOPICS = ['t/a', 't/b'] as const
const GROUP_FILTER = '$share/g/t/#'
const WINDOW = 12
/** So many deliveries in so long are progress, in milliseconds. */
const PROGRESS = 50
const PROGRESS_MS = 20_000

/**
 * The clients of a run: publishers of QoS 1 and 2, and sessions of three kinds: who stays, who comes and goes, and who
 * comes back only at the end; two of them share a group.
 */
export class Fleet {
  readonly publishers: Publisher[]
  readonly stayers: Subscriber[]
  readonly flappers: Subscriber[]
  readonly sleepers: Subscriber[]
  /** Of a shared group: one that stays, one that comes and goes. */
  readonly members: Subscriber[]
  readonly #around: Surroundings
  readonly #until: Until

  constructor(surroundings: Surroundings, until: Until) {
    this.#around = surroundings
    this.#until = until
    const publisher = (clientId: string, version: 4 | 5) =>
      new Publisher({ clientId, version, surroundings, topics: TOPICS, window: WINDOW })
    const subscriber = (clientId: string, version: 4 | 5, qos: 1 | 2, receiveMaximum = 65_535, filter = 't/#') =>
      new Subscriber({ clientId, version, surroundings, qos, filter, receiveMaximum, ackMsMax: 3 })
    this.publishers = [publisher('p4', 4), publisher('p5', 5), publisher('q5', 5)]
    this.stayers = [
      subscriber('stays5', 5, 2),
      subscriber('stays4', 4, 2),
      subscriber('narrow', 5, 2, 5),
      subscriber('one', 5, 1, 20, 't/a'),
    ]
    this.members = ['member5', 'member4'].map((name, i) => subscriber(name, i === 0 ? 5 : 4, 2, 65_535, GROUP_FILTER))
    this.flappers = [subscriber('flaps4', 4, 2), subscriber('flaps5', 5, 1), this.members[1]!]
    this.sleepers = [subscriber('sleeps4', 4, 2), subscriber('sleeps5', 5, 2, 30), subscriber('sleeps1', 5, 1)]
  }

  get subscribers(): Subscriber[] {
    return [this.members[0]!, ...this.stayers, ...this.flappers, ...this.sleepers]
  }

  get acknowledged(): number {
    return this.publishers.reduce((sum, { acknowledged }) => sum + acknowledged, 0)
  }

  /** All subscribe, then the sleepers leave, then the publishers come. */
  async start(): Promise<void> {
    for (const subscriber of this.subscribers) subscriber.join()
    await this.#must(() => this.subscribers.every(({ subscribed }) => subscribed), 'all subscribe')
    const members = this.members.map(({ clientId }) => clientId)
    this.#around.history.sessions.push({ name: 'group', filter: 't/#', sinceMs: this.#around.now(), members })
    for (const sleeper of this.sleepers) sleeper.leave(this.#flip())
    for (const publisher of this.publishers) publisher.join()
  }

  /** Keeps the publishers busy until `count` more publishes are acknowledged. */
  async publish(count: number): Promise<void> {
    const goal = this.acknowledged + count
    const more = () => {
      for (const publisher of this.publishers) if (publisher.budget < WINDOW) publisher.produce(WINDOW)
      return this.acknowledged >= goal
    }
    await this.#must(more, `${count} publishes are acknowledged`)
  }

  /** Something that clients do: a connection breaks, a session goes or comes. */
  disturb(): void {
    const { random } = this.#around
    const peers: Peer[] = [...this.publishers, ...this.stayers]
    if (random.below(3) === 0) peers[random.below(peers.length)]!.drop()
    for (const flapper of this.flappers) {
      if (this.#flip()) flapper.join()
      else flapper.leave(this.#flip())
    }
  }

  /** No more publishes; every session comes back and takes all it is owed, or as much as there is. */
  async drain(): Promise<void> {
    for (const publisher of this.publishers) publisher.budget = 0
    const idle = () => this.publishers.every((publisher) => publisher.idle)
    await this.#must(idle, 'all publishes are answered')
    const { publishes, sessions, deliveries } = this.#around.history
    const before = publishes.length
    // What comes last in every queue: who has it has all that is still there.
    for (const publisher of this.publishers) publisher.produceLast()
    await this.#must(idle, 'the last publishes are answered')
    for (const subscriber of this.subscribers) subscriber.join()
    const last = publishes.slice(before)
    const dues = sessions.map((session) => {
      const getters = this.subscribers.filter(({ clientId }) => (session.members ?? [session.name]).includes(clientId))
      // What comes last to one member may overtake what another one has yet to take.
      return { getters, due: [...owed(session, session.members === undefined ? last : publishes)] }
    })
    const hasAll = ({ getters, due }: (typeof dues)[number]) => {
      while (due.length > 0 && getters.some(({ got }) => got.has(due.at(-1)!.id))) due.pop()
      return due.length === 0
    }
    // However slow they are: as long as something comes, more may come.
    for (let seen = -1; seen < deliveries.length && !dues.every(hasAll); ) {
      seen = deliveries.length
      await this.#until(() => dues.every(hasAll) || deliveries.length >= seen + PROGRESS, PROGRESS_MS)
    }
    for (const peer of [...this.publishers, ...this.subscribers]) peer.leave(true)
  }

  async #must(condition: () => boolean, what: string): Promise<void> {
    if (await this.#until(condition)) return
    const { publishes } = this.#around.history
    throw new Error(
      `It never came to that ${what}: ${this.acknowledged} of ${publishes.length} publishes are acknowledged`,
    )
  }

  #flip(): boolean {
    return this.#around.random.below(2) === 0
  }
}

/** A number from 0 to `max`, mostly a small one. */
export function skewed(random: Random, max: number): number {
  return Math.floor(random.float() ** 2 * (max + 1))
}
