import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { systemClock, systemRandom } from '../../../../src/base/clock.ts'
import type { HostId } from '../../../../src/base/ids.ts'
import { silentLogger } from '../../../../src/base/logging.ts'
import { Overlay } from '../../../../src/cluster/overlay/index.ts'
import { UnderlayHost } from '../../../../src/cluster/underlay/index.ts'
import { at, freePorts, until } from '../../underlay/shell/real-cluster.ts'
import { bytes, text } from '../sim-overlay.ts'

const folder = mkdtempSync(join(tmpdir(), 'flockmq-overlay-'))
const running = new Set<Node>()

afterEach(async () => {
  await Promise.all([...running].map((node) => node.stop()))
  rmSync(folder, { recursive: true, force: true })
})

/** One host on real sockets of this machine. */
class Node {
  readonly id: HostId
  readonly underlay: UnderlayHost
  overlay!: Overlay

  constructor(index: number, ports: readonly number[]) {
    this.id = `h${index}` as HostId
    this.underlay = new UnderlayHost({
      ...{ clusterName: 'test', host: '127.0.0.1', port: ports[index]!, advertise: null, expect: 0 },
      ...{ seeds: index === 0 ? [] : [at(ports[0]!)], secrets: ['secret'], insecure: false, mutualTls: false },
      ...{ hostId: this.id, statePath: join(folder, `${index}.json`), metadata: new Map(), userData: false },
      ...{ dissolve: async () => true, fatal: (error: Error) => expect(error).toBeNull() },
      ...{ log: silentLogger, clock: systemClock, random: systemRandom, swim: { leaveMs: 100 } },
    })
  }

  async start(): Promise<void> {
    await this.underlay.start()
    this.overlay = new Overlay({ underlay: this.underlay, clock: systemClock, random: systemRandom })
    running.add(this)
  }

  async stop(): Promise<void> {
    running.delete(this)
    this.overlay.stop()
    await this.underlay.stop()
  }

  members(): string {
    const members = this.overlay.agent('mqtt').members()
    return members.map(({ host, metadata }) => `${host}=${metadata.get('v')}`).join(' ')
  }
}

test('three hosts on loopback: members, keys of every size, hints, a restart', { timeout: 60_000 }, async () => {
  const ports = await freePorts(3)
  const nodes = [0, 1, 2].map((index) => new Node(index, ports))
  await Promise.all(nodes.map((node) => node.start()))
  const all = (condition: (node: Node) => boolean, what: string) => until(() => nodes.every(condition), what)
  for (const { overlay } of nodes) overlay.agent('mqtt').join(new Map([['v', '1']]))
  await all((node) => node.members() === 'h0=1 h1=1 h2=1', 'all are members')
  nodes[1]!.overlay.agent('mqtt').update(new Map([['v', '2']]))
  // 300 kB: over TCP, in several answers.
  for (let i = 0; i < 20; i++) nodes[0]!.overlay.keys.set(`large/${i}`, new Uint8Array(15_000).fill(i))
  nodes[2]!.overlay.hints.set('leader', bytes('h1'), 60_000)
  await all((node) => node.members() === 'h0=1 h1=2 h2=1', 'the change is known')
  await all(({ overlay }) => overlay.keys.entries('large/').length === 20, 'the large keys are known')
  const last = nodes[1]!.overlay.keys.get('h0' as HostId, 'large/19')!
  expect(last.every((byte) => byte === 19) && last.length === 15_000).toBe(true)
  await all(({ overlay }) => overlay.hints.get('leader') !== null, 'the hint is known')
  expect(text(nodes[0]!.overlay.hints.get('leader')!)).toBe('h1')

  await nodes[2]!.stop()
  await until(() => nodes.slice(0, 2).every((node) => node.members() === 'h0=1 h1=2'), 'who pauses is no member')
  nodes[2] = new Node(2, ports)
  await nodes[2].start()
  nodes[2].overlay.agent('mqtt').join(new Map([['v', '3']]))
  await all((node) => node.members() === 'h0=1 h1=2 h2=3', 'it is back')
  await until(() => nodes[2]!.overlay.keys.entries('large/').length === 20, 'it has the large keys')
  await until(() => nodes[2]!.overlay.hints.get('leader') !== null, 'it has the hint')
})
