import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BrokerError } from '../../src/base/errors.ts'
import { CredentialMemory } from '../../src/plugin/auth/credential-memory.ts'
import { HashPool } from '../../src/plugin/auth/hash-pool.ts'
import { ManualClock } from './helpers.ts'

/** A pool whose work ends when the test says so, in the order in which it began. */
function scene(runningMax: number, waitingMax: number, waitMsMax = 1_000) {
  const clock = new ManualClock()
  const pool = new HashPool({ clock, runningMax, waitingMax, waitMsMax })
  const begun: { name: string; end: () => void }[] = []
  const outcomes = new Map<string, string>()
  const run = (owner: string, name: string) => {
    const work = () => new Promise<string>((resolve) => begun.push({ name, end: () => resolve('done') }))
    pool.run(owner, work).then(
      (outcome) => outcomes.set(name, outcome),
      (error) => outcomes.set(name, error instanceof BrokerError ? error.code : 'broken'),
    )
  }
  const settle = async (count = 1) => {
    for (let i = 0; i < count; i++) {
      begun.shift()?.end()
      for (let turn = 0; turn < 5; turn++) await Promise.resolve()
    }
  }
  return { clock, pool, begun, outcomes, run, settle }
}

test('runs so many at a time, keeps so many waiting, and refuses the rest', async () => {
  const { pool, begun, outcomes, run, settle } = scene(2, 3)
  for (let i = 0; i < 10; i++) run('a', `a${i}`)
  await settle(0)
  await Promise.resolve()
  expect([pool.running, pool.waiting, pool.refusedTotal]).toEqual([2, 3, 5])
  expect(begun.map((job) => job.name)).toEqual(['a0', 'a1'])
  await settle(5)
  expect([pool.running, pool.waiting, pool.doneTotal]).toEqual([0, 0, 5])
  expect([...outcomes].filter(([, outcome]) => outcome === 'done').map(([name]) => name)).toEqual([
    'a0',
    'a1',
    'a2',
    'a3',
    'a4',
  ])
  expect([...outcomes.values()].filter((outcome) => outcome === 'OVERLOADED')).toHaveLength(5)
})

test('owners take turns, and a full queue takes from whoever has most', async () => {
  const { begun, outcomes, run, settle } = scene(1, 4)
  for (let i = 0; i < 5; i++) run('storm', `s${i}`)
  run('quiet', 'q0')
  run('quiet', 'q1')
  run('quiet', 'q2')
  run('storm', 's5')
  const order: string[] = []
  for (let i = 0; i < 5; i++) {
    order.push(begun[0]!.name)
    await settle()
  }
  expect(order).toEqual(['s0', 's1', 'q0', 's2', 'q1'])
  expect(
    [...outcomes]
      .filter(([, outcome]) => outcome !== 'done')
      .map(([name]) => name)
      .sort(),
  ).toEqual(['q2', 's3', 's4', 's5'])
})

test('what waited too long is not begun', async () => {
  const { clock, begun, outcomes, run, settle } = scene(1, 10)
  run('a', 'first')
  run('a', 'late')
  clock.advance(600)
  run('a', 'fresh')
  clock.advance(600)
  await settle()
  expect(begun.map((job) => job.name)).toEqual(['fresh'])
  expect(outcomes.get('late')).toBe('OVERLOADED')
})

test('work that fails leaves its place to the next', async () => {
  const { pool, outcomes, run, settle } = scene(1, 10)
  const failing = pool.run('a', () => Promise.reject(new Error('no')))
  run('a', 'next')
  await expect(failing).rejects.toThrow('no')
  await settle(2)
  expect(outcomes.get('next')).toBe('done')
  expect(pool.running).toBe(0)
})

test('the bounds hold whatever comes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.constantFrom('a', 'b', 'c'), fc.constant(null)), { maxLength: 60 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 5 }),
      async (steps, runningMax, waitingMax) => {
        const { pool, begun, outcomes, run, settle } = scene(runningMax, waitingMax)
        let count = 0
        for (const owner of steps) {
          if (owner === null) await settle()
          else run(owner, `${count++}`)
          expect(pool.running).toBeLessThanOrEqual(runningMax)
          expect(pool.waiting).toBeLessThanOrEqual(waitingMax)
          expect(pool.waiting === 0 || pool.running === runningMax).toBe(true)
        }
        while (begun.length > 0) await settle()
        await settle(0)
        await Promise.resolve()
        expect(outcomes.size).toBe(count)
        expect(pool.doneTotal + pool.refusedTotal).toBe(count)
      },
    ),
    { numRuns: 200 },
  )
})

test('the memory forgets by time and by number, wrong passwords apart from right ones', () => {
  const memory = new CredentialMemory({ entriesMax: 20, acceptedMs: 1_000, refusedMs: 100 })
  const key = (name: string, password = 'p') => memory.keyOf(name, 'stored', Buffer.from(password))
  expect(key('a')).toBe(key('a'))
  expect(new Set([key('a'), key('b'), key('a', 'q'), memory.keyOf('a', 'other', Buffer.from('p'))]).size).toBe(4)
  expect(memory.keyOf('ab', 'c', Buffer.from('d'))).not.toBe(memory.keyOf('a', 'bc', Buffer.from('d')))
  expect(
    new CredentialMemory({ entriesMax: 1, acceptedMs: 1, refusedMs: 1 }).keyOf('a', 's', Buffer.from('p')),
  ).not.toBe(memory.keyOf('a', 's', Buffer.from('p')))

  memory.remember(key('a'), true, 0)
  memory.remember(key('b'), false, 0)
  expect([memory.recall(key('a'), 99), memory.recall(key('b'), 99), memory.recall(key('c'), 99)]).toEqual([
    'accepted',
    'refused',
    'unknown',
  ])
  expect([memory.recall(key('a'), 100), memory.recall(key('b'), 100)]).toEqual(['accepted', 'unknown'])
  expect(memory.recall(key('a'), 1_000)).toBe('unknown')

  for (let i = 0; i < 20; i++) memory.remember(key(`u${i}`), true, 0)
  for (let i = 0; i < 500; i++) memory.remember(key(`guess${i}`), false, 0)
  expect(memory.size).toBe(22)
  expect(memory.recall(key('u0'), 1)).toBe('accepted')
  memory.remember(key('new'), true, 1)
  expect([memory.recall(key('u0'), 1), memory.recall(key('u1'), 1)]).toEqual(['accepted', 'unknown'])
})
