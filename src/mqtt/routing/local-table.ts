import type { TenantId } from '../../base/ids.ts'
import type { Dist, RouteChange, SubscriptionOptions } from '../../dist/index.ts'
import { type LocalTarget, type Subscriber, toTarget } from './subscriber.ts'

/**
 * The lowest number of a route that an incarnation of this node makes: the routes of each incarnation are above all those
 * of the ones before, whatever the clock does. Earlier versions numbered them by hybrid timestamps, which are lower.
 */
export function firstRouteOf(nodeIncarnation: number): number {
  return 2 ** 51 + nodeIncarnation * 2 ** 32
}

/** Routes made again at a time. */
const RENEW_SLICE = 1_000

export type RouteDone = (error: Error | null) => void

/** One shared group's members on this node. */
export interface LocalGroup {
  readonly ordered: boolean
  readonly members: LocalTarget[]
  /** Where the next round robin starts. */
  next: number
  readonly route: NodeRoute
}

interface TenantTable {
  filters: Map<string, { subscribers: Map<Subscriber, SubscriptionOptions>; route: NodeRoute }>
  groups: Map<string, LocalGroup>
}

/**
 * This node's transient subscriptions: filter -> connections, and the node's own route for each filter.
 *
 * A filter has one route however many subscribers it has here. A subscription counts once its route is applied on
 * every match replica: the callback of {@link subscribe} waits for that, also for the second subscriber while the
 * first one's is under way.
 */
export class LocalTable {
  readonly #tenants = new Map<TenantId, TenantTable>()
  readonly #dist: Dist
  readonly #node: string
  /** Incarnation of this node's routes: grows with every change. */
  #incarnation: number
  /** Routes that could not be taken back: tried again once a change succeeds. */
  readonly #owed = new Map<string, NodeRouteName>()
  subscriptions = 0

  /** @param firstIncarnation greater than any this node used before: see {@link firstRouteOf} */
  constructor(dist: Dist, node: string, firstIncarnation: number) {
    this.#dist = dist
    this.#node = node
    this.#incarnation = firstIncarnation
  }

  subscribers(tenant: TenantId, filter: string): ReadonlyMap<Subscriber, SubscriptionOptions> | undefined {
    return this.#tenants.get(tenant)?.filters.get(filter)?.subscribers
  }

  group(tenant: TenantId, group: string, filter: string, ordered: boolean): LocalGroup | undefined {
    return this.#tenants.get(tenant)?.groups.get(groupKey(group, filter, ordered))
  }

