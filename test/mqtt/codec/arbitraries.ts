import fc, { type Arbitrary } from 'fast-check'
import type { QoS } from '../../../src/base/message.ts'
import type {
  Ack,
  Auth,
  Connack,
  Connect,
  Direction,
  Disconnect,
  Packet,
  Ping,
  ProtocolVersion,
  Publish,
  Suback,
  Subscribe,
  Subscription,
  Unsuback,
  Unsubscribe,
  Will,
} from '../../../src/mqtt/codec/index.ts'
import { encodeForwarded } from './peer.ts'

/** Text of all planes, with control characters, without U+0000 and surrogates. */
const text = fc.string({ unit: 'binary', maxLength: 12 }).map((value) => value.replaceAll('\0', '0'))
const someText = text.map((value) => (value === '' ? 'x' : value))
const topic = someText.map((value) => value.replace(/[+#]/g, '/'))
const binary = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value))
const uint16 = fc.integer({ min: 0, max: 0xffff })
const positive16 = fc.integer({ min: 1, max: 0xffff })
const uint32 = fc.integer({ min: 0, max: 0xffffffff })
const positive32 = fc.integer({ min: 1, max: 0xffffffff })
const identifier = fc.oneof(fc.constantFrom(1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455), positive16)
const qos = fc.constantFrom<QoS>(0, 1, 2)
const userProperties = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 })
const payload = fc.oneof(
  binary,
  fc.integer({ min: 100, max: 20_000 }).map((size) => Buffer.alloc(size, size)),
)

const filterLevel = fc.oneof(
  topic.map((value) => value.replaceAll('/', '_')),
  fc.constantFrom('+', '', 'a'),
)
const plainFilter = fc
  .tuple(fc.array(filterLevel, { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels, '#'] : levels).join('/'))
  .map((value) => (value === '' || /^\$o?share\//.test(value) ? 'a' : value))
const shareName = topic.map((value) => value.replaceAll('/', '_'))
const filter = fc.oneof(
  { weight: 4, arbitrary: plainFilter },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('$share', '$oshare'), shareName, plainFilter)
      .map(([prefix, group, plain]) => `${prefix}/${group}/${plain}`),
  },
)

const problem = { reasonString: text, userProperties }
const authentication = { authenticationMethod: text, authenticationData: binary }
const message = {
  payloadFormatIndicator: fc.constantFrom(0, 1),
  messageExpiryInterval: uint32,
  contentType: text,
  responseTopic: topic,
  correlationData: binary,
  userProperties,
}

/** Some of the properties in version 5, none before. */
function some<T>(version: ProtocolVersion, model: { [K in keyof T]: Arbitrary<T[K]> }): Arbitrary<Partial<T>> {
  if (version < 5) return fc.constant({})
  return fc.record<object>(model, { requiredKeys: [], noNullPrototype: true }) as Arbitrary<Partial<T>>
}

/** Plain objects, as the decoder makes them. */
function record<T>(model: { [K in keyof T]: Arbitrary<T[K]> }): Arbitrary<T> {
  return fc.record<object>(model, { noNullPrototype: true }) as Arbitrary<T>
}

const will = (version: ProtocolVersion): Arbitrary<Will> =>
  record({
    topic,
    payload: binary,
    qos,
    retain: fc.boolean(),
    properties: some(version, { willDelayInterval: uint32, ...message }),
  }).map((value) => ({ ...value, rawProperties: encodeForwarded(value.properties) }))

const connect = (version: ProtocolVersion): Arbitrary<Connect> =>
  record({
    type: fc.constant('connect' as const),
    version: fc.constant(version),
    clientId: version === 3 ? someText : text,
    cleanStart: fc.boolean(),
    keepAliveSeconds: uint16,
    username: fc.option(text),
    password: fc.option(binary),
    will: fc.option(will(version)),
    properties: some(version, {
      sessionExpiryInterval: uint32,
      receiveMaximum: positive16,
      maximumPacketSize: positive32,
      topicAliasMaximum: uint16,
      requestResponseInformation: fc.boolean(),
      requestProblemInformation: fc.boolean(),
      userProperties,
      ...authentication,
    }).map((properties) => withMethod(properties)),
  }).map((packet) => (version < 5 && packet.username === null ? { ...packet, password: null } : packet))

/** Authentication data is legal with a method only. */
function withMethod<T extends { authenticationMethod?: string; authenticationData?: Buffer }>(properties: T): T {
  if (properties.authenticationMethod === undefined) delete properties.authenticationData
  return properties
}

const CONNACK_CODES = [0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97]
const connack = (version: ProtocolVersion): Arbitrary<Connack> =>
  record({
    type: fc.constant('connack' as const),
    sessionPresent: fc.boolean(),
    reasonCode: fc.constantFrom(0, 0, ...(version === 5 ? CONNACK_CODES : [0x84, 0x85, 0x86, 0x87, 0x88])),
    properties: some<Connack['properties']>(version, {
      sessionExpiryInterval: uint32,
      receiveMaximum: positive16,
      maximumQoS: fc.constantFrom(0, 1),
      retainAvailable: fc.boolean(),
      maximumPacketSize: positive32,
      assignedClientIdentifier: text,
      topicAliasMaximum: uint16,
      wildcardSubscriptionAvailable: fc.boolean(),
      subscriptionIdentifiersAvailable: fc.boolean(),
      sharedSubscriptionAvailable: fc.boolean(),
      serverKeepAlive: uint16,
      responseInformation: text,
      serverReference: text,
      ...problem,
      ...authentication,
    } as never).map((properties) => withMethod(properties as Connack['properties'])),
  }).map((packet) => (packet.reasonCode !== 0 || version === 3 ? { ...packet, sessionPresent: false } : packet))

