import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CHANNEL } from '../../../src/rpc/channels.ts'
import { CONTRACTS } from '../../../src/rpc/grpc/contracts.ts'
import { TYPE } from '../../../src/rpc/peers/message.ts'

/** What people and tools read of links is kept in step with what travels. */
const text = readFileSync('proto/flockmq/link.proto', 'utf8')

/** Values of an enum with the comment above each, in one line. */
function valuesOf(name: string): { name: string; number: number; comment: string }[] {
  const body = new RegExp(`^enum ${name} \\{\n([^}]*)\\}`, 'm').exec(text)![1]!
  return [...body.matchAll(/((?: +\/\/.*\n)*) +(\w+) = (\d+);/g)].map(([, comment, value, number]) => {
    return { name: value!, number: Number(number), comment: comment!.replaceAll(/^ +\/\/ ?/gm, '').trim() }
  })
}

const wireName = (prefix: string, name: string) => `${prefix}_${name.replaceAll(/[A-Z]/g, '_$&').toUpperCase()}`

test.each([
  ['Channel', 'CHANNEL', CHANNEL],
  ['Type', 'TYPE', TYPE],
] as const)('the numbers of %s are those of the program', (name, prefix, numbers) => {
  const expected = Object.entries(numbers).map(([key, number]) => [wireName(prefix, key), number])
  const told = valuesOf(name).map((value) => [value.name, value.number])
  expect(told[0]).toEqual([`${prefix}_UNSPECIFIED`, 0])
  expect(told.slice(1)).toEqual(expected.sort(([, a], [, b]) => Number(a) - Number(b)))
})

test('each channel is told as it is declared: service, type, kind of link, and the file of its payload', () => {
  const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `src/${file}`)
  const declared = new Map(sources.flatMap((file) => declarationsIn(file)))
  const told = valuesOf('Channel').slice(1)
  for (const { name, comment } of told) {
    const channel = declared.get(name)
    const is = /^(\w+), (\w+), (\w+): .* (src\/\S+\.ts)$/.exec(comment)
    if (channel === undefined) expect(comment).toMatch(/^Kept for \w+: nothing travels on it\.$/)
    else {
      const { service, type, kind } = channel
      expect([name, is?.[1], is?.[2], is?.[3]]).toEqual([name, service, type, kind])
      expect(is![4]!.startsWith(`src/${service}/`)).toBe(true)
      expect(existsSync(is![4]!)).toBe(true)
    }
  }
  expect(told.filter(({ name }) => declared.has(name))).toHaveLength(declared.size)
})

test('tools see them by reflection', () => {
  const link = CONTRACTS.find(({ services }) => services.includes('flockmq.link.v1.Link'))!
  expect(link.symbols).toEqual(expect.arrayContaining(['flockmq.link.v1.Channel', 'flockmq.link.v1.Type']))
  expect(link.descriptor.includes('CHANNEL_INBOX_FEED')).toBe(true)
})

function declarationsIn(file: string): [string, { service: string; type: string; kind: string }][] {
  const found = readFileSync(file, 'utf8').matchAll(
    /type: '(\w+)',\s+number: CHANNEL\.(\w+),\s+name: '[\w-]+',\s+kind: '(\w+)'/g,
  )
  const service = file.split('/')[1]!
  return [...found].map(([, type, name, kind]) => [wireName('CHANNEL', name!), { service, type: type!, kind: kind! }])
}
