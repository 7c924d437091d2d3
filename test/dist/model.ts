import fc from 'fast-check'
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import { topicMatches } from '../../src/base/topic.ts'
import type { GroupMember, Receiver, Route, RouteChange, TopicEntry } from '../../src/dist/index.ts'

/** Names a receiver, so that two routes are the same route when filter and name are. */
export function receiverName(receiver: Receiver): string {
  switch (receiver.kind) {
    case 'node':
      return `node ${receiver.node}`
    case 'inbox':
      return `inbox ${receiver.inbox}`
    case 'plugin':
      return `plugin ${receiver.broker} ${receiver.receiver}`
    case 'group': {
      const member = receiver.member.kind === 'node' ? receiver.member.node : receiver.member.inbox
      return `${receiver.ordered ? 'oshare' : 'share'} ${receiver.group} ${receiver.member.kind} ${member}`
    }
  }
}

/** The obvious statement of what `dist` does: a list of routes, every one asked for every topic. */
export class ModelDist {
  readonly routes = new Map<string, Route>()

  apply(change: RouteChange): 'applied' | 'unchanged' | 'stale' {
    const key = JSON.stringify([change.tenant, change.filter, receiverName(change.receiver)])
    const known = this.routes.get(key)
    if (known !== undefined && known.incarnation > change.incarnation) return 'stale'
    const { op, ...route } = change
    if (op === 'remove') return this.routes.delete(key) ? 'applied' : 'unchanged'
    if (known !== undefined && JSON.stringify(known) === JSON.stringify(route)) return 'unchanged'
    this.routes.set(key, route)
    return 'applied'
  }

  matching(tenant: string, topic: string): Route[] {
    return [...this.routes.values()].filter((route) => route.tenant === tenant && topicMatches(route.filter, topic))
  }

  /** What an entry must say, in an order of its own: see {@link describeEntry}. */
  expected(tenant: string, topic: string): unknown {
    const nodes = new Map<string, string[]>()
    const inboxes = new Map<string, Route[]>()
    const groups = new Map<string, GroupMember[]>()
    const plugins: string[] = []
    for (const route of this.matching(tenant, topic)) {
      const { filter, receiver } = route
      if (receiver.kind === 'node') push(nodes, receiver.node, filter)
      else if (receiver.kind === 'inbox') push(inboxes, receiver.inbox, route)
      else if (receiver.kind === 'plugin') plugins.push(JSON.stringify([receiver.broker, receiver.receiver, filter]))
      else push(groups, JSON.stringify([receiver.group, filter, receiver.ordered]), receiver.member)
    }
    return {
      nodes: [...nodes].map(([node, filters]) => JSON.stringify([node, filters.sort()])).sort(),
      inboxes: [...inboxes].map(([inbox, routes]) => JSON.stringify(mergedInbox(inbox, routes))).sort(),
      groups: [...groups].map(([key, members]) => JSON.stringify([key, members.map(plain).sort()])).sort(),
      plugins: plugins.sort(),
    }
  }
}

/** An entry in the words of {@link ModelDist.expected}. */
export function describeEntry(entry: TopicEntry): unknown {
  const inboxes = entry.inboxes.map((inbox) => {
    const subscriptions = inbox.subscriptions.map(plain).sort()
    const ids = [...inbox.subscriptionIds].sort()
    return [inbox.inbox, inbox.incarnation, inbox.qos, inbox.noLocal, inbox.retainAsPublished, ids, subscriptions]
  })
  return {
    nodes: entry.nodes.map(({ node, filters }) => JSON.stringify([node, [...filters].sort()])).sort(),
    inboxes: inboxes.map((inbox) => JSON.stringify(inbox)).sort(),
    groups: entry.groups
      .map((g) => JSON.stringify([JSON.stringify([g.group, g.filter, g.ordered]), g.members.map(plain).sort()]))
      .sort(),
    plugins: entry.plugins.map((p) => JSON.stringify([p.broker, p.receiver, p.filter])).sort(),
  }
}

function mergedInbox(inbox: string, all: Route[]): unknown[] {
  const incarnation = Math.max(...all.map((route) => route.incarnation))
  const subscriptions = all
    .filter((route) => route.incarnation === incarnation)
    .map((route) => ({ filter: route.filter, ...(route.receiver as Receiver & { kind: 'inbox' }).options }))
  return [
    inbox,
    incarnation,
    Math.max(...subscriptions.map(({ qos }) => qos)),
    subscriptions.some(({ noLocal }) => noLocal),
    subscriptions.some(({ retainAsPublished }) => retainAsPublished),
    subscriptions
      .map(({ subscriptionId }) => subscriptionId)
      .filter((id) => id !== 0)
      .sort(),
    subscriptions.map(plain).sort(),
  ]
}

/** JSON with sorted names. */
export function plain(value: object): string {
  return JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function push<Item>(map: Map<string, Item[]>, key: string, item: Item): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [item])
  else list.push(item)
}

const LEVELS = ['', 'a', 'b', 'c', '$x', 'long-level-of-text', 'é']
export const TENANTS = ['t1', 't2'] as TenantId[]

export const topics = fc
  .array(fc.constantFrom(...LEVELS), { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((topic) => topic !== '')

export const filters = fc
  .tuple(fc.array(fc.constantFrom(...LEVELS, '+', '+'), { maxLength: 5 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels, '#'] : levels).join('/'))
  .filter((filter) => filter !== '')

const options = fc.record({
  qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  subscriptionId: fc.constantFrom(0, 1, 7, 268_435_455),
})

const names = fc.constantFrom('n1', 'n2', 'a')

/** A route in which the incarnation of a group's inbox is the route's. */
export const routes: fc.Arbitrary<Route> = fc
  .record({
    tenant: fc.constantFrom(...TENANTS),
    filter: filters,
    incarnation: fc.constantFrom(0, 1, 2, 2 ** 52),
    kind: fc.constantFrom('node', 'inbox', 'plugin', 'group-node', 'group-inbox'),
    name: names,
    group: fc.constantFrom('g', 'n1'),
    ordered: fc.boolean(),
    count: fc.integer({ min: 1, max: 3 }),
    options,
  })
  .map(({ tenant, filter, incarnation, kind, name, group, ordered, count, options }) => {
    const inbox = name as InboxId
    const receivers: Record<string, Receiver> = {
      node: { kind: 'node', node: name },
      inbox: { kind: 'inbox', inbox, options },
      plugin: { kind: 'plugin', broker: group, receiver: name },
      'group-node': { kind: 'group', group, ordered, member: { kind: 'node', node: name, count } },
      'group-inbox': { kind: 'group', group, ordered, member: { kind: 'inbox', inbox, incarnation } },
    }
    return { tenant, filter, incarnation, receiver: receivers[kind]! }
  })
