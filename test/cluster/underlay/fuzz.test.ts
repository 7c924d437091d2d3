import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { Address } from '../../../src/cluster/underlay/core/index.ts'
import { decodePacket, encodeHeader, encodeMessage, joinPacket } from '../../../src/cluster/underlay/core/wire.ts'
import { MESSAGES } from './messages.ts'
import { SimCluster } from './sim-cluster.ts'

/** FUZZ=1000000 for the full run. */
const PACKETS = Number(process.env.FUZZ ?? 100_000)

const STRANGER = '10.9.9.9:1' as Address

/**
 * Bytes of every kind at a running host of a cluster, as datagrams and as TCP frames: packets of all messages, with the
 * real header, bits flipped, cut, stretched, and plain noise. Nothing is thrown, everything stays bounded, what is
 * malformed is not answered, and nobody is talked into silence.
 */
test(`${PACKETS} packets from anybody`, { timeout: 600_000 }, () => {
  const random = seededRandom(7)
  const cluster = new SimCluster({ seed: 7, hosts: 3, start: true, swim: { hostsMax: 64 } })
  expect(cluster.until(() => cluster.whole, 10_000)).not.toBeNull()
  const victim = cluster.hosts[1]!
  const { underlay } = victim
  const header = encodeHeader({
    clusterName: 'test',
    clusterId: underlay.cluster!.id,
    sender: cluster.hosts[0]!.id,
    life: cluster.hosts[0]!.underlay.self.life,
  })
  const messages = MESSAGES.map(([message]) => encodeMessage(message))
  let [sentMax, bytesMax, answered, fooled] = [0, 0, 0, 0]
  for (let i = 0; i < PACKETS; i++) {
    const packed = Array.from({ length: 1 + random.below(3) }, () => messages[random.below(messages.length)]!)
    const bytes = mutate(joinPacket(header, packed), header.length, random)
    const decoded = decodePacket(bytes, 1_400)
    const now = cluster.now + i / 100
    if (random.below(4) === 0) underlay.step({ type: 'request', request: i, bytes }, now)
    else underlay.step({ type: 'datagram', from: STRANGER, bytes }, now)
    const ready = underlay.ready()
    sentMax = Math.max(sentMax, ready.datagrams.length + ready.exchanges.length + ready.answers.length)
    for (const { to, bytes: sent } of ready.datagrams) {
      bytesMax = Math.max(bytesMax, sent.length)
      if (to === STRANGER && decoded === 'malformed') answered++
    }
    for (const { type } of ready.events) if (type === 'duplicate-id' || type === 'departed') fooled++
    if (i % 1_000 === 0) expect(underlay.members().length).toBeLessThan(64)
  }
  expect([answered, fooled]).toEqual([0, 0])
  expect(bytesMax).toBeLessThanOrEqual(1_400)
  expect(sentMax).toBeLessThan(64)
  const { malformed, oversized, otherVersion, foreignName, foreignCluster, unknownMessages } = underlay.counters
  for (const count of [malformed, oversized, otherVersion, foreignName, foreignCluster, unknownMessages]) {
    expect(count).toBeGreaterThan(0)
  }
  expect(underlay.gossipQueued).toBeLessThan(64 * 3)
})

function mutate(bytes: Uint8Array, headerBytes: number, random: ReturnType<typeof seededRandom>): Uint8Array {
  const kind = random.below(8)
  if (kind === 0) return Uint8Array.from({ length: random.below(1_500) }, () => random.below(256))
  if (kind === 1) return bytes.slice(0, random.below(bytes.length))
  if (kind === 2) return joinPacket(bytes, [Uint8Array.from({ length: random.below(1_400) }, () => random.below(256))])
  // Mostly behind the header, so that the packet is one of ours.
  const from = kind === 3 ? 0 : headerBytes
  for (let flips = random.below(4); flips > 0; flips--) {
    bytes[from + random.below(bytes.length - from)] = random.below(256)
  }
  return bytes
}
