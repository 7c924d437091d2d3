import { afterEach, describe, expect, test } from 'vitest'
import { systemClock, systemRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import type { RangeClient } from '../../../src/kv/client/client.ts'
import { RoutedClient } from '../../../src/kv/client/routed-client.ts'
import type { RangeTransport } from '../../../src/kv/client/transport.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import type { Message } from '../../../src/kv/raft/index.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import { LOST } from '../../../src/kv/range/streams.ts'
import { decodeAnswers, encodeAnswers } from '../../../src/kv/remote/call-codec.ts'
import { decodePackets, encodePackets } from '../../../src/kv/remote/packet-codec.ts'
import { RangeCalls } from '../../../src/kv/remote/range-calls.ts'
import { StoreLinks } from '../../../src/kv/remote/store-links.ts'
import { ANSWERS } from '../../../src/kv/store/answers.ts'
import type { Packet } from '../../../src/kv/store/packet.ts'
import { Store } from '../../../src/kv/store/store.ts'
import { type Rpc, startRpc } from '../../../src/rpc/node.ts'
import { bytes, Toy, type ToyCommand, ToyObserver, type ToyQuery, type ToyResponse } from '../toy.ts'

type Client = RangeClient<ToyCommand, ToyResponse, ToyQuery, string | null>

interface Node {
  name: HostId
  rpc: Rpc
  store: Store
  observer: ToyObserver
  transport: RangeTransport<ToyCommand, ToyResponse, ToyQuery, string | null>
  client: Client
}

const open: Node[] = []
afterEach(async () => {
  for (const node of open.splice(0)) await stop(node)
})

async function stop({ store, rpc, client }: Node): Promise<void> {
  await client.close()
  store.abandon()
  rpc.close()
}

/** Stores on real links; time is real, so elections are short. */
async function start(name: string, founders: readonly string[], electionTicks = 4): Promise<Node> {
  const common = { clock: systemClock, random: systemRandom, log: silentLogger }
  const rpc = await startRpc({
    ...{ cluster: 'test', node: name as HostId, incarnation: 1, host: '127.0.0.1', port: 0 },
    ...{ secrets: ['secret'], tls: null, ...common },
  })
  const links = new StoreLinks(rpc.peers)
  const store = new Store({
    ...{ engine: new MemoryEngine(), storeId: name, send: links.send, ...common },
    raftLimits: { electionTicks, heartbeatTicks: 1 },
  })
  links.attach(store)
  const observer = new ToyObserver()
  const toy = new Toy()
  const stores = founders.includes(name) ? founders : []
  const local = store.open(toy, observer, { splits: [bytes('km')], stores })
  const codec = { encode: toy.encode, decode: toy.decode, values: ANSWERS }
  const told = () => open.flatMap((node) => node.store.ranges().map(({ descriptor }) => descriptor))
  const transport = new RangeCalls(rpc.peers, setImmediate).join('inbox', local, codec, told)
  const client: Client = new RoutedClient({ service: 'inbox', transport, incarnation: `${name}-1`, ...common })
  const node = { name: name as HostId, rpc, store, observer, transport, client }
  for (const other of open) {
    other.rpc.peers.join({ node: node.name, address: `127.0.0.1:${rpc.port}` })
    rpc.peers.join({ node: other.name, address: `127.0.0.1:${other.rpc.port}` })
  }
  open.push(node)
  return node
}

const append = (client: Client, key: string, word: string) =>
  client.mutate(bytes(`k${key}`), { type: 'append', key, word })

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

describe('stores on real links', () => {
  test('a group of three takes commands from all of them, and another store joins by a snapshot', async () => {
    const founders = ['s1', 's2', 's3']
    const nodes: Node[] = []
    for (const name of founders) nodes.push(await start(name, founders))
    const words = await Promise.all(nodes.map(({ client }, i) => append(client, 'a', `${i}`)))
    expect(words.map((each) => each?.length).sort()).toEqual([1, 2, 3])
    for (const { client } of nodes) {
      expect((await client.query(bytes('ka'), { key: 'a' }))?.split(' ').sort()).toEqual(['0', '1', '2'])
    }
    await append(nodes[0]!.client, 'a', 'w'.repeat(700_000))
    const fourth = await start('s4', founders)
    const leader = nodes.find(({ store }) =>
      store.ranges().some((each) => each.descriptor.id === 'inbox-1' && each.leads),
    )!
    await leader.store.change('inbox-1', [{ store: 's4', role: 'learner' }])
    await until(() => fourth.observer.state.has('ka'))
    expect(fourth.observer.state.get('ka')).toBe(leader.observer.state.get('ka'))
    expect((await append(fourth.client, 'z', 'x'))?.length).toBe(1)
  })

  test('goes on when a node dies', async () => {
    const founders = ['s1', 's2', 's3']
    for (const name of founders) await start(name, founders)
    await append(open[0]!.client, 'a', 'x')
    const leader = open.find(({ store }) =>
      store.ranges().some((each) => each.descriptor.id === 'inbox-1' && each.leads),
    )!
    open.splice(open.indexOf(leader), 1)
    await stop(leader)
    expect((await append(open[0]!.client, 'a', 'y'))?.length).toBe(2)
    expect(await open[1]!.client.query(bytes('ka'), { key: 'a' })).toBe('x y')
  })

  test('a broken connection to the leader is reason enough to elect another one', async () => {
    const founders = ['s1', 's2', 's3']
    // The first one leads; the others would wait for a minute and more, were it not suspected.
    for (const name of founders) await start(name, founders, name === 's1' ? 4 : 600)
    const [first, ...others] = open
    await append(first!.client, 'a', 'x')
    expect(await others[0]!.client.query(bytes('ka'), { key: 'a' })).toBe('x')
    open.shift()
    await stop(first!)
    expect((await append(others[0]!.client, 'a', 'y'))?.length).toBe(2)
  })

  test('a call under way fails when its connection breaks, and the next ones at once', async () => {
    const node = await start('s1', ['s1'])
    const other = await start('s2', ['s1'])
    await append(other.client, 'a', 'x')
    const [range] = node.store.ranges()
    const ask = () =>
      new Promise<string>((resolve) => {
        const query = { range: range!.descriptor.id, epochVersion: 1, key: bytes('ka'), query: { key: 'a' } }
        other.transport.query('s1', { ...query, linearizable: true }, (error) => resolve(error?.code ?? 'ok'))
      })
    expect(await ask()).toBe('ok')
    // Nobody there answers any more, and the connection is still there.
    node.store.abandon()
    const asked = ask()
    await new Promise((resolve) => setImmediate(resolve))
    node.rpc.close()
    expect(await asked).toBe('UNAVAILABLE')
    expect(await ask()).toBe('UNAVAILABLE')
  })

  test('what cannot be read is an error for its caller alone, and counted', async () => {
    const node = await start('s1', ['s1'])
    const other = await start('s2', ['s1'])
    const channel = { type: 'request', number: 2, name: 'propose', kind: 'deliveries' } as const
    const codec = {
      bytes: (value: Uint8Array) => value.length,
      write: (target: Buffer, at: number, value: Uint8Array) => target.set(value, at),
      read: (source: Buffer) => new Uint8Array(source),
    }
    const code = await new Promise<string>((resolve) => {
      const request = { ...channel, request: codec, answer: codec }
      other.rpc.peers.request(node.name, request, Uint8Array.of(1, 1, 99), { deadlineMs: 5_000 }, (error) =>
        resolve(error?.code ?? 'ok'),
      )
    })
    expect(code).toBe('INVALID_ARGUMENT')
    expect((await append(other.client, 'a', 'x'))?.length).toBe(1)
  })
})

describe('bytes between stores', () => {
  const descriptor: RangeDescriptor = {
    ...{ id: 'inbox-1', service: 'inbox', epoch: { version: 3, confVersion: 2 }, start: bytes('a'), end: undefined },
    replicas: [{ store: 's1', replica: 4, role: 'learner' }],
  }
  const heartbeat: Message = { type: 'heartbeat', from: 1, to: 2, term: 3, commit: 4, round: 5, quiesce: true }
  const packets: Packet[] = [
    { type: 'raft', range: 'inbox-1', message: heartbeat },
    { type: 'raft', range: 'dist-1', message: { ...heartbeat, to: 3 } },
    { type: 'stranger', range: 'inbox-1', replica: 7 },
    { type: 'gone', range: 'inbox-1', replica: 8 },
    { type: 'introduction', descriptor },
    { type: 'snapshot', service: 'retain', toSender: true, message: { type: 'credit', stream: 3, upTo: 9 } },
  ]

  test('packets come back as they went', () => {
    expect(decodePackets(encodePackets(packets))).toEqual(packets)
    expect(decodePackets(encodePackets([]))).toEqual([])
    expect(decodePackets(encodePackets(packets.slice(2)))).toEqual(packets.slice(2))
  })

  test('a frame that is cut or changed gives an error of ours, or other packets', () => {
    const frame = encodePackets(packets)
    for (let at = 0; at < frame.length; at++) {
      for (const change of [1, 0x55, 0xff]) {
        const damaged = frame.slice()
        damaged[at]! ^= change
        expectOwnError(() => decodePackets(damaged))
      }
      expectOwnError(() => decodePackets(frame.slice(0, at)))
    }
  })

  test('answers that are lost stay lost', () => {
    expect(decodeAnswers(encodeAnswers([1, LOST, { a: bytes('x') }], ANSWERS), ANSWERS)).toMatchObject([1, LOST, {}])
    expect(decodeAnswers(encodeAnswers([null, 2], ANSWERS), ANSWERS)).toEqual([null, 2])
  })
})

function expectOwnError(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    expect((error as { code?: string }).code, String(error)).toMatch(/INVALID_ARGUMENT|STORAGE_FAILED/)
  }
}
