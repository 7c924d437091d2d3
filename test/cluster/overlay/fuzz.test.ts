import { expect, test } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import type { Hint } from '../../../src/cluster/overlay/core/hint-map.ts'
import type { Message } from '../../../src/cluster/overlay/core/message.ts'
import { LAN } from '../../../src/cluster/overlay/core/options.ts'
import { markOf } from '../../../src/cluster/overlay/core/replica.ts'
import { encodePayload } from '../../../src/cluster/overlay/core/wire.ts'
import { bytes } from './sim-overlay.ts'
import { Wires } from './wires.ts'

/** FUZZ=1000000 for the full run. */
const PAYLOADS = Number(process.env.FUZZ ?? 3_000)

/**
 * A member of the cluster that says anything at all: well-formed messages of lies, and bytes that are none. Nothing is
 * thrown, everything stays bounded, our own entries stay ours, and when it is silent the others agree again.
 */
test(`${PAYLOADS} payloads of a host gone mad`, { timeout: 600_000 }, () => {
  const random = seededRandom(11)
  const wires = new Wires(3)
  const [victim, mad, other] = wires.nodes
  victim!.set('mine', 'truth')
  other!.set('theirs', 'truth')
  wires.run(1_000)
  wires.passes = (from, to) => from !== mad!.id && to !== mad!.id
  let bytesMax = 0
  for (let i = 0; i < PAYLOADS; i++) {
    const payload = mutate(encodePayload(Array.from({ length: 1 + random.below(3) }, () => anything(random))), random)
    wires.sent.length = 0
    victim!.step({ type: 'payload', from: mad!.id, payload })
    for (const sent of wires.sent) bytesMax = Math.max(bytesMax, sent.bytes.length)
    expect(wires.sent.length).toBeLessThan(8)
    if (i % 100 === 0) wires.run(20)
    victim!.events.length = other!.events.length = mad!.events.length = 0
  }
  expect(bytesMax).toBeLessThanOrEqual(LAN.answerBytesMax + 1_200)
  const { counters } = victim!.core
  for (const name of ['malformed', 'unknownMessages', 'foreignDeltas', 'staleDeltas', 'refusedDeltas'] as const) {
    expect([name, counters[name]]).not.toEqual([name, 0])
  }
  expect(victim!.core.keys('mine')).toEqual([{ host: 'h0', key: 'mine', value: bytes('truth') }])
  wires.passes = () => true
  wires.run(30_000)
  const entries = wires.nodes.map(({ core }) => core.keys('').filter(({ host }) => host !== mad!.id))
  for (const found of entries) {
    expect(found.sort((a, b) => (a.host < b.host ? -1 : 1)).map(({ host, key }) => `${host} ${key}`)).toEqual([
      'h0 mine',
      'h2 theirs',
    ])
  }
})

function anything(random: Random): Message {
  const host = ['h0', 'h1', 'h2', 'h9'][random.below(4)]! as HostId
  const version = [1, 2, 3, 50, 2 ** 20, 2 ** 44][random.below(6)]!
  const kind = random.below(5)
  if (kind === 0) {
    const positions = Array.from({ length: random.below(5) }, () => {
      return { mark: markOf(host, 1), version: random.below(version), resetTo: [0, 0, 3][random.below(3)]! }
    })
    return { type: 'digest', asks: random.below(2) === 0, positions, hints: [random.below(9), 0] }
  }
  if (kind === 1) return { type: 'hint-sums', sums: Uint32Array.from({ length: 256 }, () => random.below(2)) }
  if (kind === 2) {
    const hints: Hint[] = Array.from({ length: random.below(4) }, () => {
      const timestamp = (1_000_000_000_000 + random.below(1e6)) * 1_024
      return {
        key: `k${random.below(1e6)}`,
        value: bytes('x'),
        timestamp,
        by: host,
        ttlMs: 1 + random.below(3_600_000),
      }
    })
    const flags = { news: random.below(2) === 0, more: random.below(2) === 0 }
    return { type: 'hints', ...flags, buckets: [random.below(256)], hints }
  }
  const from = random.below(4) === 0 ? version : 0
  const value = random.below(3) === 0 ? null : bytes('lie')
  return {
    ...{ type: 'delta', host, life: 1, from, to: from + version, last: from + version + random.below(3) },
    forgotten: random.below(3) === 0 ? random.below(version) : 0,
    entries: [{ key: `k${random.below(50)}`, value, version: from + version }],
  }
}

function mutate(payload: Uint8Array, random: Random): Uint8Array {
  const kind = random.below(6)
  if (kind === 0) return Uint8Array.from({ length: random.below(200) }, () => random.below(256))
  if (kind === 1) return payload.slice(0, random.below(payload.length))
  if (kind === 2) return Buffer.concat([payload, Uint8Array.from([99, 0, 0, 0, 0])])
  if (kind === 3)
    for (let flips = random.below(4); flips > 0; flips--) payload[random.below(payload.length)] = random.below(256)
  return payload
}
