import type { InboxId, TenantId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import { parseSharedFilter } from '../../base/topic.ts'
import type { Dist, SubscriptionOptions } from '../../dist/index.ts'
import type { GroupKey, Inbox, InboxKey, InboxSubscription, Owner } from '../../inbox/index.ts'

/**
 * The routes of persistent sessions, derived from the filter lists in their inboxes: the list is the truth. A filter is
 * written to the list, marked pending; its route is applied; the mark is cleared.
 */
export class SessionRoutes {
  readonly #dist: Dist
  readonly #inbox: Inbox
  readonly #log: Logger

  constructor(dist: Dist, inbox: Inbox, log: Logger) {
    this.#dist = dist
    this.#inbox = inbox
    this.#log = log
  }

  /** Makes the route of a filter that stands in the session's list; resolves when every match replica has it. */
  async add(owner: Owner, filter: string, options: SubscriptionOptions): Promise<void> {
    const shared = parseSharedFilter(filter)
    if (shared === null) {
      const receiver = { kind: 'inbox', inbox: owner.inbox, options } as const
      await this.#dist.change({ op: 'add', tenant: owner.tenant, filter, receiver, incarnation: owner.incarnation })
    } else await this.#join(owner, { tenant: owner.tenant, ...shared }, options)
    this.#inbox.confirm(owner, [filter])
  }

  /** Takes routes back. Errors are logged: a delivery to a session without the filter removes its route later. */
  remove(key: InboxKey, incarnation: number, subscriptions: readonly InboxSubscription[]): Promise<unknown> {
    return Promise.all(
      subscriptions.map(({ filter, options }) =>
        this.#remove(key, incarnation, filter, options).catch((error: unknown) =>
          this.#log.warn({ err: error, tenant: key.tenant, inbox: key.inbox, filter }, 'Could not take a route back'),
        ),
      ),
    )
  }

  async #join(owner: Owner, group: GroupKey, options: SubscriptionOptions): Promise<void> {
    const joined = await this.#inbox.joinGroup(group, owner, options)
    await this.#dist.change({
      op: 'add',
      tenant: group.tenant,
      filter: group.filter,
      receiver: groupReceiver(group, joined.inbox, joined.incarnation),
      incarnation: joined.incarnation,
    })
  }

  async #remove(key: InboxKey, incarnation: number, filter: string, options: SubscriptionOptions): Promise<void> {
    const { tenant, inbox } = key
    const shared = parseSharedFilter(filter)
    if (shared === null) {
      return this.#dist.change({
        op: 'remove',
        tenant,
        filter,
        receiver: { kind: 'inbox', inbox, options },
        incarnation,
      })
    }
    const group = { tenant, ...shared }
    const left = await this.#inbox.leaveGroup(group, key)
    if (left.ended === null) return
    await this.#dist.change({
      op: 'remove',
      tenant,
      filter: group.filter,
      receiver: groupReceiver(group, left.ended.inbox, left.ended.incarnation),
      incarnation: left.ended.incarnation,
    })
  }
}

function groupReceiver(group: GroupKey, inbox: InboxId, incarnation: number) {
  return {
    kind: 'group',
    group: group.group,
    ordered: group.ordered,
    member: { kind: 'inbox', inbox, incarnation },
  } as const
}

/** The group that a shared filter names; null for a plain filter. */
export function groupOf(tenant: TenantId, filter: string): GroupKey | null {
  const shared = parseSharedFilter(filter)
  return shared === null ? null : { tenant, ...shared }
}
