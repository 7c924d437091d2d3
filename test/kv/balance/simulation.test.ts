import { describe, expect, test } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import { balance, type Landscape, type Proposal, RULES, type Rules } from '../../../src/kv/balance/index.ts'
import { seeds } from '../../sim/seeds.ts'
import { Cluster, type ModelRange, votersOf } from './model.ts'

const SERVICES = ['dist', 'inbox', 'retain'] as const
/** Rounds, of a minute each, after which all must be at rest: the dead are given up after 15. */
const ROUNDS_MAX = 120

describe('random clusters come to rest, whatever happened to them', () => {
  for (const seed of seeds(30)) {
    test(`seed=${seed}`, { timeout: 30_000 }, () => {
      const world = new BalancedWorld(seed)
      for (let phase = 0; phase < 6; phase++) {
        world.disturb()
        world.run(1 + world.random.below(8), world.random.below(2) === 0)
        world.comeToRest()
        world.checkVoters()
      }
    })
  }
})

test('every store takes its own part of one plan, in whatever order it heard of things', () => {
  for (const seed of seeds(10)) {
    const world = new BalancedWorld(seed)
    for (let round = 0; round < 10; round++) {
      if (round % 4 === 0) world.disturb()
      const whole = world.plan(world.cluster.landscape())
      const shuffled = shuffle(world.cluster.landscape(), world.random)
      const parts = [...world.cluster.stores.keys()].flatMap((self) => world.plan({ ...shuffled, self }))
      expect(new Set(parts.map(said))).toEqual(new Set(whole.map(said)))
      expect(new Set(whole.map(({ range }) => range)).size).toBe(whole.length)
      world.run(1, false)
    }
  }
})

class BalancedWorld {
  readonly cluster = new Cluster()
  readonly random: Random
  readonly rules: Rules
  #stores = 0
  #past: Landscape[] = []

  constructor(seed: number) {
    this.random = seededRandom(seed)
    const voters = () => [1, 3, 3, 5][this.random.below(4)]!
    this.rules = {
      ...RULES,
      copiesMax: 1 + this.random.below(8),
      proposalsMax: 4 + this.random.below(16),
      services: {
        dist: { voters: voters(), learnersOn: this.random.below(2) === 0 ? ['mqtt'] : [] },
        inbox: { voters: voters(), splitBytes: 2 ** 30 },
        retain: { voters: voters() },
      },
    }
    const count = 1 + this.random.below(8)
    for (let i = 0; i < count; i++) this.addStore()
    for (let i = 1 + this.random.below(14); i > 0; i--) this.addRange(`r${i}`)
  }

  addStore(): void {
    const roles = this.random.below(4) > 0 ? ['mqtt', ...SERVICES] : ['mqtt', SERVICES[this.random.below(3)]!]
    this.cluster.addStore(`n${++this.#stores}`, { zone: 'abc'[this.random.below(3)]!, roles })
  }

  addRange(id: string): void {
    const service = SERVICES[this.random.below(3)]!
    const able = [...this.cluster.stores.values()]
      .filter(({ roles }) => roles.includes(service))
      .map((store) => store.id)
    if (able.length === 0) return
    const order = shuffled(able, this.random)
    const size = Math.min([1, 3, 5][this.random.below(3)]!, order.length)
    const odd = size % 2 === 0 ? size - 1 : size
    this.cluster.addRange(id, service, order.slice(0, odd), order.slice(odd, odd + this.random.below(2)))
  }

