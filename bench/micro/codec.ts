/**
 * What the codec's hot path costs: nanoseconds per frame, parse and write.
 *
 *   npx tsc -p bench/tsconfig.json; node build/dev/bench/micro/codec.js
 *
 * Chunks of 64 KiB, 64-byte payloads, as in a burst. CPU time, best of seven rounds: waiting for a core does not count,
 * caches and a core's other thread that neighbours use do.
 */
import mqttPacket from 'mqtt-packet'
import {
  AckView,
  checkTopicName,
  decodePacket,
  encodePacket,
  FRAME_READY,
  FrameReader,
  isStrictUtf8,
  PACKET,
  type ProtocolVersion,
  type Publish,
  PublishOut,
  PublishView,
  parseAck,
  parsePublish,
  publishSize,
  writeAck,
  writePublish,
} from '../../src/mqtt/codec/index.ts'
import { copyBytes } from '../../src/mqtt/codec/varint.ts'

const CHUNK_BYTES = 64 * 1024
const ROUNDS = 7
const ROUND_MS = 60
/** Reading the CPU time is a system call. */
const WORK_PER_LOOK = 8

const publish: Publish = {
  type: 'publish',
  topic: 'bench/pairs/0042/value',
  payload: Buffer.alloc(64, 0x61),
  qos: 1,
  retain: false,
  dup: false,
  packetId: 7,
  properties: {},
}
const rich: Publish = {
  ...publish,
  properties: { payloadFormatIndicator: 1, contentType: 'application/json', userProperties: [['trace', '0123456789']] },
}

/** A chunk of whole frames. */
function chunkOf(frame: Buffer): Buffer {
  return Buffer.concat(Array.from({ length: Math.floor(CHUNK_BYTES / frame.length) }, () => frame))
}

/** Prints the best round of `work`, which says how many frames it did. */
function measure(name: string, work: () => number): void {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    let frames = 0
    let spent = 0
    const start = process.cpuUsage()
    while (spent < ROUND_MS * 1e6) {
      for (let i = 0; i < WORK_PER_LOOK; i++) frames += work()
      const { user, system } = process.cpuUsage(start)
      spent = (user + system) * 1000
    }
    best = Math.min(best, spent / frames)
  }
  console.log(`${name.padEnd(58)} ${best.toFixed(1).padStart(8)} ns`)
}

const reader = new FrameReader(1024 * 1024)
const view = new PublishView()
const ack = new AckView()
/** Keeps the optimizer from dropping what nobody reads. */
let sink = 0

function frames(name: string, frame: Buffer, each: () => void): void {
  const chunk = chunkOf(frame)
  measure(name, () => {
    let count = 0
    reader.push(chunk)
    while (reader.next() === FRAME_READY) {
      each()
      count++
    }
    return count
  })
}

function parse(version: ProtocolVersion): void {
  sink += parsePublish(view, reader.buffer, reader.first, reader.start, reader.body, reader.end, version)
}

const old = encodePacket(publish, 4)
const plain = encodePacket(publish, 5)
const withProperties = encodePacket(rich, 5)

frames('frames only', old, () => {
  sink += reader.end
})
frames('PUBLISH 3.1.1: frame, parse', old, () => parse(4))
frames('PUBLISH 3.1.1: frame, parse, check topic', old, () => {
  parse(4)
  sink += checkTopicName(view.buffer, view.topicStart, view.topicEnd)
})
frames('PUBLISH 5.0: frame, parse', plain, () => parse(5))
frames('PUBLISH 5.0, three properties: frame, parse', withProperties, () => parse(5))
frames('PUBLISH 5.0: decodePacket', plain, () => {
  const packet = decodePacket(reader.buffer, reader.first, reader.body, reader.end, 5, 'from-client')
  sink += packet.type.length
})
frames(
  'PUBACK 3.1.1: frame, parse',
  encodePacket({ type: 'puback', packetId: 7, reasonCode: 0, properties: {} }, 4),
  () => {
    sink += parseAck(ack, reader.buffer, reader.first, reader.body, reader.end, 4)
  },
)
frames('PUBACK 5.0, reason: frame, parse', Buffer.from('4003000110', 'hex'), () => {
  sink += parseAck(ack, reader.buffer, reader.first, reader.body, reader.end, 5)
})

const out = new PublishOut()
const target = Buffer.alloc(CHUNK_BYTES)
out.setTopic(Buffer.from(publish.topic))
out.setPayload(publish.payload)
out.packetId = 7
out.qos = 1
function write(name: string, version: ProtocolVersion): void {
  out.version = version
  measure(name, () => {
    let count = 0
    for (let at = 0; at + publishSize(out) <= target.length; count++) at = writePublish(target, at, out)
    return count
  })
}
write('PUBLISH 3.1.1: size, write', 4)
write('PUBLISH 5.0: size, write', 5)
out.setForwarded(withProperties.subarray(plain.length - 64, plain.length - 64 + 40))
write('PUBLISH 5.0, 40 bytes of properties: size, write', 5)
measure('PUBACK: write', () => {
  let at = 0
  while (at + 5 <= target.length) at = writeAck(target, at, PACKET.PUBACK, 7, 0, 5)
  return at / 4
})

for (const size of [8, 16, 24, 32, 64, 256]) {
  const source = Buffer.alloc(size, 1)
  measure(`copy of ${size} bytes`, () => {
    for (let i = 0; i < 500; i++) sink += copyBytes(source, 0, size, target, i)
    return 500
  })
}
const ascii = Buffer.alloc(32, 0x61)
measure('UTF-8 check of 32 ASCII bytes', () => {
  for (let i = 0; i < 500; i++) if (isStrictUtf8(ascii, 0, 32)) sink++
  return 500
})

const peer = mqttPacket.parser({ protocolVersion: 4 })
let seen = 0
peer.on('packet', () => seen++)
const chunk = chunkOf(old)
measure('mqtt-packet, PUBLISH 3.1.1: parse', () => {
  seen = 0
  peer.parse(chunk)
  return seen
})
if (sink === -1) console.log(sink)
