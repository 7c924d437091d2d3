import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Cursor } from '../../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import {
  findMarker,
  type SnapshotLimits,
  type SnapshotMessage,
  SnapshotReceiver,
  SnapshotSender,
  TokenBucket,
} from '../../../src/kv/snapshot/index.ts'
import { Packer, type Pair, Unpacker } from '../../../src/kv/snapshot/pairs.ts'
import { checksumOfLast, checksumOfOffer } from '../../../src/kv/snapshot/wire.ts'
import { bytes, checksum, DESCRIPTOR, dump, LIMITS, offerOf, plenty, put, records, senderOf } from './fixture.ts'

const HARD = put('raft', 'r1\0s', 'term and vote')
const PLACED = put('raft', 'r1\0s', 'term, vote, and the place')

/** Of the first chunk of stream 1. */
const sumOf = (chunk: Uint8Array) => checksum(chunk, checksumOfOffer(offerOf(1), checksum))

/** The records that make the range valid. */
const LAST = records()
  .slice(0, 3)
  .map(({ write }) => ({
    key: write.type === 'put' ? write.key : bytes(''),
    value: write.type === 'put' ? write.value : bytes(''),
  }))

function sourceEngine(values: Record<string, string>): MemoryEngine {
  const engine = new MemoryEngine()
  const data = Object.entries(values).map(([key, value]) => put('inbox', key, value))
  engine.land({ writes: [...records(), ...data, put('inbox', 'a', 'below'), put('inbox', 'y', 'above')], sync: true })
  engine.land({ writes: [put('meta', 'inbox\0r10\0d', 'another range'), put('meta', 'dist\0r1\0d', 'x')], sync: true })
  return engine
}

function receiverOf(limits: SnapshotLimits = LIMITS, offer = offerOf(1)): SnapshotReceiver {
  const options = { offer, boundaries: [], firstWrites: [HARD], lastWrites: [PLACED], checksum, nowMs: 0 }
  return new SnapshotReceiver({ ...options, limits })
}

/** Of the last chunk that was sent. */
let chunkSum = 0

/** As a sender would say it that means what it says. */
function resummed(end: SnapshotMessage & { type: 'end' }): SnapshotMessage {
  return { ...end, checksum: checksumOfLast(end.last, chunkSum, checksum) }
}

/** Moves everything at once. Gives what went from the sender, changed by `change` on its way. */
function run(
  sender: SnapshotSender,
  receiver: SnapshotReceiver,
  target: MemoryEngine,
  change = (message: SnapshotMessage): SnapshotMessage | null => message,
): SnapshotMessage[] {
  const sent: SnapshotMessage[] = []
  for (let moved = true; moved; ) {
    moved = false
    for (let message = sender.next(0); message !== null; message = sender.next(0)) {
      moved = true
      sent.push(message)
      if (message.type === 'chunk') chunkSum = message.checksum
      const arrives = change(message)
      if (arrives !== null && (arrives.type === 'chunk' || arrives.type === 'end' || arrives.type === 'cancel')) {
        receiver.receive(arrives, 0)
      }
    }
    for (let batch = receiver.next(0); batch !== null; batch = receiver.next(0)) {
      moved = true
      target.land(batch)
      receiver.landed(0)
    }
    for (let answer = receiver.answer(); answer !== null; answer = receiver.answer()) {
      moved = true
      if (answer.type === 'credit' || answer.type === 'done' || answer.type === 'cancel') sender.receive(answer, 0)
    }
  }
  return sent
}

