/**
 * The generator's own MQTT client codec: encodes what a client sends, scans what a broker sends.
 *
 * Independent of src/ on purpose: a bug in the broker's codec must not hide in its own measuring device.
 * Hot path: `scan` and `PublishRing.stamp` run once per message. At 5 million messages a second one
 * nanosecond is 0.5 % of the core, so nothing here allocates per message.
 */
import type { Qos, Version } from '../spec.ts'

export const CONNACK = 2
export const PUBLISH = 3
export const PUBACK = 4
export const PUBREC = 5
export const PUBREL = 6
export const PUBCOMP = 7
export const SUBACK = 9

/** Every payload begins with its stamp, little-endian: publisher u32, sequence u32, time u32 in us, 4 bytes unused. */
export const STAMP_BYTES = 16

export interface ConnectOptions {
  version: Version
  clientId: string
  /** Clean Session / Clean Start. */
  clean: boolean
  /** v5 only: 0 ends the session with the connection. */
  sessionExpirySeconds?: number
  will?: { topic: string; payload: string; qos: Qos }
}

/** CONNECT with keep-alive off (MQTT 3.1.1 and 5.0, 3.1). */
export function encodeConnect(options: ConnectOptions): Buffer {
  const { version, clientId, clean, will } = options
  const v5 = version === 5
  const flags = (clean ? 0x02 : 0) | (will ? 0x04 | (will.qos << 3) : 0)
  const expiry = options.sessionExpirySeconds ?? 0
  const properties = v5 ? (expiry > 0 ? [5, 0x11, ...u32(expiry)] : [0]) : []
  const body = [
    text(version === 3 ? 'MQIsdp' : 'MQTT'),
    Buffer.from([version, flags, 0, 0, ...properties]),
    text(clientId),
    ...(will ? [...(v5 ? [Buffer.from([0])] : []), text(will.topic), text(will.payload)] : []),
  ]
  return packet(0x10, Buffer.concat(body))
}

export function encodeSubscribe(version: Version, packetId: number, filters: readonly string[], qos: Qos): Buffer {
  const head = Buffer.from([packetId >> 8, packetId & 255, ...(version === 5 ? [0] : [])])
  return packet(0x82, Buffer.concat([head, ...filters.flatMap((filter) => [text(filter), Buffer.from([qos])])]))
}

/** DISCONNECT that keeps a session's expiry and drops the will (MQTT 5.0, 3.14.2.1: length 0 means reason 0x00). */
export const disconnectPacket: Buffer = Buffer.from([0xe0, 0])

export interface PublishOptions {
  version: Version
  qos: Qos
  retain: boolean
  topic: string
  payload: Uint8Array
}

/** PUBLISH with packet id 0 when QoS > 0: the ring writes the id in. */
export function encodePublish(options: PublishOptions): Buffer {
  const { version, qos, retain, topic, payload } = options
  const middle = Buffer.from([...(qos > 0 ? [0, 0] : []), ...(version === 5 ? [0] : [])])
  return packet(0x30 | (qos << 1) | (retain ? 1 : 0), Buffer.concat([text(topic), middle, payload]))
}

/**
 * Writes PUBACK, PUBREC, PUBREL or PUBCOMP in its four-byte form, which 5.0 also allows (3.4.2.1).
 * Returns the new end.
 */
export function writeAck(into: Uint8Array, at: number, type: number, packetId: number): number {
  into[at] = type === PUBREL ? 0x62 : type << 4
  into[at + 1] = 2
  into[at + 2] = packetId >> 8
  into[at + 3] = packetId & 255
  return at + 4
}

export interface RingOptions {
  version: Version
  qos: Qos
  retain: boolean
  /** At least `STAMP_BYTES`. */
  payloadBytes: number
  publisher: number
  topics: readonly string[]
  /** Slots wanted at least; the topics repeat until it is reached, within `ringBytesMax`. */
  slotsMin: number
}

const ringBytesMax = 256 * 1024

/** From these many bytes on each payload is its own noise: what compresses away costs a disk nothing, and shows nothing. */
const noisyBytesMin = 256

/** The source of noise; the same in each run. No payload is longer. */
const noise = pseudoRandomBytes(2 * 1024 * 1024)

function pseudoRandomBytes(length: number): Buffer {
  const words = new Uint32Array(length / 4)
  let state = 0x9e3779b9
  for (let i = 0; i < words.length; i++) {
    // xorshift32
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[i] = state
  }
  return Buffer.from(words.buffer)
}

/** Encoded PUBLISH frames of one publisher, one behind the other, stamped in place and sent as byte ranges. */
export class PublishRing {
  readonly bytes: Buffer
  readonly slots: number
  /** Start of each slot; the end of the last one is the last element. */
  readonly starts: Int32Array
  readonly #view: DataView
  readonly #payloads: Int32Array
  readonly #idOffset: number
  /** Bytes of noise in each payload, behind its stamp. */
  readonly #noisy: number
  readonly #publisher: number

