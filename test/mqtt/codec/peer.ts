import mqttPacket from 'mqtt-packet'
import type { Packet, ProtocolVersion, PublishProperties, WillProperties } from '../../../src/mqtt/codec/index.ts'

/**
 * `mqtt-packet` as the independent peer: its packets are our packets in other words.
 *
 * What it cannot say is left out of the comparison, by {@link forPeer}: the order of user properties with different
 * names, empty user property values, and a password without a user name.
 */
type Bag = Record<string, unknown>

/** What the peer can express of a packet; null when it cannot at all. */
export function forPeer(packet: Packet): Packet | null {
  const copy = structuredClone(packet) as Packet
  if (copy.type === 'connect') {
    if (copy.username === null) copy.password = null
    if (copy.clientId === '' && !copy.cleanStart) return null
    if (copy.will !== null) tame(copy.will.properties)
    for (const holder of [copy, copy.will]) {
      for (const [key, value] of Object.entries(holder ?? {}))
        if (isBytes(value)) (holder as unknown as Bag)[key] = Buffer.from(value)
    }
    if (copy.will !== null) copy.will.rawProperties = encodeForwarded(copy.will.properties)
  }
  if (copy.type === 'publish') copy.payload = Buffer.from(copy.payload)
  if ('properties' in copy) tame(copy.properties)
  return copy
}

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array
}

/** Sorts user properties by name, in place, and gives each a value. */
function tame(holder: object): void {
  const properties = holder as Bag
  for (const [key, value] of Object.entries(properties)) if (isBytes(value)) properties[key] = Buffer.from(value)
  const list = properties.userProperties as [string, string][] | undefined
  if (list === undefined) return
  const named = list.map(([name, value]): [string, string] => [`n${name}`, `v${value}`])
  properties.userProperties = named.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

/** Our packet in the peer's words. */
export function toPeer(packet: Packet, version: ProtocolVersion): mqttPacket.Packet {
  const bag: Bag = { cmd: packet.type }
  if ('packetId' in packet && packet.packetId > 0) bag.messageId = packet.packetId
  if ('properties' in packet && version === 5) bag.properties = propertiesToPeer(packet.properties)
  if ('reasonCode' in packet && version === 5) bag.reasonCode = packet.reasonCode
  switch (packet.type) {
    case 'connect':
      Object.assign(bag, { clientId: packet.clientId, clean: packet.cleanStart, keepalive: packet.keepAliveSeconds })
      Object.assign(bag, { protocolId: version === 3 ? 'MQIsdp' : 'MQTT', protocolVersion: version })
      if (packet.username !== null) bag.username = packet.username
      if (packet.password !== null) bag.password = packet.password
      if (packet.will !== null) {
        const { topic, payload, qos, retain, properties } = packet.will
        bag.will = {
          topic,
          payload,
          qos,
          retain,
          ...(version === 5 ? { properties: propertiesToPeer(properties) } : {}),
        }
      }
      break
    case 'connack':
      bag.sessionPresent = packet.sessionPresent
      if (version < 5) bag.returnCode = RETURN_CODES.indexOf(packet.reasonCode)
      break
    case 'publish':
      Object.assign(bag, { topic: packet.topic, payload: packet.payload, qos: packet.qos })
      Object.assign(bag, { retain: packet.retain, dup: packet.dup })
      break
    case 'subscribe':
      bag.subscriptions = packet.subscriptions.map((row) => ({
        topic: row.filter,
        qos: row.qos,
        ...(version === 5 ? { nl: row.noLocal, rap: row.retainAsPublished, rh: row.retainHandling } : {}),
      }))
      break
    case 'unsubscribe':
      bag.unsubscriptions = packet.filters
      break
    case 'suback':
    case 'unsuback':
      if (version === 5 || packet.type === 'suback') bag.granted = packet.reasonCodes
      break
  }
  return bag as unknown as mqttPacket.Packet
}

/** By 3.x return code, in version 5 reason codes. */
const RETURN_CODES = [0, 0x84, 0x85, 0x88, 0x86, 0x87]

function propertiesToPeer(properties: object): Bag {
  const bag: Bag = {}
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'payloadFormatIndicator') bag[key] = value === 1
    else if (key === 'subscriptionIdentifiers') {
      bag.subscriptionIdentifier = (value as number[]).length === 1 ? (value as number[])[0] : value
    } else if (key === 'userProperties') {
      const byName: Record<string, string | string[]> = Object.create(null)
      for (const [name, text] of value as [string, string][]) {
        const before = byName[name]
        byName[name] = before === undefined ? text : [...[before].flat(), text]
      }
      bag[key] = byName
    } else bag[key] = value
  }
  return bag
}

/** What the peer reads from one whole packet, in its own words, without what is only bookkeeping. */
export function peerDecode(frame: Buffer, version: ProtocolVersion): Bag {
  const parser = mqttPacket.parser({ protocolVersion: version })
  const seen: Bag[] = []
  parser.on('packet', (packet) => seen.push(plain(packet as unknown as Bag)))
  parser.on('error', (error) => {
    throw error
  })
  parser.parse(frame)
  if (seen.length !== 1) throw new Error(`The peer read ${seen.length} packets`)
  return seen[0]!
}

export function peerEncode(packet: Packet, version: ProtocolVersion): Buffer {
  return mqttPacket.generate(toPeer(packet, version), { protocolVersion: version })
}

/** The fields that carry meaning for this packet type. */
function plain(packet: Bag): Bag {
  const { length: _, ...bag } = packet
  if (bag.cmd !== 'publish') for (const key of ['qos', 'dup', 'retain']) delete bag[key]
  for (const key of ['topic', 'payload', 'messageId']) if (bag[key] === null) delete bag[key]
  return bag
}

/** The properties of a message that go on, as the encoder writes them; written here by hand, as a second opinion. */
export function encodeForwarded(properties: PublishProperties | WillProperties): Uint8Array {
  const parts: Buffer[] = []
  const prefixed = (value: string | Uint8Array) => {
    const content = Buffer.from(value as string)
    parts.push(Buffer.from([content.length >> 8, content.length & 0xff]), content)
  }
  const put = (id: number, value: string | Uint8Array | undefined) => {
    if (value === undefined) return
    parts.push(Buffer.from([id]))
    prefixed(value)
  }
  if (properties.payloadFormatIndicator !== undefined) parts.push(Buffer.from([1, properties.payloadFormatIndicator]))
  put(0x03, properties.contentType)
  put(0x08, properties.responseTopic)
  put(0x09, properties.correlationData)
  for (const [name, value] of properties.userProperties ?? []) {
    put(0x26, name)
    prefixed(value)
  }
  return new Uint8Array(Buffer.concat(parts))
}
