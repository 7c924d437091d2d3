import { expect, test } from 'vitest'
import { check, type Delivery, type History, newHistory, type Publish } from './checker.ts'

/** Publishes `p1`, `p2`, ... of one publisher, all acknowledged, and a session `s` that is to get them. */
function history(publishes: Partial<Publish>[], deliveries: (Partial<Delivery> & { id: string })[]): History {
  return {
    ...newHistory(),
    publishes: publishes.map((publish, i) => ({
      ...{ id: `p${i + 1}`, publisher: 'p', topic: 'a/b', qos: 1, number: i + 1, sends: 1 },
      ...{ sentMs: 10 + i, answeredMs: 20 + i, outcome: 'ok' },
      ...publish,
    })),
    deliveries: deliveries.map((delivery, i) => ({
      ...{ session: 's', topic: 'a/b', qos: 1, dup: false, packetId: i + 1, connection: 1, atMs: 100 + i },
      ...delivery,
    })),
    sessions: [{ name: 's', filter: 'a/#', sinceMs: 5 }],
  }
}

function kinds(given: History): string[] {
  return check(given).map(({ kind, detail }) => `${kind} ${detail.split(/[, ]/, 1)[0]}`)
}

const TWO_OF_QOS_2: Partial<Publish>[] = [{ qos: 2 }, { qos: 2 }]

test('a history of which every message came once and in order is clean', () => {
  expect(kinds(history([{}, {}, { qos: 2 }], [{ id: 'p1' }, { id: 'p3', qos: 2 }, { id: 'p2' }]))).toEqual([])
})

test('an acknowledged message that never came is lost, of both qualities', () => {
  expect(kinds(history([{}, { qos: 2 }, {}], [{ id: 'p3' }]))).toEqual(['lost p1', 'lost p2'])
})

test('lost are only messages that the session was promised', () => {
  const given = history([{ outcome: 'unknown' }, { outcome: 'failed' }, { topic: 'c' }, { sentMs: 4 }], [])
  expect(kinds(given)).toEqual([])
})

test('what was not acknowledged may come all the same', () => {
  expect(kinds(history([{ outcome: 'unknown' }, { outcome: 'failed' }], [{ id: 'p1' }, { id: 'p2' }]))).toEqual([])
})

test('what was sent before the SUBACK has no order, and what was sent before it is due may be missing', () => {
  const given = history([{}, {}, {}, {}], [{ id: 'p3' }, { id: 'p1' }])
  expect(kinds(given)).toEqual(['lost p2', 'lost p4', 'order p1'])
  given.sessions = [{ name: 's', filter: 'a/#', sinceMs: 11, dueMs: 13 }]
  expect(kinds(given)).toEqual(['lost p4'])
})

test('each session has its own account', () => {
  const given = history([{}], [{ id: 'p1' }])
  given.sessions.push({ name: 't', filter: '#', sinceMs: 0 })
  expect(check(given)).toMatchObject([{ kind: 'lost', session: 't' }])
  given.deliveries.push({ ...given.deliveries[0]!, session: 't' })
  expect(check(given)).toEqual([])
})

test('QoS 2 that came twice is doubled, marked or not', () => {
  const deliveries = [{ id: 'p1' }, { id: 'p2' }, { id: 'p1', dup: true, connection: 2 }]
  const twice = deliveries.map((delivery) => ({ ...delivery, qos: 2 }) as const)
  expect(kinds(history(TWO_OF_QOS_2, twice))).toEqual(['doubled p1'])
})

test('QoS 1 may come again after a reconnect, marked', () => {
  const again = { id: 'p1', packetId: 1, connection: 2 }
  expect(kinds(history([{}], [{ id: 'p1' }, { ...again, dup: true }]))).toEqual([])
  expect(kinds(history([{}], [{ id: 'p1' }, again]))).toEqual(['unmarked p1'])
})

test('a QoS 1 publish that was sent again may be there twice, a QoS 2 one never', () => {
  const twice = [{ id: 'p1' }, { id: 'p1' }]
  expect(kinds(history([{ sends: 2 }], twice))).toEqual([])
  expect(kinds(history([{ sends: 2, qos: 2 }], twice))).toEqual(['unmarked p1'])
})

test('a later message that comes first is out of order, of each topic and quality alone', () => {
  expect(kinds(history([{}, {}, {}], [{ id: 'p2' }, { id: 'p1' }, { id: 'p3' }]))).toEqual(['order p1'])
  const mixed: Partial<Publish>[] = [{}, { qos: 2 }, { topic: 'a/c' }, { publisher: 'q', number: 1 }]
  const backwards = [{ id: 'p4' }, { id: 'p3', topic: 'a/c' }, { id: 'p2', qos: 2 as const }, { id: 'p1' }]
  expect(kinds(history(mixed, backwards))).toEqual([])
})

test('a repetition does not count for the order', () => {
  const again = { id: 'p1', packetId: 1, connection: 2, dup: true }
  expect(kinds(history([{}, {}], [{ id: 'p1' }, { id: 'p2' }, again]))).toEqual([])
})

test('a message that nobody published, or with another topic, is a ghost', () => {
  const given = history([{}], [{ id: 'p1', topic: 'a/c' }, { id: 'p1' }, { id: 'p9' }])
  expect(kinds(given)).toEqual(['ghost p1', 'ghost p9'])
})

test('the members of a group share what is promised, each message for one of them', () => {
  const members = ['m', 'n']
  const given = history(
    [{}, { qos: 2 }, {}],
    [
      { id: 'p2', qos: 2, session: 'm' },
      { id: 'p1', session: 'n' },
    ],
  )
  given.sessions = [{ name: 'g', filter: 'a/b', sinceMs: 0, members }]
  expect(kinds(given)).toEqual(['lost p3'])
  // What one has not acknowledged may go to the other, but for QoS 2 that was begun.
  given.deliveries.push({ ...given.deliveries[1]!, session: 'm' })
  expect(kinds(given)).toEqual(['lost p3'])
  given.deliveries.push({ ...given.deliveries[0]!, session: 'n' })
  expect(kinds(given)).toEqual(['lost p3', 'doubled p2'])
})

test('what a new connection repeats comes in the order of old', () => {
  const first = [
    { id: 'p1', packetId: 1 },
    { id: 'p2', packetId: 2 },
    { id: 'p3', packetId: 3 },
  ]
  const again = first.map((delivery) => ({ ...delivery, connection: 2, dup: true }))
  const publishes = [{}, {}, {}]
  expect(kinds(history(publishes, [...first, ...again]))).toEqual([])
  // A repetition that broke off moves nothing to the end.
  const third = again.map((delivery) => ({ ...delivery, connection: 3 }))
  expect(kinds(history(publishes, [...first, again[0]!, ...third]))).toEqual([])
  expect(kinds(history(publishes, [...first, again[0]!, again[2]!, again[1]!]))).toEqual(['resend-order p2'])
})

test('what a client noticed by itself is told as it is', () => {
  const given = history([], [])
  given.anomalies.push({ kind: 'session-lost', session: 's', detail: 'connection 2' })
  expect(kinds(given)).toEqual(['session-lost connection'])
})
