import { BrokerError } from '../base/errors.ts'
import type { TenantId } from '../base/ids.ts'
import { isShared, isValidTopicFilter } from '../base/topic.ts'
import type { RangeClient } from '../kv/client/client.ts'
import type { Certainty } from './certainty.ts'
import type { Dist, DistStats, Receiver, Route, RouteChange, TopicEntry } from './contract.ts'
import type { RouteTable } from './match/table.ts'
import { type RouteCommand, routeCommand } from './store/codec.ts'
import type { RouteAnswer, RouteOutcome, RouteQuery } from './store/coprocessor.ts'
import { tenantStart } from './store/schema.ts'

export type RouteRanges = RangeClient<RouteCommand, RouteOutcome, RouteQuery, RouteAnswer>

const ROUTES_MAX = 10_000
const FENCE_SLICE = 1_000
const SUBSCRIPTION_ID_MAX = 268_435_455
const COUNT_MAX = 0xffff_ffff

/**
 * `dist` as its users see it: changes go to the ranges, matches come from the node's own table.
 *
 * A change is answered when the range applied it, and where there are leases when each node that may match by one has.
 */
export class DistClient implements Dist {
  readonly #ranges: RouteRanges
  readonly #table: RouteTable
  readonly #certainty: Certainty | null

  /** @param certainty null: there are no other nodes, and nothing that the table does not have */
  constructor(ranges: RouteRanges, table: RouteTable, certainty: Certainty | null) {
    this.#ranges = ranges
    this.#table = table
    this.#certainty = certainty
  }

  async change(change: RouteChange): Promise<void> {
    const command = commandOf(change)
    await this.#ranges.mutate(command.key, command)
  }

  changeWith(change: RouteChange, done: (error: Error | null) => void): void {
    let command: RouteCommand
    try {
      command = commandOf(change)
    } catch (error) {
      queueMicrotask(() => done(error as BrokerError))
      return
    }
    this.#ranges.mutateWith(command.key, command, done)
  }

  match(tenant: TenantId, topic: string): TopicEntry {
    return this.#table.match(tenant, topic)
  }

  isSure(tenant: TenantId): boolean {
    return this.#certainty === null || this.#certainty.isSure(tenant)
  }

  whenSure(tenant: TenantId, bytes: number, done: (error: Error | null) => void): void {
    if (this.#certainty === null) done(null)
    else this.#certainty.whenSure(tenant, bytes, done)
  }

  touch(tenant: TenantId, filter: string): void {
    this.#table.touch(tenant, filter)
  }

  async routes(
    tenant: TenantId,
    options: { after?: string; limit: number },
  ): Promise<{ routes: Route[]; next: string | null }> {
    const limit = Math.max(1, Math.min(options.limit, ROUTES_MAX))
    const first = tenantStart(tenant)
    let from = options.after === undefined ? first : pageStart(tenant, first, options.after)
    const routes: Route[] = []
    for (;;) {
      const answer = await this.#ranges.query(from, { tenant, from, limit: limit - routes.length })
      for (const route of answer.routes) routes.push(route)
      if (answer.next === null) return { routes, next: null }
      from = answer.next
      if (routes.length >= limit) return { routes, next: Buffer.from(from).toString('base64url') }
    }
  }

  /**
   * Takes back the routes that earlier runs of `node` left behind: whoever they led to is gone. Resolves with their
   * number. Call it when {@link ready}, before the node adds routes of its own.
   */
  async fence(node: string, incarnation: number): Promise<number> {
    let count = 0
    let next = 1
    while (next !== 0) {
      const older = this.#table.olderRoutes(node, incarnation, next, FENCE_SLICE)
      await Promise.all(older.routes.map((route) => this.change({ ...route, op: 'remove' })))
      count += older.routes.length
      next = older.next
    }
    return count
  }

  /** True when every route of the ranges open here can match. */
  ready(): boolean {
    return this.#table.ready()
  }

  stats(): DistStats {
    const { waiting = 0, waited = 0, refused = 0 } = this.#certainty ?? {}
    const publishes = { publishesWaiting: waiting, publishesWaited: waited, publishesRefused: refused }
    return { ...this.#table.stats(), ...publishes }
  }
}

/** Where a page begins: the token of the page before, which must be of the same tenant. */
function pageStart(tenant: TenantId, first: Uint8Array, token: string): Uint8Array {
  const from = Buffer.from(token, 'base64url')
  if (from.length > first.length && from.subarray(0, first.length).equals(first)) return from
  throw new BrokerError(
    'INVALID_ARGUMENT',
    `Cannot list the routes of tenant "${tenant}" after "${token}": not a token`,
  )
}

/** A throw inside of a range would halt it: what may not be stored is refused here. */
function commandOf(change: RouteChange): RouteCommand {
  const { op, tenant, filter, receiver, incarnation } = change
  check(isName(tenant), change, 'the tenant is empty or holds U+0000')
  check(isValidTopicFilter(filter) && !isShared(filter), change, 'the filter is not a plain topic filter')
  check(Number.isSafeInteger(incarnation) && incarnation >= 0, change, 'the incarnation is not a whole number')
  checkReceiver(receiver, change)
  return routeCommand(op, { tenant, filter, receiver, incarnation })
}

function checkReceiver(receiver: Receiver, change: RouteChange): void {
  switch (receiver.kind) {
    case 'node':
      return check(isName(receiver.node), change, 'the node is empty or holds U+0000')
    case 'inbox': {
      const id = receiver.options.subscriptionId
      check(isName(receiver.inbox), change, 'the inbox is empty or holds U+0000')
      return check(isCount(id) && id <= SUBSCRIPTION_ID_MAX, change, `the subscription identifier is ${id}`)
    }
    case 'plugin':
      return check(isName(receiver.broker) && isName(receiver.receiver), change, 'a name is empty or holds U+0000')
    default: {
      const { group, member } = receiver
      check(isName(group), change, 'the group is empty or holds U+0000')
      if (member.kind === 'node') {
        check(isName(member.node), change, 'the node is empty or holds U+0000')
        return check(isCount(member.count), change, `the member count is ${member.count}`)
      }
      check(isName(member.inbox), change, 'the inbox is empty or holds U+0000')
      return check(member.incarnation === change.incarnation, change, "the incarnation is not the member inbox's")
    }
  }
}

function check(condition: boolean, change: RouteChange, reason: string): void {
  if (condition) return
  throw new BrokerError('INVALID_ARGUMENT', `Cannot ${change.op} the route of "${change.filter}": ${reason}`)
}

function isName(text: string): boolean {
  return text.length > 0 && !text.includes('\0')
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= COUNT_MAX
}
