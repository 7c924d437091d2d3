import { expect, test } from 'vitest'
import { type Delivery, type History, newHistory, type Publish } from '../durability/checker.ts'
import type { Overheard } from './clients.ts'
import { type CheckName, Judge } from './judge.ts'
import { planRound } from './plan.ts'

const NOBODY = () => false

function publish(id: string, more: Partial<Publish> = {}): Publish {
  return {
    ...{
      id,
      publisher: id.split('-')[0]!,
      topic: 't/a',
      qos: 2,
      number: Number(id.split('-')[1]),
      sentMs: 10,
      sends: 1,
    },
    ...{ answeredMs: 20, outcome: 'ok' },
    ...more,
  }
}

function delivery(id: string, more: Partial<Delivery> = {}): Delivery {
  return { session: 's', id, topic: 't/a', qos: 2, dup: false, packetId: 1, connection: 1, atMs: 30, ...more }
}

function history(): History {
  return { ...newHistory(), sessions: [{ name: 's', filter: '#', sinceMs: 0 }] }
}

function judged(given: History, overheard: Overheard[] = [], without: CheckName[] = []): string[] {
  return new Judge(given, without)
    .round(overheard, NOBODY)
    .map(({ kind, detail }) => `${kind} ${detail.split(/[, ]/, 1)}`)
}

test('what is acknowledged and never came is lost, unless nobody wants to know', () => {
  const given = history()
  given.publishes.push(publish('p-1'), publish('p-2'))
  given.deliveries.push(delivery('p-2'))
  expect(judged({ ...given })).toEqual(['lost p-1'])
  expect(judged({ ...given }, [], ['lost'])).toEqual([])
})

test('a will that is due and does not come, comes twice, or comes although its client said good-bye', () => {
  const given = history()
  given.publishes.push(publish('mortal1-1'), publish('mortal1-2'), publish('mortal1-3', { outcome: 'unknown' }))
  given.deliveries.push(delivery('mortal1-2'), delivery('mortal1-2', { packetId: 2 }), delivery('mortal1-3'))
  const judge = new Judge(given, [])
  judge.cancel(['mortal1-3'])
  const found = judge.round([], NOBODY).map(({ kind, detail }) => `${kind} ${detail}`)
  expect(found.map((text) => text.split(',')[0])).toEqual([
    'wills mortal1-1',
    'wills mortal1-2',
    'wills mortal1-3 fired',
  ])
})

test('an older connection gets nothing that was sent after the CONNACK of a newer one', () => {
  const given = history()
  given.publishes.push(publish('p-1', { sentMs: 90 }), publish('p-2', { sentMs: 110 }))
  given.deliveries.push(delivery('p-1'), delivery('p-2', { packetId: 2 }))
  const overheard = ['p-1', 'p-2'].map((id) => ({ session: 's', id, sinceMs: 100, atMs: 120 }))
  const found = new Judge(given, []).round(overheard, NOBODY)
  expect(found).toMatchObject([{ kind: 'owners', session: 's', detail: expect.stringContaining('got p-2 at 120 ms') }])
})

test('a round is judged together with the one before, and each finding is told once', () => {
  const given = history()
  const judge = new Judge(given, [])
  given.publishes.push(publish('p-1'), publish('p-2'))
  given.deliveries.push(delivery('p-1'))
  expect(judge.round([], NOBODY)).toHaveLength(1)
  given.deliveries.push(delivery('p-1', { packetId: 2 }))
  expect(judge.round([], NOBODY)).toMatchObject([{ kind: 'doubled', detail: expect.stringMatching(/^p-1/) }])
  expect(judge.round([], NOBODY)).toEqual([])
  expect(given.publishes).toEqual([])
  expect(judge.findings).toHaveLength(2)
  expect(judge.counts).toMatchObject({ publishes: 2, acknowledged: 2, deliveries: 2 })
})

test('accounts of connections that are over are forgotten with their last delivery', () => {
  const given = history()
  given.sessions.push({ name: 's/1', filter: '#', sinceMs: 0, dueMs: Number.POSITIVE_INFINITY })
  given.publishes.push(publish('p-1'))
  given.deliveries.push(delivery('p-1'), delivery('p-1', { session: 's/1' }))
  const judge = new Judge(given, [])
  const isGone = (session: string) => session === 's/1'
  for (const left of [2, 1, 1]) {
    expect(judge.round([], isGone)).toEqual([])
    expect(given.sessions).toHaveLength(left)
  }
})

test('a seed decides what goes wrong in each round', () => {
  const options = { nodes: 3, ms: 60_000, powers: { cuts: true, slows: true } }
  expect(planRound(7, 2, options)).toEqual(planRound(7, 2, options))
  expect(planRound(7, 2, options)).not.toEqual(planRound(7, 3, options))
  expect(planRound(8, 2, options)).not.toEqual(planRound(7, 2, options))
  const rounds = Array.from({ length: 50 }, (_, round) => planRound(1, round, options)).flat()
  expect(new Set(rounds.map(({ deed }) => deed.kind))).toEqual(new Set(['kill', 'restart', 'stop', 'cut', 'slow']))
  const bare = { ...options, powers: { cuts: false, slows: false } }
  const kinds = Array.from({ length: 50 }, (_, round) => planRound(1, round, bare))
    .flat()
    .map(({ deed }) => deed.kind)
  expect(new Set(kinds)).toEqual(new Set(['kill', 'restart', 'stop']))
})