describe('a snapshot', () => {
  test('carries the keys and the records of the range, and nothing else', () => {
    const source = sourceEngine({ b: '1', c: 'long '.repeat(90), 'c\0d': '', x: '9' })
    const target = new MemoryEngine()
    const old = [put('inbox', 'c', 'old'), put('inbox', 'z', 'foreign'), put('meta', 'inbox\0r10\0d', 'foreign')]
    target.land({ writes: [...old, put('meta', 'inbox\0r1\0sold', 'old'), put('raft', 'r1\0s', 'old')], sync: true })
    const sender = senderOf(source, offerOf(1), plenty())
    source.land({ writes: [put('inbox', 'd', 'too late')], sync: true })
    const receiver = receiverOf()
    const sent = run(sender, receiver, target)
    expect([sender.outcome, receiver.outcome]).toEqual(['installed', 'installed'])
    const expected = new Map([...dump(source)].filter(([key]) => /^(inbox [b-x]|meta inbox\0r1\0)/.test(key)))
    expected.delete('inbox d')
    for (const [key, value] of [
      ['inbox z', 'foreign'],
      ['meta inbox\0r10\0d', 'foreign'],
      ['raft r1\0s', 'term, vote, and the place'],
    ] as const) {
      expected.set(key, value)
    }
    const order = (map: Map<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))
    expect(order(dump(target))).toEqual(order(expected))
    const chunks = sent.filter((message) => message.type === 'chunk')
    expect(chunks.length).toBeGreaterThan(5)
    expect(chunks.slice(0, -1).every((chunk) => chunk.bytes.length === LIMITS.chunkBytes)).toBe(true)
  })

  test('of an empty range is installed too', () => {
    const target = new MemoryEngine()
    const sender = senderOf(sourceEngine({}), offerOf(1), plenty())
    run(sender, receiverOf(), target)
    expect(sender.outcome).toBe('installed')
    expect(dump(target).size).toBe(6)
  })

  test('begins with a synced batch of marker and deletions, ends with one without the marker', () => {
    const target = new MemoryEngine()
    target.land({ writes: [put('inbox', 'c', 'old'), ...records()], sync: true })
    const receiver = receiverOf()
    const first = receiver.next(0)!
    expect(first.sync).toBe(true)
    expect([receiver.answer(), receiver.answer()]).toEqual([{ type: 'credit', stream: 1, upTo: 0 }, null])
    target.land(first)
    expect(findMarker(target, 'inbox', 'r1')).toEqual({
      replica: 2,
      snapshot: { index: 57, term: 3 },
      boundaries: [{ start: DESCRIPTOR.start, end: DESCRIPTOR.end }],
    })
    expect([...dump(target).keys()]).toEqual(['raft r1\0s', 'meta inbox\0r1\0i'])
    expect(receiver.next(0)).toBeNull()
    receiver.landed(0)
    expect(receiver.answer()).toEqual({ type: 'credit', stream: 1, upTo: LIMITS.windowChunks })
    const chunk = new Uint8Array([0, 1, 0, 0x63])
    receiver.receive({ type: 'chunk', stream: 1, number: 1, bytes: chunk, checksum: sumOf(chunk) }, 0)
    receiver.receive(
      { type: 'end', stream: 1, chunks: 1, checksum: checksumOfLast(LAST, sumOf(chunk), checksum), last: LAST },
      0,
    )
    const middle = receiver.next(0)!
    expect(middle).toEqual({ writes: [put('inbox', 'c', '')], sync: false })
    receiver.landed(0)
    const final = receiver.next(0)!
    expect(final.sync).toBe(true)
    expect(final.writes.at(-1)).toEqual({ family: 'meta', write: { type: 'delete', key: bytes('inbox\0r1\0i') } })
    expect([receiver.outcome, receiver.idle]).toEqual([null, false])
    receiver.landed(0)
    expect([receiver.outcome, receiver.idle]).toEqual(['installed', true])
    expect(receiver.answer()).toEqual({ type: 'done', stream: 1, outcome: 'installed' })
  })
})

