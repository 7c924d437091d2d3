import type { Random } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { TenantId } from '../../base/ids.ts'
import type { Message } from '../../base/message.ts'
import { type GroupMember, type MatchedGroup, pickMember } from '../../dist/index.ts'
import { deliverTo } from './deliver.ts'
import { pickLocalMember } from './group-choice.ts'
import type { LocalGroup, LocalTable } from './local-table.ts'
import type { NodeRoute, OtherNodes } from './other-nodes.ts'
import { Publication } from './publication.ts'

export interface GroupDeliveryParts {
  table: LocalTable
  node: string
  others: OtherNodes | null
  random: Random
}

/** `inbox`: the group's own inbox is to take it. `nobody`: there is no member any more. */
export type GroupOutcome = 'taken' | 'inbox' | 'nobody'

/** Asks for the callback of something that the publisher's answer waits for. */
type Expect = () => (error: Error | null) => void

const late = new Publication()

/**
 * Which member of a shared group gets a message, on this node and on others.
 *
 * Unordered: a member here that has room; else one on another node. With QoS 0 the node is chosen by what is known; with
 * QoS 1 and 2 node after node is asked, unless the group has an inbox, which takes what nobody here has room for: it
 * commits before the publisher is answered. Ordered: the publisher's rendezvous over all members, whatever their room.
 */
export class GroupDelivery {
  readonly #parts: GroupDeliveryParts
  readonly #routes = new WeakMap<MatchedGroup, Map<string, NodeRoute>>()
  #asked: MatchedGroup | null = null
  readonly #creditOf = (node: string) => (node === this.#parts.node ? 0 : this.#othersCredit(node))

  constructor(parts: GroupDeliveryParts) {
    this.#parts = parts
  }

  /** @param again transient members may have had it before: only the inbox can tell */
  deliver(
    tenant: TenantId,
    publication: Publication,
    group: MatchedGroup,
    again: boolean,
    expect: Expect,
  ): GroupOutcome {
    const rest = hasInbox(group) ? 'inbox' : 'nobody'
    if (again) return rest
    const { table, others, node } = this.#parts
    const local = table.group(tenant, group.group, group.filter, group.ordered)
    if (others === null || !group.members.some((member) => member.kind === 'node' && member.node !== node)) {
      // A transient member with room is online now; the group's inbox takes the rest.
      return giveLocal(local, publication, rest === 'nobody') ? 'taken' : rest
    }
    if (group.ordered) return this.#deliverOrdered(tenant, publication, group, local, expect)
    if (giveLocal(local, publication, false)) return 'taken'
    if (publication.qos === 0) return this.#deliverQos0(tenant, publication, group, local)
    if (rest === 'inbox') return rest
    const message = publication.message()
    const taken = others.ask({ tenant, group, message, takeHere: (late) => this.#takeHere(tenant, group, late) })
    if (!taken) {
      const text = `Cannot send to group "${group.group}": too much is under way to its members; send again later`
      expect()(new BrokerError('OVERLOADED', text))
    }
    return 'taken'
  }

  #deliverOrdered(
    tenant: TenantId,
    publication: Publication,
    group: MatchedGroup,
    local: LocalGroup | undefined,
    expect: Expect,
  ): GroupOutcome {
    const member = this.#pick(group, publication.publisher)
    if (member?.kind === 'inbox') return 'inbox'
    if (member === null || member.node === this.#parts.node) {
      return giveLocal(local, publication, true) ? 'taken' : hasInbox(group) ? 'inbox' : 'nobody'
    }
    const route = this.#route(member.node, tenant, publication.topic, group)
    if (route.send(publication) === 'full') route.wait(publication.message(), expect())
    return 'taken'
  }

  #deliverQos0(
    tenant: TenantId,
    publication: Publication,
    group: MatchedGroup,
    local: LocalGroup | undefined,
  ): GroupOutcome {
    const member = this.#pick(group, publication.publisher)
    if (member?.kind === 'inbox') return 'inbox'
    if (member === null) return giveLocal(local, publication, true) ? 'taken' : 'nobody'
    this.#route(member.node, tenant, publication.topic, group).send(publication)
    return 'taken'
  }

  #takeHere(tenant: TenantId, group: MatchedGroup, message: Message): boolean {
    const local = this.#parts.table.group(tenant, group.group, group.filter, group.ordered)
    late.fromMessage(message)
    return giveLocal(local, late, true)
  }

  #pick(group: MatchedGroup, publisherKey: string): GroupMember | null {
    const { random, node } = this.#parts
    this.#asked = group
    const options = { ordered: group.ordered, publisherKey, random, localNode: node, creditOf: this.#creditOf }
    return pickMember(group.members, options)
  }

  #othersCredit(node: string): number {
    return this.#parts.others!.groupCredit(node, this.#asked!)
  }

  #route(node: string, tenant: TenantId, topic: string, group: MatchedGroup): NodeRoute {
    let routes = this.#routes.get(group)
    if (routes === undefined) this.#routes.set(group, (routes = new Map()))
    let route = routes.get(node)
    if (route === undefined) routes.set(node, (route = this.#parts.others!.groupRoute(node, tenant, topic, group)))
    return route
  }
}

function hasInbox(group: MatchedGroup): boolean {
  return group.members.some((member) => member.kind === 'inbox')
}

/** True where a member of this node has it now. */
function giveLocal(local: LocalGroup | undefined, publication: Publication, evenWithoutRoom: boolean): boolean {
  const chosen = local === undefined ? null : pickLocalMember(local, publication.publisher, evenWithoutRoom)
  if (chosen === null) return false
  deliverTo(publication, chosen)
  return true
}
