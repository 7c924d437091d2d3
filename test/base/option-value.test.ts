import { expect, expectTypeOf, test } from 'vitest'
import type { OptionTable, OptionValues, ScalarOption } from '../../src/base/option.ts'
import { describeAllowed, formatInteger, parseOption } from '../../src/base/option-value.ts'

const bytes = { type: 'integer', default: 1, min: 0, max: 2 ** 40, unit: 'bytes', sentence: '' } as const
const seconds = { type: 'integer', default: 1, min: 1, max: 86_400, unit: 'seconds', sentence: '' } as const
const ms = { type: 'integer', default: 1, min: 1, max: 10_000, unit: 'ms', sentence: '' } as const
const count = { type: 'integer', default: 1, min: -5, max: 1_000_000, sentence: '' } as const
const boolean = { type: 'boolean', default: false, sentence: '' } as const
const choice = { type: 'choice', default: 'a', choices: ['a', 'off'], sentence: '' } as const
const level = { type: 'choice', default: 2, choices: [0, 1, 2], sentence: '' } as const
const text = { type: 'string', default: null, sentence: '' } as const
const path = { type: 'string', default: '/', pattern: '^/.*$', allowed: 'a path', sentence: '' } as const
const secret = { type: 'secret', default: null, sentence: '' } as const
const list = { type: 'list', default: [], sentence: '' } as const
const roles = { type: 'list', default: [], choices: ['mqtt', 'dist'], sentence: '' } as const

const good: [ScalarOption, unknown, unknown][] = [
  [bytes, 1024, 1024],
  [bytes, '1024', 1024],
  [bytes, '1MiB', 1_048_576],
  [bytes, '64 KiB', 65_536],
  [bytes, '1.5kib', 1536],
  [bytes, '1.1kB', 1100],
  [bytes, '2MB', 2_000_000],
  [bytes, '1GiB', 2 ** 30],
  [bytes, '12b', 12],
  [seconds, '10s', 10],
  [seconds, '2m', 120],
  [seconds, '1h', 3600],
  [seconds, '1d', 86_400],
  [seconds, '3000ms', 3],
  [ms, '5', 5],
  [ms, '1.5s', 1500],
  [count, '1_000', 1000],
  [count, -5, -5],
  [boolean, true, true],
  [boolean, 'true', true],
  [boolean, 'false', false],
  [choice, 'off', 'off'],
  [level, '1', 1],
  [level, 0, 0],
  [text, 'a b', 'a b'],
  [text, 5, '5'],
  [path, '/x', '/x'],
  [secret, 's', 's'],
  [list, ['a', 'b'], ['a', 'b']],
  [list, 'a, b', ['a', 'b']],
  [list, '[a, "b"]', ['a', 'b']],
  [list, '', []],
  [list, '[]', []],
  [roles, 'mqtt,dist', ['mqtt', 'dist']],
]
test.each(good)('%j takes %j as %j', (spec, raw, value) => {
  expect(parseOption(spec, raw)).toEqual({ ok: true, value })
})

const bad: [ScalarOption, unknown, string][] = [
  [bytes, '1.0001KiB', 'bytes from 0 to 1024GiB'],
  [bytes, '1s', 'bytes'],
  [bytes, -1, 'bytes'],
  [bytes, '2000GiB', 'bytes'],
  [seconds, '1KiB', 'an integer from 1 to 86400 seconds'],
  [seconds, '500ms', 'an integer'],
  [seconds, 0, 'an integer'],
  [count, '1s', 'an integer from -5 to 1000000'],
  [count, '1__000', 'an integer'],
  [count, '0x10', 'an integer'],
  [count, 1.5, 'an integer'],
  [count, Number.NaN, 'an integer'],
  [count, '', 'an integer'],
  [count, true, 'an integer'],
  [count, [1], 'an integer'],
  [boolean, 'yes', 'true or false'],
  [boolean, 1, 'true or false'],
  [choice, 'b', 'one of a, off'],
  [choice, false, 'one of a, off'],
  [level, 3, 'one of 0, 1, 2'],
  [text, '', 'a text on one line, not empty'],
  [text, 'a\nb', 'a text on one line'],
  [text, {}, 'a text on one line'],
  [path, 'x', 'a path'],
  [path, 'x\n/y', 'a path'],
  [secret, '', 'a text on one line'],
  [list, [''], 'a list'],
  [list, {}, 'a list'],
  [roles, 'mqtt,x', 'a list of mqtt, dist'],
]
test.each(bad)('%j refuses %j', (spec, raw, allowed) => {
  const parsed = parseOption(spec, raw)
  expect(parsed.ok ? parsed.value : parsed.allowed).toContain(allowed)
  expect(describeAllowed(spec)).toContain(allowed)
})

test('bytes are written with the largest unit that divides them', () => {
  expect([0, 1, 1024, 1536, 1_048_576, 2 ** 30, 3 * 2 ** 40].map((value) => formatInteger(bytes, value))).toEqual([
    '0',
    '1',
    '1KiB',
    '1536',
    '1MiB',
    '1GiB',
    '3072GiB',
  ])
})

test('the type of the values follows from the table', () => {
  const table = {
    flag: boolean,
    size: bytes,
    name: text,
    choice,
    level,
    list,
    group: { type: 'group', sentence: '', options: { path } },
    map: { type: 'map', sentence: '', entryName: 'x', default: {}, entries: { flag: boolean } },
    sparse: { type: 'map', sentence: '', entryName: 'x', default: {}, sparse: true, entries: { flag: boolean } },
  } as const satisfies OptionTable
  expectTypeOf<OptionValues<typeof table>>().toEqualTypeOf<{
    flag: boolean
    size: number
    name: string | null
    choice: 'a' | 'off'
    level: 0 | 1 | 2
    list: readonly string[]
    group: { path: string }
    map: { [name: string]: { flag: boolean } }
    sparse: { [name: string]: { flag?: boolean } }
  }>()
})
