import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { Message, QoS } from '../../../src/base/message.ts'
import { BatchReader, readTopicBlock } from '../../../src/mqtt/delivery/batch-reader.ts'
import { BatchWriter, topicBlock } from '../../../src/mqtt/delivery/batch-writer.ts'
import { ByteCache } from '../../../src/mqtt/delivery/byte-cache.ts'
import { Publication } from '../../../src/mqtt/routing/publication.ts'
import { messageOf } from '../session/values.ts'

const nameOf = (topic: string, filters: readonly string[] = [topic]) => ({ tenant: 't', topic, filters, group: null })
const topicOf = (names: Parameters<typeof topicBlock>[0]) => ({ block: topicBlock(names), batch: 0, number: 0 })

function publicationOf(message: Message): Publication {
  const publication = new Publication()
  publication.fromMessage(message)
  return publication
}

/** What a batch says, in lines. */
function read(batch: Buffer): string[] {
  const reader = new BatchReader()
  if (!reader.begin(batch)) return ['no batch']
  const lines: string[] = []
  let publisher = ''
  for (;;) {
    const found = reader.next()
    if (found === 'end' || found === 'bad') return found === 'end' ? lines : [...lines, 'bad']
    const part = batch.subarray(reader.start, reader.end)
    if (found === 'topic') {
      lines.push(JSON.stringify(readTopicBlock(part)))
      continue
    }
    if (reader.newPublisher) publisher = batch.toString('utf8', reader.publisherStart, reader.publisherEnd)
    const common = `${found} ${reader.topic} ${publisher} @${reader.timestamp}`
    if (found === 'packets') lines.push(`${common} v${reader.version} x${reader.count} ${part}`)
    else {
      const properties = batch.toString('hex', reader.propertiesStart, reader.propertiesEnd)
      const flags = `q${reader.qos}${reader.retain ? ' retain' : ''}${reader.force ? ' force' : ''}`
      lines.push(`${common} ${flags} e${reader.expirySeconds} [${properties}] ${part}`)
    }
  }
}

test('a batch brings topics once, and messages with all that belongs to them', () => {
  const writer = new BatchWriter(7, 60_000)
  const [a, b] = [topicOf(nameOf('a/ü', ['a/+', '#'])), topicOf(nameOf('b'))]
  expect(writer.empty).toBe(true)
  writer.add(a, publicationOf(messageOf({ payload: 'one', publisher: 'p1', timestamp: 2 ** 50 + 3 })))
  writer.add(b, publicationOf(messageOf({ payload: '', qos: 2, retain: true, publisher: 'p1', timestamp: 5 })))
  const properties = Uint8Array.of(1, 1)
  writer.add(
    a,
    publicationOf(
      messageOf({ payload: 'x'.repeat(30), qos: 1, expirySeconds: 4_000_000_000, properties, publisher: 'pü' }),
    ),
    true,
  )
  const packets = Buffer.from('..packets..')
  writer.addPackets(b, 'pü', 9, { version: 5, buffer: packets, start: 2, end: 9, count: 3 })
  expect(writer.messages).toBe(6)
  const batch = Buffer.from(writer.take())
  expect(read(batch)).toEqual([
    '{"tenant":"t","topic":"a/ü","filters":["a/+","#"],"group":null}',
    'message 0 p1 @1125899906842627 q0 e-1 [] one',
    '{"tenant":"t","topic":"b","filters":["b"],"group":null}',
    'message 1 p1 @5 q2 retain e-1 [] ',
    `message 0 pü @0 q1 force e4000000000 [0101] ${'x'.repeat(30)}`,
    'packets 1 pü @9 v5 x3 packets',
  ])
  // The next one begins anew.
  writer.add(b, publicationOf(messageOf({ payload: 'two', publisher: 'pü' })))
  expect(read(Buffer.from(writer.take()))).toEqual([
    '{"tenant":"t","topic":"b","filters":["b"],"group":null}',
    'message 0 pü @0 q0 e-1 [] two',
  ])
  expect(writer.empty).toBe(true)
})

