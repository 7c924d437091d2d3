import { serialize } from 'node:v8'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ANSWERS } from '../../../src/kv/store/answers.ts'

const again = (values: readonly unknown[]) => ANSWERS.decode(ANSWERS.encode(values))
const V8 = 0xff

describe('answers on disk', () => {
  test('plain values are in a form of our own, and come back as they were', () => {
    const plain = fc.anything({ withNullPrototype: false, withBigInt: false, withSparseArray: false, maxDepth: 3 })
    fc.assert(
      fc.property(fc.array(plain), (values) => {
        expect(again(values)).toEqual(values)
      }),
    )
  })

  test.each([
    ['numbers', [0, -0, 1, -1, 2 ** 53 - 1, 2 ** 60, 0.5, Number.NaN, Number.NEGATIVE_INFINITY]],
    ['words', ['', 'ä€😀', true, false, null, undefined]],
    ['lists and objects', [[], [[1], {}], { a: { b: [undefined] } }, JSON.parse('{"__proto__":1}')]],
    ['bytes', [Uint8Array.of(1, 2), new Uint8Array(0)]],
  ])('%s', (_what, values) => {
    expect(ANSWERS.encode(values)[0]).not.toBe(V8)
    const read = again(values)
    expect(read).toEqual(values)
    expect(read.every((value, i) => Object.is(value, values[i]) || typeof value === 'object')).toBe(true)
  })

  test.each([
    ['half of a pair', ['\ud800']],
    ['half of a pair in a name', [{ '\udfff': 1 }]],
    ['a map', [new Map([[1, 2]])]],
    ['a date', [[new Date(5)]]],
    ['a big number', [5n]],
  ])('%s is left to V8', (_what, values) => {
    expect(ANSWERS.encode(values)[0]).toBe(V8)
    expect(again(values)).toEqual(values)
  })

  test('what V8 wrote before is read', () => {
    expect(ANSWERS.decode(serialize([1, { a: 'b' }]))).toEqual([1, { a: 'b' }])
  })

  test('damaged bytes are an error', () => {
    for (const bytes of [[1], [1, 1], [1, 1, 99], [1, 1, 5, 1, 0], [1, 0, 0], [1, 200, 1]]) {
      expect(() => ANSWERS.decode(Uint8Array.from(bytes)), String(bytes)).toThrow(/damaged/)
    }
  })
})