describe('the sender', () => {
  test('sends no more than it has credit for', () => {
    const sender = senderOf(sourceEngine({ b: 'x'.repeat(1_000) }), offerOf(1), plenty())
    expect(sender.next(0)?.type).toBe('offer')
    expect(sender.next(0)).toBeNull()
    sender.receive({ type: 'credit', stream: 1, upTo: 2 }, 0)
    expect([sender.next(0)?.type, sender.next(0)?.type, sender.next(0)]).toEqual(['chunk', 'chunk', null])
    expect(sender.waitMs(500)).toBe(1_500)
  })

  test('shares the bandwidth', () => {
    const bucket = new TokenBucket(1_000, 100, 0)
    const source = sourceEngine({ b: 'x'.repeat(1_000) })
    const [one, two] = [senderOf(source, offerOf(1), bucket), senderOf(source, offerOf(2), bucket)]
    for (const sender of [one, two]) {
      sender.next(0)
      sender.receive({ type: 'credit', stream: 1, upTo: 99 }, 0)
    }
    expect(one.next(0)?.type).toBe('chunk')
    expect(two.next(0)).toBeNull()
    expect(two.waitMs(0)).toBe(1)
    expect(two.next(1)?.type).toBe('chunk')
    expect(one.next(50)).toBeNull()
    expect(one.waitMs(50)).toBe(50)
    expect(one.next(101)?.type).toBe('chunk')
  })

  test('gives up where nothing is heard', () => {
    const sender = senderOf(sourceEngine({}), offerOf(1), plenty())
    sender.next(0)
    expect(sender.next(1_999)).toBeNull()
    expect(sender.next(2_000)).toEqual({ type: 'cancel', stream: 1, reason: 'nothing was heard' })
    expect(sender.next(2_000)).toBeNull()
    expect(sender.outcome).toBe('failed')
  })

  test('hears that the receiver lives', () => {
    const sender = senderOf(sourceEngine({}), offerOf(1), plenty())
    sender.next(0)
    sender.receive({ type: 'credit', stream: 1, upTo: 5 }, 1_500)
    sender.receive({ type: 'credit', stream: 1, upTo: 3 }, 1_500)
    let chunks = 0
    while (sender.next(2_500)?.type === 'chunk') chunks++
    expect([chunks, sender.outcome]).toEqual([4, null])
  })

  test('keeps nothing that the next move of a cursor changes', () => {
    const source = sourceEngine({ b: '1' })
    const inner = source.cursor('meta', { start: bytes('inbox\0r1\0'), end: bytes('inbox\0r1\x01') })
    const [key, value] = [new Uint8Array(64), new Uint8Array(1_000)]
    const records: Cursor = {
      get valid() {
        return inner.valid
      },
      get key() {
        key.set(inner.key)
        return key.subarray(0, inner.key.length)
      },
      get value() {
        value.set(inner.value)
        return value.subarray(0, inner.value.length)
      },
      seek: (to) => inner.seek(to),
      seekBefore: (to) => inner.seekBefore(to),
      next: () => inner.next(),
      close: () => inner.close(),
    }
    const cursors = { data: source.cursor('inbox', { start: bytes('b'), end: bytes('y') }), records }
    const shared = { offer: offerOf(1), bucket: plenty(), limits: LIMITS, checksum, nowMs: 0 }
    const receiver = receiverOf()
    run(new SnapshotSender({ ...shared, source: cursors }), receiver, new MemoryEngine())
    expect([receiver.outcome, receiver.reason]).toEqual(['installed', ''])
  })

  test.each<[string, (sender: SnapshotSender) => void]>([
    ['at its end', (sender) => run(sender, receiverOf(), new MemoryEngine())],
    ['when it is not wanted', (sender) => sender.receive({ type: 'done', stream: 1, outcome: 'needless' }, 0)],
    ['when the host gives up', (sender) => sender.cancel('the range is gone')],
  ])('closes its cursors once, %s', (_, end) => {
    const closed: string[] = []
    const source = sourceEngine({ b: '1' })
    const counted = (name: string, inner: Cursor): Cursor => {
      const close = inner.close.bind(inner)
      inner.close = () => {
        closed.push(name)
        close()
      }
      return inner
    }
    const cursors = {
      data: counted('data', source.cursor('inbox', { start: bytes('b'), end: bytes('y') })),
      records: counted('records', source.cursor('meta', { start: bytes('inbox\0r1\0'), end: bytes('inbox\0r1\x01') })),
    }
    const shared = { offer: offerOf(1), bucket: plenty(), limits: LIMITS, checksum, nowMs: 0 }
    const sender = new SnapshotSender({ ...shared, source: cursors })
    end(sender)
    sender.cancel('again')
    expect(closed.sort()).toEqual(['data', 'records'])
  })

  test('knows what came of it', () => {
    const needless = senderOf(sourceEngine({}), offerOf(1), plenty())
    needless.next(0)
    needless.receive({ type: 'done', stream: 1, outcome: 'needless' }, 0)
    needless.receive({ type: 'cancel', stream: 1, reason: 'too late' }, 0)
    expect([needless.outcome, needless.next(0)]).toEqual(['needless', null])
    const cancelled = senderOf(sourceEngine({}), offerOf(1), plenty())
    cancelled.receive({ type: 'cancel', stream: 1, reason: 'busy' }, 0)
    expect([cancelled.outcome, cancelled.reason]).toEqual(['failed', 'the receiver gave up: busy'])
    const early = senderOf(sourceEngine({}), offerOf(1), plenty())
    early.receive({ type: 'done', stream: 1, outcome: 'installed' }, 0)
    expect([early.outcome, early.next(0)?.type]).toEqual(['failed', 'cancel'])
  })
})

