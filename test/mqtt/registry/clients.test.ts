import { expect, test } from 'vitest'
import { HybridClock } from '../../../src/base/hlc.ts'
import type { HostId, TenantId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import { Clients } from '../../../src/mqtt/registry/index.ts'
import { bytesCodec, CHANNEL } from '../../../src/rpc/index.ts'
import { LINK_OPTIONS } from '../../../src/rpc/link/core/index.ts'
import { LinkedPeers } from '../../../src/rpc/peers/peers.ts'
import { secretOf } from '../../rpc/link/sim-links.ts'
import { seeds } from '../../sim/seeds.ts'
import { Wires } from '../../sim/wires.ts'
import { World } from '../../sim/world.ts'

const TENANT = 't' as TenantId
const LINK = {
  ...LINK_OPTIONS.deliveries,
  keepaliveMs: 500,
  silenceMsMax: 1_500,
  handshakeMsMax: 1_000,
  backoffMsMin: 10,
  backoffMsMax: 200,
}

/** A connection that gives its session up some time after it was told. */
class FakeConnection {
  readonly node: FakeNode
  readonly key: string
  state: 'asks' | 'open' | 'refused' | 'closing' | 'closed' = 'asks'

  constructor(node: FakeNode, key: string) {
    this.node = node
    this.key = key
    const { world, clients, hlc } = node
    void clients.claim(TENANT, key, this, hlc.next(world.clock.now())).then((granted) => {
      if (this.state !== 'asks') return
      this.state = granted ? 'open' : 'refused'
      if (!granted) clients.release(this)
    })
  }

  takeOver(): Promise<void> {
    this.state = 'closing'
    return new Promise((resolve) => {
      this.node.world.clock.after(30, () => {
        this.state = 'closed'
        resolve()
      })
    })
  }

  leave(): void {
    this.state = 'closed'
    this.node.clients.release(this)
  }
}

interface FakeNode {
  name: HostId
  world: World
  peers: LinkedPeers
  clients: Clients
  hlc: HybridClock
}

function cluster(seed = 1) {
  const world = new World({ seed })
  const wires = new Wires(world)
  const nodes = ['n1', 'n2', 'n3'].map((name): FakeNode => {
    const process = world.process(name)
    const clock = process.clock()
    const peers = new LinkedPeers({
      ...{ cluster: 'sim', node: name as HostId, incarnation: 1, authenticator: secretOf(world, 'secret'), clock },
      transport: wires.transport(name),
      random: world.random,
      log: silentLogger,
      defer: process.defer(),
      links: { raft: LINK, deliveries: LINK, bulk: LINK },
      ...{ pendingMax: 1_000, streamsMax: 16, strangersMax: 64, sessionsMax: 64 },
    })
    wires.listen(name, (wire) => peers.accept(wire))
    return {
      name: name as HostId,
      world,
      peers,
      clients: new Clients({ peers, run: 1, clock }),
      hlc: new HybridClock(),
    }
  })
  for (const a of nodes) for (const b of nodes) a.peers.join({ node: b.name, address: b.name })
  const see = (node: FakeNode, members: readonly FakeNode[]) => node.clients.setMembers(members.map(({ name }) => name))
  for (const node of nodes) see(node, nodes)
  return { world, wires, nodes, see }
}

function figure(node: FakeNode, name: string): number {
  let found = Number.NaN
  const note = (metric: string, _help: string, value: number) => {
    if (metric === `flockmq_clients_${name}`) found = value
  }
  node.clients.collect({ counter: note, gauge: note, histogram: () => {} })
  return found
}

test('a CONNECT on any node closes the one before, over real links', async () => {
  const { world, nodes } = cluster()
  const connections: FakeConnection[] = []
  for (const node of [...nodes, ...nodes]) {
    const connection = new FakeConnection(node, 'c')
    connections.push(connection)
    await world.runUntil(() => connection.state !== 'asks', 1_000)
    await world.run(100)
  }
  expect(connections.map(({ state }) => state)).toEqual(['closed', 'closed', 'closed', 'closed', 'closed', 'open'])
  expect(nodes.map((node) => figure(node, 'held'))).toEqual([0, 0, 1])
  expect(nodes.reduce((sum, node) => sum + figure(node, 'evicted_total'), 0)).toBe(5)
  connections.at(-1)!.leave()
  await world.run(100)
  expect(nodes.map((node) => figure(node, 'owned'))).toEqual([0, 0, 0])
})

test('one that leaves before it is answered is told so, and holds nobody up', async () => {
  const { world, wires, nodes } = cluster()
  wires.partition(['n1'], ['n2', 'n3'])
  const waiting = Array.from({ length: 9 }, (_, i) => new FakeConnection(nodes[0]!, `c${i}`))
  await world.run(100)
  const asking = waiting.filter(({ state }) => state === 'asks')
  expect(asking.length).toBeGreaterThan(1)
  for (const connection of waiting) nodes[0]!.clients.abandon(connection)
  await world.run(1)
  expect(asking.every(({ state }) => state === 'refused')).toBe(true)
  expect(figure(nodes[0]!, 'held')).toBe(9 - asking.length)
})

test('what nobody can read is counted', async () => {
  const { world, nodes } = cluster()
  const raw = {
    type: 'message',
    number: CHANNEL.clients,
    name: 'clients',
    kind: 'raft',
    message: bytesCodec,
  } as const
  nodes[0]!.peers.send(nodes[1]!.name, raw, Buffer.from('nonsense'))
  await world.runUntil(() => figure(nodes[1]!, 'malformed_total') === 1, 1_000)
})

test.each(seeds(10))('when parts meet, exactly one of each client id is left, the later, seed=%i', async (seed) => {
  const { world, wires, nodes, see } = cluster(seed)
  const all: FakeConnection[] = []
  const { random } = world
  const connect = (node: FakeNode, key: string) => {
    const connection = new FakeConnection(node, key)
    all.push(connection)
    return connection
  }
  const [a, b, c] = nodes as [FakeNode, FakeNode, FakeNode]
  for (let i = 0; i < 10; i++) connect(nodes[random.below(3)]!, `c${i}`)
  await world.run(500)
  wires.partition(['n1'], ['n2', 'n3'])
  await world.run(random.below(2_000))
  see(a, [a])
  await world.run(random.below(2_000))
  see(b, [b, c])
  see(c, [b, c])
  const latest: FakeConnection[] = []
  for (let i = 0; i < 10; i++) {
    // Not twice on one node: there its own registry sees to it.
    const [first, second] = i % 2 === 0 ? [a, b] : [c, a]
    for (const old of all) if (old.key === `c${i}` && (old.node === first || old.node === second)) old.leave()
    connect(first!, `c${i}`)
    await world.run(10 + random.below(50))
    latest.push(connect(second!, `c${i}`))
    await world.run(random.below(100))
  }
  await world.run(3_500)
  wires.heal()
  for (const node of nodes) {
    await world.run(random.below(500))
    see(node, nodes)
    wires.cutSome(30)
  }
  await world.run(5_000)
  const open = all.filter(({ state }) => state === 'open')
  expect(new Set(open)).toEqual(new Set(latest))
  expect(nodes.reduce((sum, node) => sum + figure(node, 'owned'), 0)).toBe(10)
})
