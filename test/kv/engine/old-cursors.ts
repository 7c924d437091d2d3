import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import { compareBytes } from '../../../src/kv/engine/bytes.ts'
import type { Cursor, Engine, Write } from '../../../src/kv/engine/engine.ts'

/** Short keys, some at the very end, one longer than all that is asked for. */
const KEYS = [...Array.from({ length: 30 }, (_, n) => [n]), [], [255], [255, 255], new Array<number>(1_100).fill(255)]
  .map((key) => Uint8Array.from(key))
  .sort(compareBytes)

/** What the contract does not ask of the memory engine's tests: many cursors, each in the state of its own moment. */
export function oldCursors(name: string, open: () => Engine): void {
  test.each([1, 2, 3])(`${name}: old cursors walk both ways in their own state, seed %i`, async (seed) => {
    const random = seededRandom(seed)
    const engine = open()
    const model = new Set<number>()
    const old: { cursor: Cursor; state: number[] }[] = []
    const bound = () => (random.below(3) === 0 ? undefined : random.below(KEYS.length))
    for (let round = 0; round < 60; round++) {
      await engine.write({
        writes: Array.from({ length: random.below(8) }, () => change(model, random.below)),
        sync: false,
      })
      const start = bound()
      const end = bound()
      const state = [...model].filter((n) => n >= (start ?? 0) && n < (end ?? KEYS.length)).sort((a, b) => a - b)
      const [from, to] = [start, end].map((n) => (n === undefined ? undefined : KEYS[n]))
      old.push({ cursor: engine.cursor('dist', { start: from, end: to }), state })
      for (const each of old) checkWalk(each.cursor, each.state, random.below)
      if (old.length > 5) old.splice(random.below(5), 1)[0]!.cursor.close()
    }
    await engine.close()
  })
}

function change(model: Set<number>, below: (bound: number) => number): { family: 'dist'; write: Write } {
  const n = below(KEYS.length)
  const key = KEYS[n]!
  if (below(2) === 0) {
    model.delete(n)
    return { family: 'dist', write: { type: 'delete', key } }
  }
  model.add(n)
  return { family: 'dist', write: { type: 'put', key, value: key } }
}

function checkWalk(cursor: Cursor, state: number[], below: (bound: number) => number): void {
  const n = below(KEYS.length + 1)
  const before = state.findLast((each) => each < n)
  expect(cursor.seekBefore(KEYS[n])).toBe(before !== undefined)
  expect([cursor.valid, ...cursor.key]).toEqual([before !== undefined, ...(KEYS[before ?? -1] ?? [])])
  if (before !== undefined) {
    expect(cursor.next()).toBe(state.at(-1) !== before)
    if (cursor.valid) expect(cursor.key).toEqual(Buffer.from(KEYS[state[state.indexOf(before) + 1]!]!))
  }
  const m = below(KEYS.length)
  const after = state.filter((each) => each >= m)
  const seen: Uint8Array[] = []
  for (let found = cursor.seek(KEYS[m]!); found; found = cursor.next()) seen.push(cursor.value)
  expect(seen).toEqual(after.map((each) => Buffer.from(KEYS[each]!)))
}