  constructor(options: RingOptions) {
    const { topics, payloadBytes, version, qos, retain } = options
    const payload = Buffer.alloc(payloadBytes, 0x61)
    payload.writeUInt32LE(options.publisher, 0)
    const frames = topics.map((topic) => encodePublish({ version, qos, retain, topic, payload }))
    const once = frames.reduce((sum, frame) => sum + frame.length, 0)
    const repeat = Math.max(1, Math.min(Math.ceil(options.slotsMin / topics.length), Math.floor(ringBytesMax / once)))
    const all = Array.from({ length: repeat }, () => frames).flat()
    this.bytes = Buffer.concat(all)
    this.slots = all.length
    this.starts = new Int32Array(all.length + 1)
    this.#payloads = new Int32Array(all.length)
    all.forEach((frame, i) => {
      this.starts[i + 1] = this.starts[i]! + frame.length
      this.#payloads[i] = this.starts[i + 1]! - payloadBytes
    })
    this.#view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)
    this.#idOffset = qos > 0 ? 2 + (version === 5 ? 1 : 0) : 0
    this.#noisy = payloadBytes < noisyBytesMin ? 0 : Math.min(payloadBytes, noise.length / 2) - STAMP_BYTES
    this.#publisher = options.publisher
  }

  /**
   * Writes sequence numbers from `sequence` on and the time into `count` slots, and packet ids from `packetId`
   * on where QoS > 0. Returns the next packet id (1 to 65535).
   */
  stamp(slot: number, count: number, sequence: number, micros: number, packetId: number): number {
    const view = this.#view
    let id = packetId
    for (let i = slot; i < slot + count; i++) {
      const at = this.#payloads[i]!
      view.setUint32(at + 4, sequence + i - slot, true)
      view.setUint32(at + 8, micros, true)
      if (this.#noisy > 0) {
        const from = ((sequence + i - slot) * 7919 + this.#publisher * 104_729) % (noise.length - this.#noisy)
        noise.copy(this.bytes, at + STAMP_BYTES, from, from + this.#noisy)
      }
      if (this.#idOffset > 0) {
        view.setUint16(at - this.#idOffset, id)
        id = id === 65535 ? 1 : id + 1
      }
    }
    return id
  }
}

/** What `scan` finds. Offsets are into the scanned bytes and hold only during the call. */
export interface Received {
  /** `head` is the first byte (DUP, QoS, RETAIN); `packetId` is 0 at QoS 0. */
  onPublish(head: number, packetId: number, payload: number, end: number): void
  /** PUBACK, PUBREC, PUBREL or PUBCOMP. `failed`: a v5 reason code from 0x80 on. */
  onAck(type: number, packetId: number, failed: boolean): void
  onControl(type: number, body: number, end: number): void
}

/** Reports every complete packet in [start, end) and returns where the first incomplete one begins. */
export function scan(bytes: Buffer, start: number, end: number, v5: boolean, to: Received): number {
  let at = start
  while (end - at >= 2) {
    const head = bytes[at]!
    let length = bytes[at + 1]!
    let body = at + 2
    if (length > 127) {
      length &= 127
      let shift = 7
      let more = true
      while (more) {
        if (body >= end) return at
        if (shift > 21) throw new Error('Broker sent a remaining length of more than four bytes')
        const byte = bytes[body++]!
        length += (byte & 127) << shift
        shift += 7
        more = byte > 127
      }
    }
    const next = body + length
    if (next > end) return at
    const type = head >> 4
    if (type === PUBLISH) {
      let payload = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!)
      let id = 0
      if ((head & 6) !== 0) {
        id = (bytes[payload]! << 8) | bytes[payload + 1]!
        payload += 2
      }
      if (v5) payload = bytes[payload] === 0 ? payload + 1 : skipProperties(bytes, payload)
      to.onPublish(head, id, payload, next)
    } else if (type >= PUBACK && type <= PUBCOMP) {
      to.onAck(type, (bytes[body]! << 8) | bytes[body + 1]!, length > 2 && bytes[body + 2]! >= 0x80)
    } else {
      to.onControl(type, body, next)
    }
    at = next
  }
  return at
}

/**
 * v5 CONNACK: how many QoS > 0 publishes the broker accepts unacknowledged (0x21), 65535 when it does not say.
 * @param body start of the variable header: flags, reason code, properties
 */
export function receiveMaximum(bytes: Buffer, body: number, end: number): number {
  let at = body + 2
  while (at < end && bytes[at]! > 127) at++
  at++
  while (at < end) {
    const id = bytes[at++]!
    if (id === 0x21) return bytes.readUInt16BE(at)
    if (id === 0x11 || id === 0x27) at += 4
    else if (id === 0x13 || id === 0x22) at += 2
    else if (id === 0x24 || id === 0x25 || id === 0x28 || id === 0x29 || id === 0x2a) at += 1
    else if (id === 0x26) for (let i = 0; i < 2; i++) at += 2 + bytes.readUInt16BE(at)
    else at += 2 + bytes.readUInt16BE(at)
  }
  return 65535
}

/** SUBACK: the first refused code (0x80 and above); 0 when all filters were granted. */
export function refusedCode(bytes: Buffer, body: number, end: number, v5: boolean): number {
  for (let i = v5 ? skipProperties(bytes, body + 2) : body + 2; i < end; i++) if (bytes[i]! >= 0x80) return bytes[i]!
  return 0
}

function skipProperties(bytes: Buffer, at: number): number {
  let length = 0
  let shift = 0
  for (let i = at; ; i++) {
    const byte = bytes[i]!
    length += (byte & 127) << shift
    shift += 7
    if (byte < 128) return i + 1 + length
  }
}

function packet(head: number, body: Buffer): Buffer {
  const header = [head]
  let rest = body.length
  do {
    header.push((rest & 127) | (rest > 127 ? 128 : 0))
    rest >>= 7
  } while (rest > 0)
  return Buffer.concat([Buffer.from(header), body])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}

function u32(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
}
