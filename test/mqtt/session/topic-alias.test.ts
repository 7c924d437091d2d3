import { expect, test } from 'vitest'
import { InboundAliases, OutboundAliases } from '../../../src/mqtt/session/topic-alias.ts'

test('the client sets, replaces and uses aliases up to the announced maximum', () => {
  const aliases = new InboundAliases<string>(3)
  expect(aliases.get(1)).toBeUndefined()
  expect(aliases.set(1, 'a')).toBe(true)
  expect(aliases.set(3, 'c')).toBe(true)
  expect(aliases.set(4, 'd')).toBe(false) // [MQTT-3.3.2-9]
  expect(aliases.set(1, 'b')).toBe(true)
  expect([1, 2, 3, 4].map((alias) => aliases.get(alias))).toEqual(['b', undefined, 'c', undefined])
})

test('the first topics get one alias each, from 1 up to the maximum, and keep it', () => {
  const aliases = new OutboundAliases(2)
  expect(aliases.known('a')).toBe(0)
  expect(aliases.assign('a')).toBe(1)
  expect(aliases.assign('b')).toBe(2)
  expect(aliases.assign('c')).toBe(0)
  expect(['a', 'b', 'c'].map((topic) => aliases.known(topic))).toEqual([1, 2, 0])
})