test('pairs are cut anywhere and put together again', () => {
  const pair = fc.record({
    of: fc.constantFrom('data', 'record' as const),
    key: fc.uint8Array({ maxLength: 20 }),
    value: fc.uint8Array({ maxLength: 300 }),
  })
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 8 }), fc.integer({ min: 1, max: 90 }), (pairs, chunkBytes) => {
      const left = pairs.slice() as Pair[]
      const packer = new Packer(() => left.shift() ?? null, chunkBytes)
      const unpacker = new Unpacker(LIMITS)
      const read: Pair[] = []
      for (let chunk = packer.chunk(); chunk !== null; chunk = packer.chunk()) {
        expect(unpacker.push(chunk, (each) => read.push(each))).toBeNull()
      }
      expect(unpacker.whole).toBe(true)
      expect(read).toEqual(pairs)
    }),
  )
})

test('bandwidth is saved up to a burst, and time does not go back', () => {
  const bucket = new TokenBucket(1_000, 100, 0)
  bucket.take(150, 3_600_000)
  expect(bucket.waitMs(3_600_000)).toBe(50)
  expect(bucket.waitMs(3_600_020)).toBe(30)
  expect(bucket.waitMs(0)).toBe(30)
  expect(bucket.waitMs(3_600_030)).toBe(20)
  expect(bucket.waitMs(3_600_051)).toBe(0)
})

