import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/clock.ts'
import { LAN } from '../../../../src/cluster/underlay/core/index.ts'
import { decodePacket, encodeHeader, encodeMessage, joinPacket } from '../../../../src/cluster/underlay/core/wire.ts'
import { MESSAGES } from '../messages.ts'
import { at, RealCluster, type RealHost, until, using } from './real-cluster.ts'

/** FUZZ=1000000 for the full run. */
const PACKETS = Number(process.env.FUZZ ?? 10_000)

/** Bytes of every kind at the open ports of a running host. It goes on, and its memory does not grow. */
test.each([
  ['plain', []],
  ['sealed', ['right']],
])(`${PACKETS} packets from anybody, %s`, { timeout: 600_000 }, async (_, secrets) => {
  const options = (ports: number[], i: number) => ({ seeds: i === 0 ? [] : [at(ports[0]!)], secrets })
  await using(RealCluster.of(3, options), async (cluster) => {
    await cluster.start()
    await until(() => cluster.whole, 'one cluster')
    const [first, victim] = cluster.hosts
    const packet = packets(victim!, first!)
    const before = process.memoryUsage().arrayBuffers
    await flood(victim!, packet)
    const { port } = victim!.options
    await Promise.all(Array.from({ length: 200 }, () => pour(port!, packet())))
    expect(victim!.fatal).toEqual([])
    expect(victim!.node.members().length).toBeLessThanOrEqual(LAN.hostsMax)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1_048_576)
    const refused = (reason: string) => victim!.metric('flockmq_cluster_packets_refused_total', { reason })!
    expect(refused('oversized')).toBeGreaterThan(0)
    if (secrets.length > 0) {
      // Nothing of it got in: as if nobody had been there.
      expect(refused('plain') + refused('undecryptable')).toBeGreaterThan(PACKETS / 4)
      expect(refused('malformed')).toBe(0)
      expect(victim!.node.members()).toHaveLength(2)
      expect(victim!.heard('refuted')).toEqual([])
      expect(cluster.whole).toBe(true)
    } else {
      expect(refused('malformed')).toBeGreaterThan(0)
      // Forged packets may say anything of anybody here; but the host goes on.
      await answers(port!, victim!, first!)
    }
  })
})

/** All messages under the header of a member, changed in every way. */
function packets(victim: RealHost, member: RealHost): () => Uint8Array {
  const random = seededRandom(11)
  const header = encodeHeader({
    ...{ clusterName: 'test', clusterId: victim.node.cluster!.id, sender: member.id, life: member.node.self.life },
  })
  const messages = MESSAGES.map(([message]) => encodeMessage(message))
  return () => {
    const packed = Array.from({ length: 1 + random.below(3) }, () => messages[random.below(messages.length)]!)
    const bytes = joinPacket(header, packed)
    const kind = random.below(8)
    if (kind === 0) return Uint8Array.from({ length: random.below(1_500) }, () => random.below(256))
    if (kind === 1) return bytes.slice(0, random.below(bytes.length))
    if (kind === 2) bytes[0] = 0x81
    if (kind === 3) return joinPacket(bytes, [new Uint8Array(1_400)])
    for (let flips = random.below(4); flips > 0; flips--)
      bytes[header.length + random.below(bytes.length - header.length)] = random.below(256)
    return bytes
  }
}

/** As datagrams, no faster than they are taken: else the kernel drops most. */
async function flood(victim: RealHost, packet: () => Uint8Array): Promise<void> {
  const socket = createSocket('udp4')
  socket.on('error', () => {})
  for (let sent = 0; sent < PACKETS; sent += 50) {
    const burst = Array.from(
      { length: 50 },
      () => new Promise((resolve) => socket.send(packet(), victim.options.port!, '127.0.0.1', resolve)),
    )
    await Promise.all(burst)
    await new Promise((resolve) => setImmediate(resolve))
  }
  socket.close()
}

/** Asks who is there, as a member would, until the answer comes. */
async function answers(port: number, victim: RealHost, member: RealHost): Promise<void> {
  const socket = createSocket('udp4')
  const header = encodeHeader({
    ...{ clusterName: 'test', clusterId: victim.node.cluster!.id, sender: member.id, life: member.node.self.life },
  })
  let answered = false
  socket.on('message', (bytes) => {
    const packet = decodePacket(bytes, 1_400)
    if (typeof packet === 'string') return
    answered ||= packet.messages.some((message) => message.type === 'ack' && message.seq === 4_711)
  })
  await until(() => {
    socket.send(joinPacket(header, [encodeMessage({ type: 'ping', seq: 4_711, target: '' })]), port, '127.0.0.1')
    return answered
  }, 'the host answers')
  socket.close()
}

/** As it is, on a TCP connection: its first bytes are taken for a length, half of the time a right one. */
function pour(port: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.on('close', () => resolve())
    socket.on('data', () => {})
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    socket.end(bytes.length % 2 === 0 ? Buffer.concat([length, bytes]) : bytes)
  })
}