  /** Stores die, come back, leave, pause, join. */
  disturb(): void {
    if (this.random.below(3) === 0 && this.#stores < 10) this.addStore()
    for (const store of this.cluster.stores.values()) {
      const draw = this.random.below(20)
      if (draw < 3) Object.assign(store, { alive: false, deadForMs: this.random.below(20) * 60_000 })
      else if (draw < 8) Object.assign(store, { alive: true, deadForMs: 0 })
      else if (draw === 8) store.draining = !store.draining
      else if (draw === 9) store.freeBytes = this.random.below(2) * 2 ** 35
      else if (draw === 10) store.full = this.random.below(3) === 0
      else if (draw === 11 && this.random.below(3) === 0) store.decommissioning = true
    }
    for (const range of this.cluster.ranges.values()) {
      if (this.random.below(15) === 0) range.sizeBytes = 2 ** 30 * this.random.float() * 3
      range.middleKey = middleOf(range)
    }
    this.cluster.pass(0, false)
  }

  /** Rounds in which each store goes by what it heard, which may be old, and copies come slowly. */
  run(rounds: number, stale: boolean): void {
    for (let i = 0; i < rounds; i++) {
      this.#past = [...this.#past.slice(-3), structuredClone(this.cluster.landscape())]
      for (const self of this.cluster.stores.keys()) {
        const heard = stale ? this.#past[this.random.below(this.#past.length)]! : this.#past.at(-1)!
        for (const proposal of this.plan({ ...heard, self })) this.#offer(proposal)
      }
      this.cluster.pass(20_000, this.random.below(2) === 0)
    }
  }

  plan(landscape: Landscape): Proposal[] {
    return balance(landscape, this.cluster.nowMs, this.rules)
  }

  /** No state is seen twice on the way to rest, so nothing is done and undone. */
  comeToRest(): void {
    const seen = new Set<string>()
    this.cluster.pass(60_000)
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const plan = this.plan(this.cluster.landscape())
      if (plan.length > 0) {
        const state = this.#state()
        if (seen.has(state)) throw new Error(`${state}\ncame again; now ${plan.map(said).join(' and ')}`)
        seen.add(state)
      } else if (this.#allGivenUp()) return
      for (const proposal of plan) this.cluster.apply(proposal)
      this.cluster.pass(60_000)
    }
    expect(this.plan(this.cluster.landscape()).map(said)).toEqual([])
  }

  /** Voters rule: the largest odd number of the wished and the live ones, all on stores that may hold them. */
  checkVoters(): void {
    const stores = [...this.cluster.stores.values()]
    for (const range of this.cluster.ranges.values()) {
      if (range.leaderStore === null) continue
      const { service, id } = range.descriptor
      const wished = this.rules.services[service]!.voters!
      const able = stores.filter((store) => store.roles.includes(service) && !store.decommissioning && store.alive)
      const free = able.filter(
        (store) => (!store.draining && !store.full && store.freeBytes > 2 ** 31) || votersOf(range).includes(store.id),
      )
      const size = Math.min(wished, able.length)
      const count = size % 2 === 0 ? Math.max(1, size - 1) : size
      // Without enough stores that take a replica it waits, with the voters it has.
      if (able.length === 0 || free.length < count) continue
      const voters = votersOf(range)
      expect(voters.length, `voters of ${id}`).toBe(count)
      for (const voter of voters) expect(able.map((store) => store.id)).toContain(voter)
    }
  }

  /** The store may have to refuse what was proposed by an old landscape, as the range would. */
  #offer(proposal: Proposal): void {
    const range = this.cluster.ranges.get(proposal.range)
    if (range === undefined || range.busy || range.leaderStore !== proposal.store) return
    const { version, confVersion } = range.descriptor.epoch
    if (version !== proposal.epoch.version || confVersion !== proposal.epoch.confVersion) return
    const { action } = proposal
    if (action.type === 'change' && this.#isUnsafe(range, action.changes)) return
    if (action.type === 'transfer' && !this.cluster.stores.get(action.to)!.alive) return
    if (action.type === 'transfer' && (range.lag[action.to] ?? 1) > 0) return
    this.cluster.apply(proposal)
  }

  /** A range's leader knows itself who lives and who lags. */
  #isUnsafe(range: ModelRange, changes: readonly { store: string; to: string }[]): boolean {
    const after = new Set(votersOf(range))
    for (const { store, to } of changes) {
      if (to === 'voter' && (range.lag[store] ?? 1) > 0) return true
      if (to === 'voter') after.add(store)
      else after.delete(store)
    }
    return [...after].filter((id) => this.cluster.stores.get(id)!.alive).length * 2 <= after.size
  }

  #allGivenUp(): boolean {
    return [...this.cluster.stores.values()].every(({ alive, deadForMs }) => alive || deadForMs > 15 * 60_000)
  }

  #state(): string {
    const dead = [...this.cluster.stores.values()].filter(({ alive }) => !alive)
    const given = dead.map(({ id, deadForMs }) => `${id}${deadForMs >= 15 * 60_000 ? '+' : ''}`)
    const ranges = [...this.cluster.ranges.values()].map(({ descriptor, leaderStore, lag, busy }) => {
      const replicas = descriptor.replicas.map(({ store, role }) => `${store} ${role} ${lag[store] ?? '-'}`)
      return `${descriptor.id} ${busy} ${leaderStore} ${replicas.join()}`
    })
    return [...given, ...ranges].join('\n')
  }
}

function middleOf(range: ModelRange): Uint8Array {
  const low = range.descriptor.start?.[0] ?? 0
  const high = range.descriptor.end?.[0] ?? 256
  return Uint8Array.of(Math.floor((low + high) / 2))
}

function said({ balancer, range, action, reason }: Proposal): string {
  return `${range} ${balancer} ${JSON.stringify(action)} ${reason}`
}

function shuffle(landscape: Landscape, random: Random): Landscape {
  return { ...landscape, stores: shuffled(landscape.stores, random), ranges: shuffled(landscape.ranges, random) }
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, at: random.float() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
