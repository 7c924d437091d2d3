import { expect, test } from 'vitest'
import { MatchReplica } from '../../../src/kv/lease/index.ts'

const make = (name: string, heldMax = 100) => new MatchReplica<string>({ name, incarnation: 1, applied: 0, heldMax })

/** A leader that a majority follows, and its range's first entry applied. */
function leaderOf(name: string, electedMs: number, heldMax?: number) {
  const leader = make(name, heldMax)
  leader.led(electedMs)
  leader.confirmed(electedMs)
  leader.established()
  return leader
}

/** Passes messages until nobody has any; gives what was released. */
function pass(replicas: Record<string, MatchReplica<string>>, nowMs: number) {
  const released: string[] = []
  for (let busy = true; busy; ) {
    busy = false
    for (const [name, replica] of Object.entries(replicas)) {
      const ready = replica.ready()
      released.push(...ready.released)
      for (const { to, message } of ready.messages) {
        busy = true
        replicas[to]!.received(name, message, nowMs)
      }
    }
  }
  return released
}

test('the only replica answers at once, and matches at once', () => {
  const only = make('a')
  only.led(Number.NEGATIVE_INFINITY)
  only.confirmed(0)
  only.established()
  only.tick(0)
  expect(only.holds(1)).toBe(true)
  only.committed(1)
  only.hold(1, 'one', 10)
  expect(only.ready().released).toEqual([])
  only.applied(1, 10)
  expect(only.ready()).toEqual({ messages: [], released: ['one'], givenUp: [] })
})

test('an answer waits until every holder has applied the mutation', () => {
  const [a, b, c] = [leaderOf('a', -2_000), make('b'), make('c')]
  const all = { a, b, c }
  a.confirmed(0)
  for (const replica of [b, c]) replica.follows('a')
  for (const replica of [a, b, c]) replica.tick(0)
  pass(all, 0)
  expect([a.holds(1), b.holds(1), c.holds(1)]).toEqual([true, true, true])
  a.committed(5)
  a.hold(4, 'four', 10)
  a.hold(5, 'five', 10)
  a.applied(5, 10)
  b.applied(5, 11)
  expect(pass(all, 11)).toEqual([])
  c.applied(4, 12)
  expect(pass(all, 12)).toEqual(['four'])
  expect(a.heldAnswers).toBe(1)
  c.applied(5, 13)
  expect(pass(all, 13)).toEqual(['five'])
  expect(a.leasesOut(13)).toBe(true)
})

test('or until the leases of those that are not heard have run out', () => {
  const [a, b] = [leaderOf('a', -2_000), make('b')]
  a.confirmed(0)
  b.follows('a')
  b.tick(0)
  pass({ a, b }, 0)
  a.committed(1)
  a.hold(1, 'one', 10)
  a.applied(1, 10)
  expect(a.ready().released).toEqual([])
  const dueMs = a.nextMs(10)
  for (let ms = 100; ms < 1_400; ms += 300) a.tick(ms)
  expect(a.ready().released).toEqual([])
  expect(b.holds(1_400)).toBe(true)
  expect(dueMs).toBeLessThan(1_600)
  a.tick(1_600)
  expect([a.ready().released, b.holds(1_600)]).toEqual([['one'], false])
})

test('a new leader answers nothing before the leases of the one before have run out', () => {
  const a = leaderOf('a', 1_000)
  a.committed(1)
  a.applied(1, 1_000)
  a.hold(1, 'one', 1_000)
  a.tick(2_400)
  expect(a.ready().released).toEqual([])
  a.tick(2_500)
  expect(a.ready().released).toEqual(['one'])
})

test('who leads no more, or holds too many, gives them up', () => {
  const a = leaderOf('a', 0, 2)
  for (const [index, word] of ['one', 'two', 'three'].entries()) a.hold(index + 1, word, 0)
  expect(a.ready().givenUp).toEqual(['three'])
  a.deposed()
  expect(a.ready()).toEqual({ messages: [], released: [], givenUp: ['one', 'two'] })
  a.hold(4, 'four', 0)
  expect(a.ready().givenUp).toEqual(['four'])
  expect([a.leasesOut(0), a.nextMs(0)]).toEqual([false, Number.POSITIVE_INFINITY])
  const again = leaderOf('a', 0)
  again.hold(7, 'seven', 0)
  again.led(5_000)
  expect(again.ready().givenUp).toEqual(['seven'])
})

test('another leader is asked at once; who slept asks anew', () => {
  const b = make('b')
  b.tick(0)
  expect(b.ready().messages).toEqual([])
  b.follows('a')
  b.tick(1)
  expect(b.ready().messages.map(({ to }) => to)).toEqual(['a'])
  b.tick(2)
  expect(b.ready().messages).toEqual([])
  expect(b.nextMs(2)).toBe(301)
  b.follows('c')
  b.tick(3)
  expect(b.ready().messages.map(({ to }) => to)).toEqual(['c'])
  b.doubt(4)
  b.tick(4)
  expect(b.ready().messages).toHaveLength(1)
})
