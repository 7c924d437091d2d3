import { parseSharedFilter } from '../base/topic.ts'
import { findRoute, type Receiver, verifyDist } from '../dist/index.ts'
import { groupInbox, type SubscriptionCheck, verifyInbox } from '../inbox/index.ts'
import type { Engine } from '../kv/engine/engine.ts'
import { verifyMeta } from '../kv/meta/index.ts'
import { engineReader } from '../kv/range/boundary.ts'
import type { Reader } from '../kv/range/coprocessor.ts'
import { type StoreReport, type VerifiedRange, verifyStore } from '../kv/store/verify.ts'
import { verifyRetain } from '../retain/index.ts'

/** Reads everything that a node has stored, each service by its own rules, and that every subscription has its route. */
export function verifyNode(engine: Engine, report: StoreReport): VerifiedRange[] {
  const checkSubscription = routeCheck(engineReader(engine, 'dist'))
  return verifyStore(
    engine,
    {
      dist: verifyDist,
      inbox: (reader, boundary, own) => verifyInbox(reader, boundary, own, checkSubscription),
      retain: verifyRetain,
      cluster: (reader, _boundary, own) => verifyMeta(reader, own),
    },
    report,
  )
}

/** A filter that was answered with SUBACK has a route of the session's incarnation and with its options. */
function routeCheck(routes: Reader): SubscriptionCheck {
  return ({ tenant, inbox }, incarnation, { filter, options }, damage) => {
    const shared = parseSharedFilter(filter)
    if (shared !== null) {
      const member = { kind: 'inbox', inbox: groupInbox({ tenant, ...shared }), incarnation: 0 } as const
      const { group, ordered } = shared
      const receiver: Receiver = { kind: 'group', group, ordered, member }
      const found = findRoute(routes, { tenant, filter: shared.filter, receiver, incarnation })
      if (found === null) damage('The group of the subscription has no route')
      return
    }
    const found = findRoute(routes, { tenant, filter, receiver: { kind: 'inbox', inbox, options }, incarnation })
    if (found === null) damage('The subscription has no route')
    else if (found.incarnation !== incarnation) damage(`The route of the subscription is of ${found.incarnation}`)
    else if (found.receiver.kind === 'inbox' && !isSame(found.receiver.options, options)) {
      damage('The route of the subscription has other options')
    }
  }
}

function isSame(a: object, b: object): boolean {
  const left = Object.entries(a)
  const right = new Map(Object.entries(b))
  return left.length === right.size && left.every(([name, value]) => right.get(name) === value)
}
