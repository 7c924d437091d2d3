import { setTimeout as delay } from 'node:timers/promises'
import { type Random, seededRandom } from '../../src/base/clock.ts'
import { untilReal } from '../durability/process-node.ts'
import { Talker } from '../durability/talker.ts'
import type { Cluster } from './cluster.ts'
import type { Judge } from './judge.ts'

const NO_MATCHING_SUBSCRIBERS = 0x10
const BETWEEN_MS = 300
const ANSWER_MS_MAX = 20_000
/** A route goes so long after its subscriber has gone, where nothing fails any more: a node lease, and a sweep. */
const ROUTE_MS_MAX = 40_000
const TRANSIENT = { clean: true, properties: { sessionExpiryInterval: 0 } }
/** Filters of one round that are looked after in its end. */
const FILTERS_MAX = 60

/** Short-lived clients: what a SUBACK at one node means at another one, and what is left of a subscriber that has gone. */
export class Probes {
  readonly #cluster: Cluster
  readonly #judge: Judge
  readonly #random: Random
  #running = false
  #done: Promise<void> = Promise.resolve()
  #count = 0
  /** Of subscribers that have gone. */
  #filters: string[] = []
  /** SUBACKs after which a publish on another node was accepted and delivered. */
  passed = 0

  constructor(cluster: Cluster, judge: Judge, seed: number) {
    this.#cluster = cluster
    this.#judge = judge
    this.#random = seededRandom(seed ^ 0x9e37)
  }

  begin(): void {
    this.#running = true
    this.#done = this.#loop()
  }

  async end(): Promise<void> {
    this.#running = false
    await this.#done
  }

  /** Nothing fails, and all subscribers of these filters have gone: no node may know of one. */
  async ghosts(): Promise<void> {
    const filters = this.#filters.splice(0).slice(-FILTERS_MAX)
    await Promise.all(
      this.#cluster.nodes.map(async ({ name }, node) => {
        const found = await this.#ghostsOn(node, filters).catch((error: unknown) => [String(error)])
        for (const filter of found)
          this.#judge.tell('routes', filter, `${name} still has a route, its subscriber has gone`)
      }),
    )
  }

  async #ghostsOn(node: number, filters: readonly string[]): Promise<string[]> {
    const endMs = performance.now() + ROUTE_MS_MAX
    let left = [...filters]
    const talker = new Talker(this.#cluster.dial(node), untilReal)
    await talker.connect(`ghost-${node}-${++this.#count}`, TRANSIENT)
    while (left.length > 0 && performance.now() < endMs) {
      const still: string[] = []
      for (const filter of left) {
        if ((await publish(talker, filter, ++this.#count % 60_000)) !== NO_MATCHING_SUBSCRIBERS) still.push(filter)
      }
      left = still
      if (left.length > 0) await delay(BETWEEN_MS)
    }
    talker.drop()
    return left
  }

  async #loop(): Promise<void> {
    while (this.#running) {
      // Whatever breaks is a client's bad luck; what counts is judged inside.
      await this.#probe().catch(() => {})
      await delay(BETWEEN_MS)
    }
  }

  async #probe(): Promise<void> {
    const { size } = this.#cluster
    const number = ++this.#count
    const topic = `p/${number}`
    const [at, from] = [this.#random.below(size), this.#random.below(size)]
    const until: typeof untilReal = (condition, ms) =>
      untilReal(condition, Math.min(ms ?? ANSWER_MS_MAX, ANSWER_MS_MAX))
    const beganMs = performance.now()
    const subscriber = new Talker(this.#cluster.dial(at), until)
    const publisher = new Talker(this.#cluster.dial(from), until)
    try {
      await publisher.connect(`probe-p${number}`, TRANSIENT)
      await subscriber.connect(`probe-s${number}`, TRANSIENT)
      this.#filters.push(topic)
      await subscriber.subscribe(topic, 1)
      const reasonCode = await publish(publisher, topic, 1)
      if (reasonCode >= 0x80) return
      if (reasonCode !== NO_MATCHING_SUBSCRIBERS) await until(() => subscriber.payloads.length > 0 || subscriber.closed)
      const got = subscriber.payloads.length > 0
      if (got) this.passed++
      const excused = [at, from].some((node) => this.#cluster.disturbedSince(node, beganMs)) || subscriber.closed
      if (got || excused) return
      const how = reasonCode === NO_MATCHING_SUBSCRIBERS ? 'found no subscriber' : 'was accepted and never came'
      const [there, here] = [this.#cluster.nodes[at]!.name, this.#cluster.nodes[from]!.name]
      this.#judge.tell(
        'suback',
        topic,
        `SUBACK on ${there}, then a publish on ${here} ${how} (${beganMs.toFixed(0)} ms)`,
      )
    } finally {
      publisher.drop()
      subscriber.drop()
    }
  }
}

/** The reason code of its PUBACK. */
async function publish(talker: Talker, topic: string, messageId: number): Promise<number> {
  talker.send({ cmd: 'publish', topic, payload: 'x', qos: 1, retain: false, dup: false, messageId })
  const { reasonCode } = await talker.expect('puback', messageId)
  return reasonCode ?? 0
}
