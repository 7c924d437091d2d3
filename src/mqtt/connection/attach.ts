import type { InboxId } from '../../base/ids.ts'
import { type Message, NO_EXPIRY } from '../../base/message.ts'
import type { Attached, AttachRequest, InboxKey, InboxLimits, InboxSubscription, Will } from '../../inbox/index.ts'
import type { TenantSettings } from '../../plugin/index.ts'
import { type Connect, REASON } from '../codec/index.ts'
import type { ClusterClients } from '../registry/index.ts'
import type { Attachment } from '../session/effects.ts'
import type { Agreement } from '../session/negotiate.ts'
import type { Connection } from './connection.ts'
import type { FrontEnd } from './front-end.ts'
import type { Registered } from './registry.ts'

/** An attachment with the subscriptions that the session had. */
export interface AttachOutcome extends Attachment {
  subscriptions: readonly InboxSubscription[]
}

export interface AttachRefusal {
  reasonCode: number
  reason: string
  serverReference?: string
}

/** A node that has just started, or a range whose leader is new, takes a moment. */
const READY_MS = 4_000
/** Whether a client without expiry and will has a session nevertheless: without an answer it has none. */
const HEAD_MS = 1_500

/** Nobody is there any more to be told: the session stays with whoever came later. */
const GONE: AttachRefusal = { reasonCode: REASON.UNSPECIFIED_ERROR, reason: 'The client left' }

/** On another node, while this one was not answered yet [MQTT-3.1.4-3]. */
const TAKEN_OVER: AttachRefusal = {
  reasonCode: REASON.SESSION_TAKEN_OVER,
  reason: 'A later connection took the session over',
}

/**
 * Makes a connection the owner of its session: the older connection of the client id is gone, what the inbox service
 * must know is committed, when this resolves. Never rejects.
 *
 * A session without expiry and without will leaves no trace in the inbox service; but one that an earlier connection
 * left there is resumed, or ended by clean start.
 */
export async function attach(
  front: FrontEnd,
  connection: Connection,
  who: Registered,
  agreement: Agreement,
  connect: Connect,
): Promise<AttachOutcome | AttachRefusal> {
  try {
    const denial = await judge(front, connection, agreement, connect)
    if (denial !== null) return denial
    const key = { tenant: connection.tenant, inbox: agreement.clientId as InboxId }
    // Sooner than anything else that waits for other nodes: where they are out of reach, it is refused at once.
    if (isKept(agreement, connect)) await front.inbox.ready(key, READY_MS)
    if (connection.session.state === 'closed') return GONE
    // Counted and claimed in one go: of many that come at once no more get in than may.
    const refusal = front.refuses(connection.tenant, agreement.clientId)
    if (refusal !== null) return refusal
    const older = front.registry.claim(connection.tenant, agreement.clientId, who)
    if (older !== null) await older
    // A node that is alone has nobody to ask.
    if (front.clients !== undefined && !(await isLatest(front, front.clients, connection, who, agreement.clientId)))
      return TAKEN_OVER
    return await attachSession(front, connection, agreement, connect)
  } catch (error) {
    front.log.warn(
      { err: error, tenant: connection.tenant, clientId: agreement.clientId },
      'Could not attach a session',
    )
    return { reasonCode: REASON.SERVER_UNAVAILABLE, reason: 'The session is not available now' }
  }
}

/** Waits until the older connection of the client id is gone wherever in the cluster it is; false where this is older. */
async function isLatest(
  front: FrontEnd,
  clients: ClusterClients,
  connection: Connection,
  who: Registered,
  clientId: string,
): Promise<boolean> {
  if (connection.session.state === 'closed') return true
  return clients.claim(connection.tenant, clientId, who, front.hlc.next(front.clock.now()))
}

