import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TenantId } from '../../src/base/ids.ts'
import { DistClient } from '../../src/dist/client.ts'
import type { RouteChange, TopicEntry } from '../../src/dist/index.ts'
import { RouteTable } from '../../src/dist/match/table.ts'
import { routeCoprocessor } from '../../src/dist/store/coprocessor.ts'
import { chaosWorld } from '../sim/chaos.ts'
import { seeds } from '../sim/seeds.ts'
import { World } from '../sim/world.ts'
import { describeEntry, ModelDist, plain, receiverName, routes, TENANTS, topics } from './model.ts'

const ROUNDS = 12
const CHANGES_MAX = 10
/** Far fewer names than changes, so that routes come, change and go. */
const FILTERS = ['a', 'a/+', 'a/#', 'b/c', '+/c', '#', '$x/#', '//']

/** The obvious model beside the real thing, on a bad day: delays, refusals, losses, repetitions, crashes, splits. */
class Scene {
  readonly world: World
  readonly model = new ModelDist()
  readonly chaos
  table!: RouteTable
  acknowledged = 0
  readonly #dist: DistClient
  /** Changes called and not answered, by route. */
  readonly #pending = new Map<string, number>()
  readonly #entries = new Set<TopicEntry>()
  readonly #changes: RouteChange[]
  readonly #topics: string[]

  constructor(seed: number) {
    this.world = new World({ seed })
    // Every second run keeps its table over crashes, as a node does whose replica moves away and comes back.
    const makeTable = () =>
      new RouteTable({ defer: this.world.defer, now: this.world.clock.monotonic, cacheBytesMax: 20_000, seed })
    const kept = seed % 2 === 0 ? makeTable() : null
    this.chaos = chaosWorld({
      ...{ seed, world: this.world, coprocessor: routeCoprocessor, crashMs: 700, splitMs: 200 },
      makeObserver: () => {
        if (kept === null) this.#entries.clear()
        this.table = kept ?? makeTable()
        return this.table
      },
      splits: ['t1\0a/', 't2\0#'].map((key) => Buffer.from(key)),
    })
    this.#dist = new DistClient(this.chaos.client, this.table, null)
    const sample = { seed, numRuns: 400 }
    this.#changes = fc.sample(routes, sample).map((route) => ({ ...route, op: 'add', filter: this.#one(FILTERS) }))
    this.#topics = fc.sample(topics, { seed, numRuns: 12 })
  }

  async round(): Promise<void> {
    const count = 1 + this.world.random.below(CHANGES_MAX)
    const calls = Array.from({ length: count }, () => this.#call())
    for (let i = 0; i < 5; i++) this.#keep(this.table.match(this.#one(TENANTS), this.#one(this.#topics)))
    await this.world.resolve(Promise.all(calls))
    this.check()
  }

  /** Everything is acknowledged: what is matched is what the model says, as far as the table is up. */
  check(): void {
    if (!this.#up()) return
    for (const tenant of TENANTS) {
      for (const topic of this.#topics) this.#compare(this.table.match(tenant, topic))
    }
    for (const entry of this.#entries) if (entry.alive) this.#compare(entry)
  }

  async listed(tenant: TenantId): Promise<unknown[]> {
    const { routes: found, next } = await this.world.resolve(this.#dist.routes(tenant, { limit: 1_000 }))
    expect(next).toBeNull()
    return found.map(plain).sort()
  }

  #up(): boolean {
    return this.chaos.store !== null && this.table.ready()
  }

  #call(): Promise<void> {
    const op = this.world.random.below(3) === 0 ? 'remove' : 'add'
    const change: RouteChange = { ...this.#one(this.#changes), op }
    const name = JSON.stringify([change.tenant, change.filter, receiverName(change.receiver)])
    this.#pending.set(name, (this.#pending.get(name) ?? 0) + 1)
    this.model.apply(change)
    return new Promise((resolve, reject) => {
      this.#dist.changeWith(change, (error) => {
        if (error !== null) return reject(error)
        this.acknowledged++
        const left = this.#pending.get(name)! - 1
        this.#pending.set(name, left)
        if (left === 0 && this.#up()) this.#checkRoute(change)
        return resolve()
      })
    })
  }

  /** The route is in the match exactly if the model has it: other changes may still be under way. */
  #checkRoute(change: RouteChange): void {
    const { tenant, filter, receiver } = change
    const should = this.model.routes.has(JSON.stringify([tenant, filter, receiverName(receiver)]))
    const is = holds(this.table.match(tenant, filter.replaceAll('+', 'x').replaceAll('#', 'y')), change)
    // Of an inbox, a route with a newer incarnation hides this one.
    if (is === should || (receiver.kind === 'inbox' && should)) return
    this.world.fail(new Error(`Acknowledged and not so: ${JSON.stringify({ change, is, should })}`))
  }

  #compare(entry: TopicEntry): void {
    expect(describeEntry(entry)).toEqual(this.model.expected(entry.tenant, entry.topic))
  }

  #keep(entry: TopicEntry): void {
    if (this.chaos.store === null) return
    for (const each of this.#entries) if (!each.alive) this.#entries.delete(each)
    this.#entries.add(entry)
  }

  #one<Item>(items: readonly Item[]): Item {
    return items[this.world.random.below(items.length)]!
  }
}

function holds(entry: TopicEntry, { filter, receiver }: RouteChange): boolean {
  switch (receiver.kind) {
    case 'node':
      return entry.nodes.some(({ node, filters }) => node === receiver.node && filters.includes(filter))
    case 'inbox':
      return entry.inboxes.some(
        (each) => each.inbox === receiver.inbox && each.subscriptions.some((s) => s.filter === filter),
      )
    case 'plugin':
      return entry.plugins.some(
        (each) => receiverName({ kind: 'plugin', ...each }) === receiverName(receiver) && each.filter === filter,
      )
    case 'group': {
      const named = entry.groups.filter((each) => each.filter === filter)
      const members = named.flatMap(({ group, ordered, members }) =>
        members.map((member) => receiverName({ kind: 'group', group, ordered, member })),
      )
      return members.includes(receiverName(receiver))
    }
  }
}

for (const seed of seeds(40)) {
  test(`matches agree with the model after every acknowledged change, seed=${seed}`, async () => {
    const scene = new Scene(seed)
    for (let i = 0; i < ROUNDS; i++) {
      await scene.round()
      expect(scene.chaos.health()).toEqual([])
    }
    scene.chaos.calm()
    await scene.world.runUntil(() => scene.table.ready())
    scene.check()
    expect(scene.chaos.store!.ranges().length).toBeGreaterThanOrEqual(3)
    for (const tenant of TENANTS) {
      const model = [...scene.model.routes.values()].filter((route) => route.tenant === tenant)
      expect(await scene.listed(tenant)).toEqual(model.map(plain).sort())
    }
    expect(scene.table.stats().routes).toBe(scene.model.routes.size)
    expect(scene.acknowledged).toBeGreaterThan(ROUNDS)
  })
}
