/**
 * Everything that the broker tells about clients and messages, in one catalogue.
 *
 * A type names what happened, `reason` why. `level` says how much an operator wants to know of it: the log shows
 * `warn` and, as far as `log.level` lets it, the others. {@link EventBus} carries them.
 */
export type EventLevel = 'debug' | 'info' | 'warn'

interface EventSpec {
  readonly level: EventLevel
  readonly sentence: string
  /** Each event of the type has one of them as `detail.reason`; none = the type says it all. */
  readonly reasons?: readonly string[]
  /** What else `detail` may hold. */
  readonly detail?: { readonly [field: string]: 'string' | 'number' | 'boolean' }
}

/** Why a message did not reach somebody it was meant for. Counted by tenant, always. */
export const DROP_REASONS = [
  'slow-consumer', // QoS 0, and the connection's unsent bytes are at their bound
  'offline', // QoS 0, and the session has no connection and does not queue QoS 0
  'queue-full', // a session's queue is at its bound of messages or bytes
  'too-large', // larger than the subscriber's maximum packet size [MQTT-3.1.2-25]
  'expired', // the message expiry interval passed while it waited
  'session-ended', // it waited for a session that expired or was cleaned
  'not-authorized', // the publisher may not publish there, or the subscriber may not receive it
  'unroutable', // no replica could match it in time
  'unavailable', // a range had no quorum in time
  'slow-node', // what waits for the subscriber's node is at its bound
  'link-lost', // a link between nodes was given up
  'quota', // a quota of the tenant is used up
  'rate', // the publisher is over its rate
  'overload', // the node sheds load
] as const
export type DropReason = (typeof DROP_REASONS)[number]

const TOPIC_AND_QOS = { topic: 'string', qos: 'number' } as const
const FILTER = { filter: 'string', qos: 'number' } as const
const CONNECTION = { address: 'string', listener: 'string', protocol: 'number', user: 'string' } as const

