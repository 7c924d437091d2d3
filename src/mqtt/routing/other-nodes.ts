import type { TenantId } from '../../base/ids.ts'
import type { Message } from '../../base/message.ts'
import type { MatchedGroup } from '../../dist/index.ts'
import type { ProtocolVersion } from '../codec/index.ts'
import type { Publication } from './publication.ts'

/**
 * What became of a message for another node. `accepted`: it is in the buffer of the link; `dropped`: it was given up
 * and counted, nobody waits for it; `full`: QoS 1 and 2 only, it was not taken, see {@link NodeRoute.wait}.
 */
export type Sent = 'accepted' | 'dropped' | 'full'

/** One topic's way to one other node. Made once for each cached match. */
export interface NodeRoute {
  /** Hot: takes neither promise nor closure. The message reaches each of the node's subscribers, and crosses once. */
  send(publication: Publication): Sent
  /** Sends `count` QoS 0 packets without RETAIN as the bytes that came in. */
  sendPackets(
    publisher: string,
    timestamp: number,
    packets: { version: ProtocolVersion; buffer: Buffer; start: number; end: number; count: number },
  ): void
  /** For a message that was `full`: it is sent when there is room; told when it was accepted, or that it was not. */
  wait(message: Message, done: (error: Error | null) => void): void
}

/** A message of QoS 1 or 2 for one member of an unordered shared group that has no inbox. */
export interface GroupMessage {
  tenant: TenantId
  group: MatchedGroup
  message: Message
  /** No node had a member with room: true where a member of this node takes it all the same. */
  takeHere(message: Message): boolean
}

/** The other nodes with subscribers, as routing sees them. */
export interface OtherNodes {
  route(node: string, tenant: TenantId, topic: string, filters: readonly string[]): NodeRoute
  /** The way to a group's members on a node, which chooses one of them. */
  groupRoute(node: string, tenant: TenantId, topic: string, group: MatchedGroup): NodeRoute
  /** 0 where the group's members on the node had no room a moment ago, or the node is out of reach. */
  groupCredit(node: string, group: MatchedGroup): number
  /** Asks node after node until a member has the message. False where too much is under way: it was not taken. */
  ask(message: GroupMessage): boolean
}