describe('the receiver gives up', () => {
  type Change = (message: SnapshotMessage) => SnapshotMessage | null
  const flip = (data: Uint8Array, place = 50) => data.map((byte, at) => (at === place ? byte ^ 4 : byte))
  const chunkTwo =
    (change: (message: SnapshotMessage & { type: 'chunk' }) => SnapshotMessage | null): Change =>
    (message) =>
      message.type === 'chunk' && message.number === 2 ? change(message) : message
  const atEnd =
    (change: (message: SnapshotMessage & { type: 'end' }) => SnapshotMessage): Change =>
    (message) =>
      message.type === 'end' ? change(message) : message
  const last = (at: number, value: Uint8Array): Change =>
    atEnd((end) =>
      resummed({ ...end, last: end.last.map((each, place) => (place === at ? { ...each, value } : each)) }),
    )
  const cases: [string, Change, string][] = [
    ['a damaged chunk', chunkTwo((chunk) => ({ ...chunk, bytes: flip(chunk.bytes) })), 'damaged'],
    ['a chunk that is lost', chunkTwo(() => null), 'does not follow'],
    ['a chunk too long', chunkTwo((chunk) => ({ ...chunk, bytes: new Uint8Array(101) })), '101 bytes'],
    ['chunks that change places', chunkTwo((chunk) => ({ ...chunk, number: 3 })), 'does not follow'],
    ['an end too early', atEnd((end) => ({ ...end, chunks: end.chunks + 1 })), 'not all of'],
    ['another checksum at the end', atEnd((end) => ({ ...end, checksum: 1 })), 'damaged'],
    ['no descriptor', atEnd((end) => resummed({ ...end, last: end.last.slice(0, 2) })), 'missing'],
    [
      'a record that was damaged',
      atEnd((end) => ({ ...end, last: end.last.map((each) => ({ ...each, value: flip(each.value, 0) })) })),
      'its end is damaged',
    ],
    ['a state of another place', last(0, new Uint8Array([58, 5, 6])), 'at 58, not at 57'],
    ['a descriptor that cannot be read', last(2, new Uint8Array([9])), 'cannot be read'],
    [
      'a record that is not the range’s',
      atEnd((end) => resummed({ ...end, last: [...end.last, { key: bytes('inbox\0r2\0d'), value: bytes('') }] })),
      'not known',
    ],
  ]
  test.each(cases)('at %s', (_, change, why) => {
    const target = new MemoryEngine()
    const sender = senderOf(sourceEngine({ b: 'x'.repeat(500) }), offerOf(1), plenty())
    const receiver = receiverOf()
    run(sender, receiver, target, change)
    expect([receiver.outcome, sender.outcome]).toEqual(['failed', 'failed'])
    expect(receiver.reason).toContain(why)
    expect(receiver.idle).toBe(true)
    expect(findMarker(target, 'inbox', 'r1')).not.toBeNull()
    expect(receiver.next(0)).toBeNull()
  })

  const sources: [string, ReturnType<typeof put>, string][] = [
    ['a key of another range', put('inbox', 'a', ''), 'not of this range'],
    ['a record of another range', put('meta', 'inbox\0r10\0sx', ''), 'not of this range'],
    ['a record before its time', put('meta', 'inbox\0r1\0d', ''), 'before its time'],
    ['a marker', put('meta', 'inbox\0r1\0i', ''), 'before its time'],
  ]
  test.each(sources)('at %s', (_, { family, write }, why) => {
    const receiver = receiverOf()
    receiver.next(0)
    receiver.landed(0)
    const data = new Uint8Array([family === 'inbox' ? 0 : 1, write.type === 'put' ? write.key.length : 0, 0])
    const chunk = new Uint8Array([...data, ...(write.type === 'put' ? write.key : [])])
    receiver.receive({ type: 'chunk', stream: 1, number: 1, bytes: chunk, checksum: sumOf(chunk) }, 0)
    expect(receiver.reason).toContain(why)
  })

  const malformed: [string, number[], string][] = [
    ['a pair of nothing that is known', [2], 'not known'],
    ['a key too long', [0, 0xff, 0xff, 0x7f], 'longer than'],
    ['keys that go back', [0, 1, 0, 0x63, 0, 1, 0, 0x62], 'after a later one'],
  ]
  test.each(malformed)('at %s', (_, list, why) => {
    const receiver = receiverOf()
    const chunk = new Uint8Array(list)
    receiver.receive({ type: 'chunk', stream: 1, number: 1, bytes: chunk, checksum: sumOf(chunk) }, 0)
    expect(receiver.reason).toContain(why)
  })

  test('at chunks that were not granted', () => {
    const receiver = receiverOf()
    let sum = checksumOfOffer(offerOf(1), checksum)
    for (let number = 1; number <= 3; number++) {
      const chunk = new Uint8Array([0, 1, 0, 0x62 + number])
      sum = checksum(chunk, sum)
      receiver.receive({ type: 'chunk', stream: 1, number, bytes: chunk, checksum: sum }, 0)
    }
    expect(receiver.reason).toContain('was not granted')
  })

  const end = {
    type: 'end' as const,
    stream: 1,
    chunks: 0,
    checksum: checksumOfLast(LAST, checksumOfOffer(offerOf(1), checksum), checksum),
    last: LAST,
  }
  const chunk = { type: 'chunk' as const, stream: 1, number: 1, bytes: bytes('x'), checksum: sumOf(bytes('x')) }
  const half = new Uint8Array([0, 2, 0, 0x63])
  const ends: [string, (receiver: SnapshotReceiver) => void, string][] = [
    ['two ends', (receiver) => receiver.receive(end, 0), 'ends twice'],
    ['a chunk after the end', (receiver) => receiver.receive(chunk, 0), 'after the end'],
  ]
  test.each(ends)('at %s', (_, more, why) => {
    const receiver = receiverOf()
    receiver.receive(end, 0)
    expect(receiver.outcome).toBeNull()
    more(receiver)
    expect(receiver.reason).toContain(why)
  })

  test('where it was offered something else', () => {
    const { config, ...place } = offerOf(1).snapshot
    const snapshot = { ...place, config: { ...config, voters: [1, 3] } }
    const receiver = receiverOf(LIMITS, { ...offerOf(1), snapshot })
    receiver.receive(chunk, 0)
    expect(receiver.reason).toBe('chunk 1 is damaged')
  })

  test('at half a pair', () => {
    const receiver = receiverOf()
    const sum = sumOf(half)
    receiver.receive({ ...chunk, bytes: half, checksum: sum }, 0)
    receiver.receive({ ...end, chunks: 1, checksum: checksumOfLast(LAST, sum, checksum) }, 0)
    expect(receiver.reason).toContain('within a pair')
  })

  test('at last records that are too long', () => {
    const receiver = receiverOf({ ...LIMITS, lastBytesMax: 50 })
    receiver.receive(end, 0)
    expect(receiver.reason).toContain('the last records have')
  })

  test('where nothing is heard, but not while its disk is busy', () => {
    const receiver = receiverOf()
    expect(receiver.next(5_000)).not.toBeNull()
    expect(receiver.next(9_000)).toBeNull()
    expect(receiver.outcome).toBeNull()
    receiver.landed(9_000)
    receiver.next(10_999)
    expect(receiver.outcome).toBeNull()
    receiver.next(11_000)
    expect([receiver.outcome, receiver.reason]).toEqual(['failed', 'nothing was heard'])
  })

  test('at the sender’s word', () => {
    const receiver = receiverOf()
    receiver.receive({ type: 'cancel', stream: 1, reason: 'the leadership is lost' }, 0)
    expect(receiver.reason).toBe('the sender gave up: the leadership is lost')
    expect([receiver.answer()?.type, receiver.answer()]).toEqual(['credit', null])
  })
})