async function judge(
  front: FrontEnd,
  connection: Connection,
  agreement: Agreement,
  connect: Connect,
): Promise<AttachRefusal | null> {
  const { tenant } = connection
  const redirect = front.balancer.redirect({
    tenant,
    clientId: agreement.clientId,
    address: connection.control.info.remoteAddress,
  })
  if (redirect !== null) {
    const reasonCode = redirect.permanent ? REASON.SERVER_MOVED : REASON.USE_ANOTHER_SERVER
    return { reasonCode, reason: 'Use another server', serverReference: redirect.reference }
  }
  const { will } = connect
  if (will === null) return null
  if (!front.router.allowsTopic(tenant, will.topic, Buffer.byteLength(will.topic))) {
    return { reasonCode: REASON.TOPIC_NAME_INVALID, reason: "The will's topic is longer or deeper than allowed" }
  }
  const { permissions } = connection.session.identity!
  const allowed = permissions.all || (await permissions.publish(will.topic, will.qos, will.retain))
  return allowed ? null : { reasonCode: REASON.NOT_AUTHORIZED, reason: 'The client may not publish its will' }
}

async function attachSession(
  front: FrontEnd,
  connection: Connection,
  agreement: Agreement,
  connect: Connect,
): Promise<AttachOutcome | AttachRefusal> {
  const key = { tenant: connection.tenant, inbox: agreement.clientId as InboxId }
  const needed = isKept(agreement, connect) || (await hasSession(front, key))
  if (connection.session.state === 'closed') return GONE
  if (!needed) return { owner: null, persistent: false, sessionPresent: false, subscriptions: [] }
  const { identity, settings } = connection.session
  const request: AttachRequest = {
    ...key,
    connection: front.nextConnectionId(),
    node: front.node,
    cleanStart: agreement.cleanStart,
    expirySeconds: agreement.expirySeconds,
    will: connect.will === null ? null : toWill(front, agreement, connect.will),
    client: { user: identity!.user, address: connection.control.info.remoteAddress, protocol: agreement.version },
    limits: toLimits(settings!),
    // The client is to come again, here or elsewhere.
    lost: () => void connection.control.leave(REASON.SERVER_SHUTTING_DOWN, 'This node cannot vouch for the session'),
  }
  const attached: Attached = await front.inbox.attach(request)
  if (attached.ended !== null) {
    void front.routes.remove(key, attached.ended.incarnation, attached.ended.subscriptions)
  }
  return {
    owner: attached.owner,
    persistent: agreement.expirySeconds > 0 || attached.sessionPresent,
    sessionPresent: attached.sessionPresent,
    subscriptions: attached.subscriptions,
  }
}

/** The inbox service is to know of it. */
function isKept({ expirySeconds }: Agreement, { will }: Connect): boolean {
  return expirySeconds > 0 || will !== null
}

/** One that cannot be read now is taken away later: its client went on without it. */
async function hasSession(front: FrontEnd, key: InboxKey): Promise<boolean> {
  try {
    return (await front.inbox.head(key, HEAD_MS)) !== null
  } catch {
    front.leftovers.note(key)
    return false
  }
}

function toWill(front: FrontEnd, agreement: Agreement, will: NonNullable<Connect['will']>): Will {
  const message: Message = {
    topic: will.topic,
    payload: will.payload,
    qos: will.qos,
    retain: will.retain,
    properties: will.rawProperties,
    expirySeconds: will.properties.messageExpiryInterval ?? NO_EXPIRY,
    timestamp: front.hlc.next(front.clock.now()),
    publisher: agreement.clientId,
  }
  return { message, delaySeconds: will.properties.willDelayInterval ?? 0 }
}

function toLimits(settings: TenantSettings): InboxLimits {
  return {
    messagesMax: settings.queueMessagesMax,
    bytesMax: settings.queueBytesMax,
    dropPolicy: settings.queueDropPolicy,
    queueQos0: settings.queueQos0,
    filtersMax: settings.filtersPerSessionMax,
  }
}