  /** Adds or replaces a subscription. */
  subscribe(tenant: TenantId, filter: string, who: Subscriber, options: SubscriptionOptions, done: RouteDone): void {
    const table = this.#table(tenant)
    let known = table.filters.get(filter)
    if (known === undefined) {
      known = { subscribers: new Map(), route: new NodeRoute() }
      table.filters.set(filter, known)
    }
    if (!known.subscribers.has(who)) this.subscriptions++
    known.subscribers.set(who, options)
    this.#dist.touch(tenant, filter)
    if (known.subscribers.size === 1) known.route.begin()
    known.route.wait(done, (finished) => this.#change('add', { tenant, filter, kind: 'node' }, finished))
  }

  unsubscribe(tenant: TenantId, filter: string, who: Subscriber): void {
    const table = this.#tenants.get(tenant)
    const known = table?.filters.get(filter)
    if (!table || !known?.subscribers.delete(who)) return
    this.subscriptions--
    this.#dist.touch(tenant, filter)
    if (known.subscribers.size > 0) return
    table.filters.delete(filter)
    this.#leave({ tenant, filter, kind: 'node' })
    if (table.filters.size === 0 && table.groups.size === 0) this.#tenants.delete(tenant)
  }

  join(key: GroupName, who: Subscriber, options: SubscriptionOptions, done: RouteDone): void {
    const table = this.#table(key.tenant)
    const name = groupKey(key.group, key.filter, key.ordered)
    let known = table.groups.get(name)
    if (known === undefined) {
      known = { ordered: key.ordered, members: [], next: 0, route: new NodeRoute() }
      table.groups.set(name, known)
    }
    const member = known.members.findIndex((candidate) => candidate.subscriber === who)
    if (member >= 0) known.members[member] = toTarget(who, options)
    else {
      known.members.push(toTarget(who, options))
      this.subscriptions++
      known.route.begin()
    }
    const count = known.members.length
    known.route.wait(done, (finished) => this.#change('add', { ...key, kind: 'group', count }, finished))
  }

  leave(key: GroupName, who: Subscriber): void {
    const table = this.#tenants.get(key.tenant)
    const name = groupKey(key.group, key.filter, key.ordered)
    const known = table?.groups.get(name)
    const index = known?.members.findIndex((candidate) => candidate.subscriber === who) ?? -1
    if (!table || !known || index < 0) return
    known.members.splice(index, 1)
    this.subscriptions--
    const count = known.members.length
    if (count === 0) table.groups.delete(name)
    this.#leave({ ...key, kind: 'group', count })
    if (table.filters.size === 0 && table.groups.size === 0) this.#tenants.delete(key.tenant)
  }

  /** Makes all routes again, with incarnations from `first` on; rejects where one could not be made. */
  async renew(first: number): Promise<void> {
    this.#incarnation = Math.max(this.#incarnation, first)
    const again: ((done: RouteDone) => void)[] = []
    for (const [tenant, table] of this.#tenants) {
      for (const [filter, known] of table.filters) {
        again.push((done) => {
          if (this.#tenants.get(tenant)?.filters.get(filter) !== known) return done(null)
          known.route.begin()
          known.route.wait(done, (finished) => this.#change('add', { tenant, filter, kind: 'node' }, finished))
        })
      }
      for (const [name, known] of table.groups) {
        again.push((done) => {
          if (this.#tenants.get(tenant)?.groups.get(name) !== known) return done(null)
          const what = { ...nameOfGroup(tenant, name), kind: 'group' as const, count: known.members.length }
          known.route.begin()
          known.route.wait(done, (finished) => this.#change('add', what, finished))
        })
      }
    }
    for (let i = 0; i < again.length; i += RENEW_SLICE) {
      const slice = again.slice(i, i + RENEW_SLICE)
      await Promise.all(
        slice.map(
          (each) =>
            new Promise<void>((resolve, reject) => {
              each((error) => (error === null ? resolve() : reject(error)))
            }),
        ),
      )
    }
  }

  #table(tenant: TenantId): TenantTable {
    let table = this.#tenants.get(tenant)
    if (table === undefined) {
      table = { filters: new Map(), groups: new Map() }
      this.#tenants.set(tenant, table)
    }
    return table
  }

  /** The last subscriber left, or a group's member: nobody waits for that, but it must come to pass. */
  #leave(what: NodeRouteName): void {
    const stays = what.kind === 'group' && what.count > 0
    this.#change(stays ? 'add' : 'remove', what, (error) => {
      if (error !== null) this.#owed.set(routeName(what), what)
    })
  }

  /** The service answers again: one route that is owed goes, and its answer brings the next. */
  #settleOwed(): void {
    for (const [name, what] of this.#owed) {
      this.#owed.delete(name)
      if (what.kind === 'group') {
        const group = this.group(what.tenant, what.group, what.filter, what.ordered)
        return this.#leave({ ...what, count: group?.members.length ?? 0 })
      }
      if (this.subscribers(what.tenant, what.filter) === undefined) return this.#leave(what)
    }
  }

  #change(op: 'add' | 'remove', what: NodeRouteName, done: RouteDone): void {
    const change: RouteChange = {
      op,
      tenant: what.tenant,
      filter: what.filter,
      incarnation: ++this.#incarnation,
      receiver:
        what.kind === 'node'
          ? { kind: 'node', node: this.#node }
          : {
              kind: 'group',
              group: what.group,
              ordered: what.ordered,
              member: { kind: 'node', node: this.#node, count: what.count },
            },
    }
    this.#dist.changeWith(change, (error) => {
      done(error)
      if (error === null && this.#owed.size > 0) this.#settleOwed()
    })
  }
}

export interface GroupName {
  tenant: TenantId
  group: string
  filter: string
  ordered: boolean
}

type NodeRouteName = { kind: 'node'; tenant: TenantId; filter: string } | ({ kind: 'group'; count: number } & GroupName)

/**
 * The route of one filter: pending until its latest add was applied. Order needs no state here: changes of one key are
 * applied in the order of the calls, and the higher incarnation wins.
 */
class NodeRoute {
  #generation = 0
  #present = 0
  #waiting: { generation: number; done: RouteDone }[] = []
  #started = 0

  /** A new add is needed. */
  begin(): void {
    this.#generation++
  }

  /** Calls back when the latest add is applied; starts it with `start` where it is not under way. */
  wait(done: RouteDone, start: (finished: RouteDone) => void): void {
    const generation = this.#generation
    if (this.#present === generation) return done(null)
    this.#waiting.push({ generation, done })
    if (this.#started === generation) return
    this.#started = generation
    start((error) => this.#finished(generation, error))
  }

  #finished(generation: number, error: Error | null): void {
    if (error === null) this.#present = Math.max(this.#present, generation)
    else if (this.#started === generation) this.#started = 0
    const settled = this.#waiting.filter((waiter) => waiter.generation <= generation)
    this.#waiting = this.#waiting.filter((waiter) => waiter.generation > generation)
    for (const waiter of settled) waiter.done(error)
  }
}

function groupKey(group: string, filter: string, ordered: boolean): string {
  return `${ordered ? 'o' : 's'}/${group}/${filter}`
}

/** The reverse: group names hold no `/`. */
function nameOfGroup(tenant: TenantId, key: string): GroupName {
  const cut = key.indexOf('/', 2)
  return { tenant, ordered: key[0] === 'o', group: key.slice(2, cut), filter: key.slice(cut + 1) }
}

function routeName(what: NodeRouteName): string {
  if (what.kind === 'node') return `${what.tenant}\0${what.filter}`
  return `${what.tenant}\0${groupKey(what.group, what.filter, what.ordered)}\0`
}