export const EVENTS = {
  // Connections
  'client.connected': {
    level: 'debug',
    sentence: 'A CONNECT was accepted.',
    detail: { ...CONNECTION, cleanStart: 'boolean', sessionPresent: 'boolean', keepAliveSeconds: 'number' },
  },
  'client.refused': {
    level: 'info',
    sentence: 'A connection ended before its CONNECT was accepted.',
    reasons: [
      ...['bad-credentials', 'not-authorized', 'banned', 'auth-failed', 'auth-aborted', 'auth-method'],
      ...['malformed', 'protocol-error', 'protocol-version', 'client-id', 'will-invalid', 'unsupported'],
      ...['timeout', 'connection-lost', 'tls-failed', 'proxy-header', 'connection-rate', 'server-busy', 'overload'],
      ...['quota', 'unavailable', 'redirected', 'stopping'],
    ],
    detail: { ...CONNECTION, message: 'string' },
  },
  'client.disconnected': {
    level: 'debug',
    sentence: 'An accepted connection ended.',
    reasons: [
      ...['by-client', 'connection-lost', 'keep-alive', 'taken-over', 'kicked', 'redirected', 'stopping'],
      ...['malformed', 'protocol-error', 'packet-too-large', 'receive-maximum', 'topic-alias', 'too-many-filters'],
      ...['topic-invalid', 'filter-invalid', 'payload-format', 'unsupported', 'not-authorized', 'auth-failed'],
      ...['slow-consumer', 'rate', 'quota', 'overload', 'server-busy', 'unavailable', 'lease-lost', 'session-ended'],
    ],
    detail: { ...CONNECTION, message: 'string', connectedMs: 'number', bytesIn: 'number', bytesOut: 'number' },
  },
  'client.authenticated-again': { level: 'debug', sentence: 'A re-authentication succeeded.', detail: CONNECTION },
  'client.pinged': { level: 'debug', sentence: 'A PINGREQ arrived.' },
  'client.slow': {
    level: 'warn',
    sentence: "A connection's unsent bytes reached their bound.",
    detail: { unsentBytes: 'number' },
  },
  'client.banned': {
    level: 'warn',
    sentence: 'A client was shut out for a while.',
    reasons: ['flapping'],
    detail: { banSeconds: 'number', disconnects: 'number' },
  },

  // Sessions
  'session.started': { level: 'debug', sentence: 'A session began.', detail: { expirySeconds: 'number' } },
  'session.resumed': { level: 'debug', sentence: 'A client came back to its session.', detail: { queued: 'number' } },
  'session.stopped': {
    level: 'debug',
    sentence: 'A session ended with all it held.',
    reasons: ['disconnected', 'expired', 'clean-start', 'removed'],
    detail: { dropped: 'number' },
  },

  // Messages in
  'publish.acknowledged': {
    level: 'debug',
    sentence: 'A QoS 1 or 2 message was accepted and its publisher told so (PUBACK, PUBREC).',
    detail: { ...TOPIC_AND_QOS, bytes: 'number', receivers: 'number' },
  },
  'publish.acknowledgement-lost': {
    level: 'debug',
    sentence: 'A message was accepted, but its publisher was gone before it could be told.',
    detail: TOPIC_AND_QOS,
  },
  'publish.routed': {
    level: 'debug',
    sentence: 'A message was matched and handed to its receivers.',
    detail: { ...TOPIC_AND_QOS, bytes: 'number', receivers: 'number' },
  },
  'publish.denied': { level: 'info', sentence: 'A publisher lacks the permission.', detail: TOPIC_AND_QOS },
  'publish.failed': {
    level: 'warn',
    sentence: 'A message was not accepted.',
    reasons: ['unroutable', 'unavailable', 'timeout', 'quota', 'rate', 'overload', 'internal'],
    detail: { ...TOPIC_AND_QOS, message: 'string' },
  },
  'will.published': { level: 'debug', sentence: 'A will was sent.', detail: TOPIC_AND_QOS },
  'will.cancelled': { level: 'debug', sentence: 'A delayed will was withdrawn in time.', detail: TOPIC_AND_QOS },
  'will.failed': {
    level: 'warn',
    sentence: 'A will could not be sent.',
    reasons: ['not-authorized', 'unroutable', 'unavailable', 'internal'],
    detail: { ...TOPIC_AND_QOS, message: 'string' },
  },

  // Messages out
  'deliver.sent': {
    level: 'debug',
    sentence: 'A message was written to a subscriber.',
    detail: { ...TOPIC_AND_QOS, bytes: 'number', retained: 'boolean', again: 'boolean' },
  },
  'deliver.received': {
    level: 'debug',
    sentence: 'A subscriber took over a QoS 2 message (PUBREC).',
    detail: TOPIC_AND_QOS,
  },
  'deliver.acknowledged': {
    level: 'debug',
    sentence: 'A subscriber acknowledged a QoS 1 message (PUBACK) or completed a QoS 2 one (PUBCOMP).',
    detail: TOPIC_AND_QOS,
  },
  'deliver.refused': {
    level: 'info',
    sentence: 'A subscriber answered a message with an error code.',
    detail: TOPIC_AND_QOS,
  },
  'deliver.failed': {
    level: 'warn',
    sentence: 'Handing messages to a node, a session or a sub-broker failed.',
    reasons: ['unavailable', 'timeout', 'link-lost', 'internal'],
    detail: { message: 'string', count: 'number' },
  },
  'message.dropped': {
    level: 'debug', // the log gives sums instead: see DropCounters
    sentence: 'A message was given up for somebody; the client is the one that does not get it, or its publisher.',
    reasons: DROP_REASONS,
    detail: { ...TOPIC_AND_QOS, count: 'number' },
  },

  // Subscriptions
  'subscribe.acknowledged': { level: 'debug', sentence: 'A subscription was made.', detail: FILTER },
  'subscribe.denied': { level: 'info', sentence: 'A subscriber lacks the permission.', detail: FILTER },
  'subscribe.failed': {
    level: 'warn',
    sentence: 'A subscription could not be made.',
    reasons: ['filter-invalid', 'unsupported', 'quota', 'unavailable', 'timeout', 'internal'],
    detail: { ...FILTER, message: 'string' },
  },
  'unsubscribe.acknowledged': { level: 'debug', sentence: 'A subscription was ended.', detail: { filter: 'string' } },
  'unsubscribe.failed': {
    level: 'warn',
    sentence: 'A subscription could not be ended.',
    reasons: ['unavailable', 'timeout', 'internal'],
    detail: { filter: 'string', message: 'string' },
  },
  'route.added': { level: 'debug', sentence: "A node's first subscription of a filter was routed.", detail: FILTER },
  'route.removed': { level: 'debug', sentence: "A node's last subscription of a filter was unrouted.", detail: FILTER },
  'route.failed': {
    level: 'warn',
    sentence: 'A route could not be added or removed.',
    reasons: ['unavailable', 'timeout', 'internal'],
    detail: { filter: 'string', message: 'string' },
  },

  // Retained messages
  'retain.stored': {
    level: 'debug',
    sentence: 'A retained message was set.',
    detail: { topic: 'string', bytes: 'number' },
  },
  'retain.cleared': { level: 'debug', sentence: 'A retained message was removed.', detail: { topic: 'string' } },
  'retain.matched': {
    level: 'debug',
    sentence: 'The retained messages of a new subscription were read.',
    detail: { filter: 'string', count: 'number' },
  },
  'retain.failed': {
    level: 'warn',
    sentence: 'Retained messages could not be set, removed or read.',
    reasons: ['store', 'match', 'quota'],
    detail: { topic: 'string', message: 'string' },
  },

  // The broker itself
  'tenant.quota': {
    level: 'warn',
    sentence: 'A tenant used up a quota.',
    detail: { resource: 'string', limit: 'number' },
  },
  'settings.changed': { level: 'debug', sentence: 'Settings of a tenant changed.' },
  'plugin.failed': {
    level: 'warn',
    sentence: 'A plugin threw, gave no answer in time or an answer of the wrong shape; it was treated as a refusal.',
    reasons: ['throw', 'timeout', 'shape', 'overload', 'circuit-open'],
    detail: { plugin: 'string', call: 'string', message: 'string' },
  },
} as const satisfies { readonly [type: string]: EventSpec }

export type EventType = keyof typeof EVENTS

type Fields<Detail> = {
  readonly [Field in keyof Detail]?: Detail[Field] extends 'string'
    ? string
    : Detail[Field] extends 'number'
      ? number
      : boolean
}

/** The detail of an event of one type: its reason, where it has reasons, and any of the fields of the catalogue. */
export type EventDetail<Type extends EventType> = ((typeof EVENTS)[Type] extends { reasons: readonly (infer Reason)[] }
  ? { readonly reason: Reason }
  : unknown) &
  ((typeof EVENTS)[Type] extends { detail: infer Detail } ? Fields<Detail> : unknown)

export function isEventType(type: string): type is EventType {
  return Object.hasOwn(EVENTS, type)
}