test('a batch takes what fits, and a large message alone', () => {
  const writer = new BatchWriter(1, 1_000)
  const topic = topicOf(nameOf('a'))
  const small = publicationOf(messageOf({ payload: 'x'.repeat(100) }))
  const large = publicationOf(messageOf({ payload: 'y'.repeat(5_000) }))
  expect(writer.fits(writer.sizeOf(topic, large))).toBe(true)
  let count = 0
  while (writer.fits(writer.sizeOf(topic, small))) {
    writer.add(topic, small)
    count++
  }
  expect(count).toBeGreaterThan(5)
  expect(writer.bytes).toBeLessThanOrEqual(1_000)
  expect(writer.fits(writer.sizeOf(topic, large))).toBe(false)
  writer.take()
  writer.add(topic, large)
  expect(read(Buffer.from(writer.take()))[1]).toContain('y'.repeat(5_000))
})

test('a block names a group and its filter; one that does not make sense is none', () => {
  const group = { name: 'g', ordered: true }
  const names = { tenant: 't', topic: 'a', filters: ['+'], group }
  expect(readTopicBlock(Buffer.from(topicBlock(names)))).toEqual(names)
  expect(
    readTopicBlock(Buffer.from(topicBlock({ ...names, group: { ...group, ordered: false } })))!.group!.ordered,
  ).toBe(false)
  for (const bad of [
    { ...names, filters: [] },
    { ...names, filters: ['a', 'b'] },
    { ...names, tenant: '' },
    { ...names, topic: '' },
    { ...names, group: { ...group, name: '' } },
  ])
    expect(readTopicBlock(Buffer.from(topicBlock(bad)))).toBeNull()
  expect(readTopicBlock(Buffer.from([...topicBlock(names), 0]))).toBeNull()
  expect(readTopicBlock(Buffer.from([9, ...topicBlock(names).subarray(1)]))).toBeNull()
})

describe('bytes of anybody', () => {
  const random = seededRandom(1)
  const writer = new BatchWriter(1, 60_000)
  for (let i = 0; i < 20; i++) {
    const topic = topicOf(nameOf(`t/${i % 3}`))
    const properties = i % 4 === 0 ? Uint8Array.of(1, 1) : new Uint8Array(0)
    writer.add(
      topic,
      publicationOf(messageOf({ payload: 'x'.repeat(i), qos: (i % 3) as QoS, properties, publisher: `p${i % 2}` })),
    )
  }
  const good = Buffer.from(writer.take())

  test('cut short anywhere: an end or bad, never a throw', () => {
    const whole = read(good)
    for (let end = 0; end < good.length; end++) {
      const lines = read(Buffer.from(good.subarray(0, end)))
      const last = lines.at(-1)
      if (last === 'no batch' || last === undefined) continue
      expect(whole.slice(0, lines.length - 1)).toEqual(lines.slice(0, -1))
    }
  })

  test('changed anywhere: never a throw, never out of the batch', () => {
    for (let i = 0; i < Number(process.env.FUZZ ?? 5_000); i++) {
      const bytes = Buffer.from(good)
      for (let j = 0; j <= random.below(4); j++) bytes[random.below(bytes.length)] = random.below(256)
      read(bytes)
    }
    for (let i = 0; i < 2_000; i++) {
      const bytes = Buffer.from(Array.from({ length: 10 + random.below(60) }, () => random.below(256)))
      bytes[0] = 1
      bytes.writeDoubleBE(1, 2)
      read(bytes)
    }
  })

  test('of another format: not read', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from([1, 0]), Buffer.from([2, ...good.subarray(1)])]) {
      expect(read(bytes)).toEqual(['no batch'])
    }
    const run = Buffer.from(good)
    run.writeDoubleBE(Number.NaN, 2)
    expect(read(run)).toEqual(['no batch'])
  })
})

test('a cache by bytes keeps what fits, finds nothing else', () => {
  const cache = new ByteCache<number>(64)
  const random = seededRandom(3)
  const key = (i: number) => Buffer.from(`key ${i}`)
  for (let i = 0; i < 1_000; i++) {
    const bytes = Buffer.concat([Buffer.from('..'), key(i), Buffer.from('..')])
    cache.keep(bytes, 2, bytes.length - 2, i)
    expect(cache.find(key(i), 0, key(i).length)).toBe(i)
    const other = random.below(i + 1)
    const found = cache.find(key(other), 0, key(other).length)
    if (found !== null) expect(found).toBe(other)
  }
  const long = Buffer.alloc(2_000)
  cache.keep(long, 0, long.length, 1)
  expect(cache.find(long, 0, long.length)).toBeNull()
})
