import { expect, test } from 'vitest'
import { FlapGuard } from '../../src/plugin/index.ts'

const OPTIONS = { enabled: true, disconnectsMax: 3, windowSeconds: 10, banSeconds: 60, clientsMax: 100 }

test('too many abrupt ends within the window shut a client out for a while', () => {
  const guard = new FlapGuard(OPTIONS)
  expect([guard.disconnected('t', 'c', 0), guard.disconnected('t', 'c', 1), guard.bannedUntilMs('t', 'c', 1)]).toEqual([
    false,
    false,
    0,
  ])
  expect(guard.disconnected('t', 'c', 2)).toBe(true)
  expect(guard.bannedUntilMs('t', 'c', 3)).toBe(60_002)
  expect([guard.bannedUntilMs('t', 'd', 3), guard.bannedUntilMs('u', 'c', 3)]).toEqual([0, 0])
  expect(guard.bannedUntilMs('t', 'c', 60_002)).toBe(0)
})

test('a ban is not made longer by what happens during it, and can come again', () => {
  const guard = new FlapGuard(OPTIONS)
  for (let i = 0; i < 3; i++) guard.disconnected('t', 'c', i)
  for (let i = 0; i < 10; i++) expect(guard.disconnected('t', 'c', 100 + i)).toBe(false)
  expect(guard.bannedUntilMs('t', 'c', 200)).toBe(60_002)
  expect([0, 1, 2].map((i) => guard.disconnected('t', 'c', 70_000 + i))).toEqual([false, false, true])
})

test('who loses the connection once in a while is never shut out', () => {
  const guard = new FlapGuard(OPTIONS)
  for (let i = 0; i < 100; i++) expect(guard.disconnected('t', 'c', i * 5_001)).toBe(false)
})

test('memory is bounded; who flapped last is remembered', () => {
  const guard = new FlapGuard(OPTIONS)
  for (let i = 0; i < 3; i++) guard.disconnected('t', 'bad', i)
  for (let i = 0; i < 99; i++) guard.disconnected('t', `c${i}`, 10)
  guard.disconnected('t', 'bad', 11)
  for (let i = 0; i < 99; i++) guard.disconnected('t', `d${i}`, 12)
  expect(guard.size).toBe(100)
  expect(guard.bannedUntilMs('t', 'bad', 13)).toBeGreaterThan(0)
})

test('off, it remembers nothing', () => {
  const guard = new FlapGuard({ ...OPTIONS, enabled: false })
  for (let i = 0; i < 10; i++) expect(guard.disconnected('t', 'c', i)).toBe(false)
  expect([guard.size, guard.bannedUntilMs('t', 'c', 10)]).toEqual([0, 0])
})
