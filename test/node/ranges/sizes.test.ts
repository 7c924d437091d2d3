import { expect, test } from 'vitest'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import { Sizes } from '../../../src/node/ranges/sizes.ts'
import { World } from '../../sim/world.ts'

const KEYS = 3_000
const key = (i: number) => Buffer.from(String(i).padStart(6, '0'))

async function setup(valueBytes: number, cutNear = (_service: string, at: Uint8Array): Uint8Array | null => at) {
  const world = new World({ seed: 1 })
  const engine = new MemoryEngine()
  const value = new Uint8Array(valueBytes)
  const writes = Array.from({ length: KEYS }, (_, i) => ({
    family: 'inbox' as const,
    write: { type: 'put', key: key(i), value } as const,
  }))
  await engine.write({ writes, sync: false })
  const descriptor = (start?: Uint8Array, end?: Uint8Array, version = 1): RangeDescriptor => ({
    ...{ id: 'r1', service: 'inbox', epoch: { version, confVersion: 1 }, start, end, replicas: [] },
  })
  return { world, engine, sizes: new Sizes(engine, world.clock, cutNear), descriptor }
}

test('a small family is its range; nothing is read', async () => {
  const { sizes, descriptor, engine } = await setup(10)
  expect(sizes.of(descriptor())).toEqual({ bytes: engine.stats().bytes.inbox, middle: null })
})

test('a large range is walked through in slices, and has a middle', async () => {
  const { world, sizes, descriptor } = await setup(40_000)
  expect(sizes.of(descriptor())).toEqual({ bytes: 0, middle: null })
  await world.runUntil(() => sizes.of(descriptor()).bytes > 0, 60_000)
  const { bytes, middle } = sizes.of(descriptor())
  expect(bytes).toBe(KEYS * 40_006)
  expect(Number(Buffer.from(middle!).toString())).toBeGreaterThan(KEYS * 0.45)
  expect(Number(Buffer.from(middle!).toString())).toBeLessThan(KEYS * 0.55)
})

test('a part is measured for itself, and anew when it was cut', async () => {
  const { world, sizes, descriptor } = await setup(40_000)
  const part = descriptor(key(1_000), key(2_000))
  sizes.of(part)
  await world.runUntil(() => sizes.of(part).bytes > 0, 60_000)
  expect(sizes.of(part).bytes).toBe(1_000 * 40_006)
  const cut = descriptor(key(1_000), key(1_500), 2)
  expect(sizes.of(cut).bytes).toBe(0)
  await world.runUntil(() => sizes.of(cut).bytes > 0, 60_000)
  expect(sizes.of(cut).bytes).toBe(500 * 40_006)
})

test('the middle lies where a cut may lie', async () => {
  const thousands = (_service: string, at: Uint8Array) => Buffer.from(`${Buffer.from(at).toString('utf8', 0, 3)}000`)
  const { world, sizes, descriptor } = await setup(40_000, thousands)
  sizes.of(descriptor())
  await world.runUntil(() => sizes.of(descriptor()).bytes > 0, 60_000)
  expect(Buffer.from(sizes.of(descriptor()).middle!).toString()).toBe('001000')
})
