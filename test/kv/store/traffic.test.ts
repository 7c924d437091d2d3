import { expect, test } from 'vitest'
import { Traffic } from '../../../src/kv/store/traffic.ts'
import { bytes, text } from '../toy.ts'

/** So many commands, one after the other, each for one of these keys in turn. */
function after(count: number, keys: readonly string[]): Traffic {
  const traffic = new Traffic()
  for (let i = 0; i < count; i++) traffic.noteCommands(1, [bytes(keys[Math.floor(i / 32) % keys.length]!)])
  return traffic
}

test('half of the commands lie before the middle', () => {
  const letters = [...'abcdefghij']
  const middle = after(6_400, letters).middle({})
  expect(text(middle!)).toMatch(/^[ef]$/)
  expect(text(after(6_400, letters).middle({ start: bytes('f') })!)).toMatch(/^[hi]$/)
})

test('few commands, or one key, have none', () => {
  expect(after(100, ['a', 'b']).middle({})).toBeNull()
  expect(after(6_400, ['a']).middle({})).toBeNull()
  // Where one key takes more than half, a cut before or behind it leaves it whole; at the first one there is nothing to cut off.
  expect(after(6_400, ['a', 'a', 'b']).middle({})).toBeNull()
  expect(text(after(6_400, ['a', 'b', 'b']).middle({})!)).toBe('b')
})

test('a key at the very start of the range is no place to cut', () => {
  expect(after(6_400, ['a', 'b']).middle({ start: bytes('b') })).toBeNull()
})

test("the range's own work counts, and names no key", () => {
  const traffic = new Traffic()
  traffic.noteCommands(5_000, [])
  expect(traffic.commands).toBe(5_000)
  expect(traffic.middle({})).toBeNull()
})
