import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { FeedEntry } from '../../../src/inbox/index.ts'
import { type Letter, LetterWriter, NewsWriter, readLetters, readNews } from '../../../src/inbox/remote/letters.ts'
import { message } from '../harness.ts'

const NAME = Buffer.from('acme\0böse\0').toString('latin1')

const entry = (sequence: number, of = message('x'), fields: Partial<FeedEntry> = {}): FeedEntry => ({
  ...{ sequence, packetId: 1 + (sequence % 32_767), qos: 1, dup: false, released: false, message: of, retain: false },
  ...{ subscriptionIds: [], ...fields },
})

test('letters are read back', () => {
  const letters: Letter[] = [
    { type: 'watch', name: NAME, connection: '' },
    { type: 'watch', name: NAME, connection: 'n1/7' },
    { type: 'limit', name: NAME, upTo: 2 ** 40 },
    { type: 'unwatch', name: NAME, connection: '' },
    {
      ...{ type: 'pass', name: NAME, incarnation: 2 ** 45, hops: 1, retain: true, subscriptionIds: [1, 300] },
      message: message('payload', { qos: 0, properties: Buffer.from([1, 2]) }),
    },
  ]
  const writer = new LetterWriter()
  expect(writer.length).toBe(0)
  for (const letter of letters) writer.write(77, letter)
  const read = readLetters(writer.finish())
  expect(read).toEqual({ stream: 77, letters })
  expect(writer.length).toBe(0)
})

test('news are read back; a payload that several share is there once', () => {
  const big = message('y'.repeat(1_000))
  const writer = new NewsWriter()
  writer.watch('watching', NAME, 'n1/7')
  writer.watch('lost', NAME, '')
  writer.tail(NAME, 9)
  writer.grown(NAME, entry(40_000, big))
  writer.grown(`${NAME}2`, entry(3, big))
  writer.grown(NAME, entry(40_001, big, { qos: 2, subscriptionIds: [5] }))
  writer.assigned(NAME, 'm', 'n1/7', entry(4, big, { packetId: 0 }))
  writer.attached(NAME, 12, 'n2/1')
  writer.ended(NAME, 12, 'removed')
  const bytes = writer.finish()
  expect(bytes.length).toBeLessThan(3_600)
  const bytesOf = (news: ReturnType<typeof readNews>[number]) => (news.type === 'grown' ? news.bytes : 0)
  const news = readNews(bytes)
  expect(news.map(bytesOf).map((count) => count > 1_000)).toEqual([
    false,
    false,
    false,
    true,
    true,
    true,
    false,
    false,
    false,
  ])
  expect(news).toEqual([
    { type: 'watching', name: NAME, connection: 'n1/7' },
    { type: 'lost', name: NAME, connection: '' },
    { type: 'tail', name: NAME, sequence: 9 },
    { type: 'grown', name: NAME, entry: entry(40_000, big), bytes: expect.any(Number) },
    { type: 'grown', name: `${NAME}2`, entry: entry(3, big), bytes: expect.any(Number) },
    {
      ...{ type: 'grown', name: NAME, bytes: expect.any(Number) },
      entry: entry(40_001, big, { qos: 2, subscriptionIds: [5] }),
    },
    { type: 'assigned', name: NAME, member: 'm', connection: 'n1/7', entry: entry(4, big, { packetId: 0 }) },
    { type: 'attached', name: NAME, incarnation: 12, connection: 'n2/1' },
    { type: 'ended', name: NAME, incarnation: 12, reason: 'removed' },
  ])
})

test('nothing to say is a chunk as well', () => {
  expect(readNews(new NewsWriter().finish())).toEqual([])
})

test('damaged bytes throw, and nothing worse', () => {
  const writer = new NewsWriter()
  writer.grown(NAME, entry(1))
  writer.assigned(NAME, 'm', 'c', entry(2))
  writer.ended(NAME, 1, 'expired')
  const letters = new LetterWriter()
  letters.write(1, { type: 'watch', name: NAME, connection: 'c' })
  letters.write(1, {
    ...{ type: 'pass', name: NAME, incarnation: 1, hops: 0, retain: false, subscriptionIds: [9] },
    message: message('p'),
  })
  const random = seededRandom(7)
  for (const [whole, read] of [
    [writer.finish(), readNews],
    [letters.finish(), readLetters],
  ] as const) {
    let refused = 0
    for (let i = 0; i < 2_000; i++) {
      const bytes = Buffer.from(whole)
      for (let flips = random.below(4); flips >= 0; flips--) bytes[random.below(bytes.length)] = random.below(256)
      try {
        read(bytes.subarray(0, random.below(bytes.length + 1)))
      } catch (error) {
        refused++
        expect(error).toMatchObject({ code: 'STORAGE_FAILED' })
      }
    }
    expect(refused).toBeGreaterThan(500)
  }
})