const publish = (version: ProtocolVersion, direction: Direction): Arbitrary<Publish> =>
  record({
    type: fc.constant('publish' as const),
    topic,
    payload,
    qos,
    retain: fc.boolean(),
    dup: fc.boolean(),
    packetId: positive16,
    byAlias: fc.boolean(),
    properties: some<Publish['properties']>(version, {
      ...message,
      topicAlias: positive16,
      ...(direction === 'from-server'
        ? { subscriptionIdentifiers: fc.array(identifier, { minLength: 1, maxLength: 3 }) }
        : {}),
    } as never),
  }).map(({ byAlias, ...packet }) => ({
    ...packet,
    topic: byAlias && packet.properties.topicAlias !== undefined ? '' : packet.topic,
    dup: packet.dup && packet.qos > 0,
    packetId: packet.qos > 0 ? packet.packetId : 0,
  }))

const ACK_CODES: Record<Ack['type'], number[]> = {
  puback: [0, 0x10, 0x97],
  pubrec: [0, 0x10, 0x97],
  pubrel: [0, 0x92],
  pubcomp: [0, 0x92],
}
const ack = (version: ProtocolVersion): Arbitrary<Ack> =>
  fc.constantFrom<Ack['type']>('puback', 'pubrec', 'pubrel', 'pubcomp').chain((type) =>
    record({
      type: fc.constant(type),
      packetId: positive16,
      reasonCode: fc.constantFrom(...(version === 5 ? ACK_CODES[type] : [0])),
      properties: some(version, problem),
    }),
  )

const subscription = (version: ProtocolVersion): Arbitrary<Subscription> =>
  record({
    filter,
    qos,
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    retainHandling: fc.constantFrom(0, 1, 2),
  }).map((row) =>
    version === 5
      ? { ...row, noLocal: row.noLocal && !/^\$o?share\//.test(row.filter) }
      : { ...row, noLocal: false, retainAsPublished: false, retainHandling: 0 },
  )

const subscribe = (version: ProtocolVersion): Arbitrary<Subscribe> =>
  record({
    type: fc.constant('subscribe' as const),
    packetId: positive16,
    subscriptions: fc.array(subscription(version), { minLength: 1, maxLength: 4 }),
    properties: some(version, { subscriptionIdentifier: identifier, userProperties }),
  })

const suback = (version: ProtocolVersion): Arbitrary<Suback> =>
  record({
    type: fc.constant('suback' as const),
    packetId: positive16,
    reasonCodes: fc.array(fc.constantFrom(0, 1, 2, 0x80, ...(version === 5 ? [0x87, 0x8f, 0xa2] : [])), {
      minLength: 1,
    }),
    properties: some(version, problem),
  })

const unsubscribe = (version: ProtocolVersion): Arbitrary<Unsubscribe> =>
  record({
    type: fc.constant('unsubscribe' as const),
    packetId: positive16,
    filters: fc.array(filter, { minLength: 1, maxLength: 4 }),
    properties: some(version, { userProperties }),
  })

const unsuback = (version: ProtocolVersion): Arbitrary<Unsuback> =>
  record({
    type: fc.constant('unsuback' as const),
    packetId: positive16,
    reasonCodes: version === 5 ? fc.array(fc.constantFrom(0, 0x11, 0x80, 0x8f), { minLength: 1 }) : fc.constant([]),
    properties: some(version, problem),
  })

const ping = (type: Ping['type']): Arbitrary<Ping> => record({ type: fc.constant(type) })

const disconnect = (version: ProtocolVersion, direction: Direction): Arbitrary<Disconnect> =>
  record({
    type: fc.constant('disconnect' as const),
    reasonCode:
      version < 5 ? fc.constant(0) : fc.constantFrom(...(direction === 'from-client' ? [0, 4, 0x81] : [0, 0x8e, 0x9c])),
    properties: some<Disconnect['properties']>(version, {
      ...problem,
      ...(direction === 'from-client' ? { sessionExpiryInterval: uint32 } : { serverReference: text }),
    } as never),
  })

const auth = (direction: Direction): Arbitrary<Auth> =>
  record({
    type: fc.constant('auth' as const),
    reasonCode: fc.constantFrom(0x18, direction === 'from-client' ? 0x19 : 0),
    properties: some(5, { ...authentication, ...problem }).map((properties) => ({
      authenticationMethod: 'method',
      ...properties,
    })),
  })

/** Every well-formed packet that this side may send. */
export function packets(version: ProtocolVersion, direction: Direction): Arbitrary<Packet> {
  const both = [publish(version, direction), ack(version), ...(version === 5 ? [auth(direction)] : [])]
  const client = [
    ...[connect(version), subscribe(version), unsubscribe(version), ping('pingreq')],
    disconnect(version, direction),
  ]
  const server = [
    ...[connack(version), suback(version), unsuback(version), ping('pingresp')],
    ...(version === 5 ? [disconnect(version, direction)] : []),
  ]
  return fc.oneof(...both, ...(direction === 'from-client' ? client : server)) as Arbitrary<Packet>
}

export const SIDES: [ProtocolVersion, Direction][] = [
  [3, 'from-client'],
  [3, 'from-server'],
  [4, 'from-client'],
  [4, 'from-server'],
  [5, 'from-client'],
  [5, 'from-server'],
]
