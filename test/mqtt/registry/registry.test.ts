import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import { hashClaim, Rendezvous } from '../../../src/mqtt/registry/hash.ts'
import { type ClientMessage, decodeMessages, encodeMessages } from '../../../src/mqtt/registry/message.ts'
import { seeds } from '../../sim/seeds.ts'
import { SimClients, type SimClientsOptions } from './sim-clients.ts'

function clients(options: Partial<SimClientsOptions> = {}) {
  const sim = new SimClients({ seed: 1, nodes: 3, ...options })
  sim.join()
  return sim
}

describe('a CONNECT', () => {
  test('is granted by the owner, whichever node that is', () => {
    const sim = clients()
    const all = Array.from({ length: 30 }, (_, i) => sim.connect(sim.nodes[i % 3]!, `c${i}`))
    expect(all.filter(({ state }) => state === 'open').length).toBeGreaterThan(3)
    sim.run(100)
    expect(all.every(({ state }) => state === 'open')).toBe(true)
    expect(sim.nodes.reduce((sum, { machine }) => sum + machine.owned, 0)).toBe(30)
    for (const { machine } of sim.nodes) expect(machine.owned).toBeGreaterThan(3)
    for (const connection of all) sim.close(connection)
    sim.run(100)
    expect(sim.nodes.map(({ machine }) => [machine.owned, machine.held])).toEqual([
      [0, 0],
      [0, 0],
      [0, 0],
    ])
  })

  test('on any node closes the connection before, and is granted when that one is gone', () => {
    const sim = clients()
    sim.strict = true
    for (let i = 0; i < 20; i++) {
      const key = `c${i}`
      const connections = [0, 1, 2, 0].map((node) => {
        const connection = sim.connect(sim.nodes[node]!, key)
        sim.run(500)
        return connection
      })
      expect(connections.map(({ state }) => state)).toEqual(['closed', 'closed', 'closed', 'open'])
    }
    expect(sim.problems).toEqual([])
  })

  test('counts as the later one although its clock is behind that of the one before', () => {
    const sim = clients()
    sim.strict = true
    const [a, b] = sim.nodes
    Object.assign(a!, { skewMs: 60_000 })
    for (let i = 0; i < 20; i++) {
      sim.connect(a!, `c${i}`)
      sim.run(200)
      const later = sim.connect(b!, `c${i}`)
      sim.run(500)
      expect([sim.open(`c${i}`), later.refused]).toEqual([[later], false])
    }
    expect(sim.problems).toEqual([])
  })

  test('goes on without its owner when that does not answer in time', () => {
    const sim = clients()
    sim.partition([sim.nodes[2]!], 100_000)
    const all = Array.from({ length: 12 }, (_, i) => sim.connect(sim.nodes[0]!, `c${i}`))
    sim.run(500)
    const waiting = all.filter(({ state }) => state === 'asks')
    expect(waiting.length).toBeGreaterThan(1)
    sim.run(2_700)
    expect(all.every(({ state }) => state === 'open')).toBe(true)
  })

  test('asks the new owner when the old one is gone', () => {
    const sim = clients()
    sim.partition([sim.nodes[2]!], 0)
    sim.run(1)
    sim.nodes[0]!.members = []
    const all = Array.from({ length: 12 }, (_, i) => sim.connect(sim.nodes[0]!, `c${i}`))
    sim.run(200)
    expect(all.every(({ state }) => state === 'open')).toBe(true)
  })

  test('is not held up for long by one that does not close', () => {
    const sim = clients()
    const stuck = sim.connect(sim.nodes[0]!, 'c')
    sim.run(100)
    sim.partition([sim.nodes[0]!], 100_000)
    const others = [sim.nodes[1]!, sim.nodes[2]!]
    const owner = new Rendezvous(['n1', 'n2', 'n3']).ownerOf('c')!
    const later = sim.connect(others.find(({ name }) => name !== owner)!, 'c')
    sim.run(1_000)
    expect(later.state).toBe('asks')
    sim.run(2_200)
    expect([later.state, stuck.state]).toEqual(['open', 'open'])
    sim.heal(0)
    sim.run(3_000)
    expect([later.state, stuck.state]).toEqual(['open', 'closed'])
  })
})

describe('after', () => {
  test('a member came, its share of the claims moves to it, at a bounded rate', () => {
    const sim = clients({ nodes: 4, registry: { sweepSlice: 20 } })
    const three = ['n1', 'n2', 'n3']
    for (const node of sim.nodes) sim.view(node, three)
    for (let i = 0; i < 900; i++) sim.connect(sim.nodes[i % 3]!, `c${i}`)
    sim.run(2_000)
    expect(sim.nodes[3]!.machine.owned).toBe(0)
    sim.join()
    sim.run(250)
    expect(sim.nodes[3]!.machine.owned).toBeLessThan(100)
    sim.run(3_000)
    expect(sim.nodes[3]!.machine.owned).toBeGreaterThan(150)
    expect(sim.nodes.reduce((sum, { machine }) => sum + machine.owned, 0)).toBe(900)
  })

  test('the restart of an owner everything is claimed there again; of a holder nothing is left', () => {
    const sim = clients()
    const all = Array.from({ length: 90 }, (_, i) => sim.connect(sim.nodes[i % 3]!, `c${i}`))
    sim.run(200)
    sim.restart(sim.nodes[1]!)
    sim.run(3_000)
    expect(all.filter(({ state }) => state === 'open')).toHaveLength(60)
    expect(sim.nodes.reduce((sum, { machine }) => sum + machine.owned, 0)).toBe(60)
    const again = sim.connect(sim.nodes[0]!, 'c1')
    sim.run(300)
    expect(sim.open('c1')).toEqual([again])
  })

  test('a lost message the digests agree again', () => {
    const sim = clients()
    for (let i = 0; i < 30; i++) sim.connect(sim.nodes[0]!, `c${i}`)
    sim.run(100)
    const [a] = sim.nodes
    for (let i = 0; i < 10; i++) {
      a!.machine.release(`c${i}`, a!.connections.get(`c${i}`)!, sim.nowMs)
      a!.connections.get(`c${i}`)!.state = 'closed'
    }
    a!.machine.messages()
    sim.run(3_000)
    expect(sim.nodes.reduce((sum, { machine }) => sum + machine.owned, 0)).toBe(20)
    const before = sim.messages
    sim.run(10_000)
    expect(sim.messages - before).toBeLessThan(11 * 9)
  })

  test('more than an owner keeps, clients get in all the same', () => {
    const sim = clients({ nodes: 2, registry: { claimsMax: 10 } })
    const all = Array.from({ length: 60 }, (_, i) => sim.connect(sim.nodes[0]!, `c${i}`))
    sim.run(300)
    expect(all.every(({ state }) => state === 'open')).toBe(true)
    for (const { machine } of sim.nodes) expect(machine.owned).toBeLessThanOrEqual(10)
    const before = sim.messages
    sim.run(5_000)
    expect(sim.messages - before).toBeLessThan(50)
  })
})

const SEEDS = seeds(60)

test.each(SEEDS)(
  'while the members stay, never two of a client id, and CONNECTs at once leave exactly one, seed=%i',
  (seed) => {
    const sim = clients({ seed, nodes: 2 + (seed % 4), delayMsMax: 150, skewMsMax: seed % 3 === 0 ? 5_000 : 0 })
    sim.strict = true
    const { random } = sim.world
    for (let round = 0; round < 60; round++) {
      const key = `c${random.below(5)}`
      const at = () => sim.nodes[random.below(sim.nodes.length)]!
      for (let i = random.below(3); i >= 0; i--) sim.connect(at(), key)
      sim.run(random.below(400))
      const open = sim.all.filter(({ state }) => state === 'open')
      if (open.length > 0 && random.below(4) === 0) sim.close(open[random.below(open.length)]!)
    }
    for (let i = 0; i < 5; i++) for (const node of sim.nodes) sim.connect(node, `c${i}`)
    sim.run(8_000)
    expect(sim.problems).toEqual([])
    for (let i = 0; i < 5; i++) expect(sim.open(`c${i}`)).toHaveLength(1)
    expect(sim.all.filter(({ state }) => state === 'asks' || state === 'closing')).toEqual([])
    expect(sim.nodes.reduce((sum, { machine }) => sum + machine.owned, 0)).toBe(5)
  },
)

test.each(SEEDS)(
  'through cuts, restarts and changing views: when all see each other, one is left within 5 s, the latest, seed=%i',
  (seed) => {
    const sim = clients({ seed, nodes: 3 + (seed % 3), delayMsMax: 50 })
    const { random } = sim.world
    const at = () => sim.nodes[random.below(sim.nodes.length)]!
    const keys = Array.from({ length: 8 }, (_, i) => `c${i}`)
    for (let round = 0; round < 40; round++) {
      for (let i = random.below(4); i > 0; i--) sim.connect(at(), keys[random.below(8)]!)
      const open = sim.all.filter(({ state }) => state === 'open')
      if (open.length > 0 && random.below(5) === 0) sim.close(open[random.below(open.length)]!)
      if (round % 8 === 2) sim.partition(sim.nodes.slice(0, 1 + random.below(sim.nodes.length - 1)), 3_000)
      if (round % 8 === 6) sim.heal(2_000)
      if (random.below(12) === 0) sim.restart(at())
      // Somebody sees somebody for dead who is not.
      if (random.below(8) === 0) {
        const node = at()
        sim.view(
          node,
          sim.nodes.map(({ name }) => name).filter((name) => name === node.name || random.below(3) > 0),
        )
      }
      sim.run(random.below(1_200))
    }
    sim.partition([sim.nodes[0]!], 1_000)
    sim.run(4_000)
    /** When both sides have one, the later CONNECT wins. */
    const wanted = new Map<string, number>()
    for (const key of keys) {
      sim.connect(sim.nodes[random.below(2)]!, key)
      sim.run(4_000 + random.below(200))
      wanted.set(key, sim.connect(sim.nodes[random.below(2)]!, key).id)
      sim.run(4_000)
    }
    sim.heal(300)
    sim.run(300 + 5_000)
    expect(sim.problems).toEqual([])
    for (const key of keys) expect(sim.open(key).map(({ id }) => id)).toEqual([wanted.get(key)])
    expect(sim.all.filter(({ state }) => state === 'asks' || state === 'closing')).toEqual([])
    expect(sim.nodes.reduce((sum, { machine }) => sum + machine.owned, 0)).toBe(8)
  },
)

describe('on the wire', () => {
  const messages: ClientMessage[] = [
    { type: 'claim', key: 't\0clüent', time: 2 ** 51 + 5, fresh: true },
    { type: 'claim', key: 't\0b', time: 7, fresh: false },
    { type: 'withdraw', key: 't\0c', time: 8 },
    { type: 'digest', count: 4_000_000_000, hash: 0xffff_ffff },
    { type: 'reset' },
    { type: 'granted', key: '', time: 0 },
    { type: 'close', key: 'x'.repeat(70_000), time: 1 },
    { type: 'behind', key: 'y', time: 1, by: 2 },
    { type: 'resync' },
  ]
  const bytes = Buffer.from(encodeMessages(9, messages))

  test('all kinds come back', () => {
    expect(decodeMessages(bytes)).toEqual({ run: 9, messages })
    expect(decodeMessages(Buffer.from(encodeMessages(1, [])))).toEqual({ run: 1, messages: [] })
  })

  test('bytes of anybody are read or not, and never thrown at', () => {
    const random = seededRandom(1)
    const small = Buffer.from(
      encodeMessages(
        9,
        messages.filter((message) => message.type !== 'close'),
      ),
    )
    for (let end = 0; end < small.length; end++) decodeMessages(small.subarray(0, end))
    for (let i = 0; i < Number(process.env.FUZZ ?? 5_000); i++) {
      const changed = Buffer.from(small)
      for (let j = 0; j <= random.below(3); j++) changed[random.below(changed.length)] = random.below(256)
      decodeMessages(changed)
    }
    expect(decodeMessages(Buffer.alloc(0))).toBeNull()
    expect(decodeMessages(Buffer.from([2, ...small.subarray(1)]))).toBeNull()
  })
})

describe('rendezvous', () => {
  const keys = Array.from({ length: 6_000 }, (_, i) => `tenant\0client-${i}`)

  test('spreads keys evenly; who comes or goes moves only its own', () => {
    const three = new Rendezvous(['a', 'b', 'c'])
    const four = new Rendezvous(['d', 'c', 'b', 'a'])
    const counts = new Map<string, number>()
    for (const key of keys) {
      const owner = four.ownerOf(key)!
      counts.set(owner, (counts.get(owner) ?? 0) + 1)
      if (owner !== 'd') expect(three.ownerOf(key)).toBe(owner)
    }
    for (const count of counts.values()) expect(Math.abs(count - 1_500)).toBeLessThan(200)
    expect(new Rendezvous([]).ownerOf('x')).toBeNull()
  })

  test('hashes of claims differ by key and time', () => {
    const hashes = new Set(keys.flatMap((key) => [hashClaim(key, 1), hashClaim(key, 2), hashClaim(key, 1 + 2 ** 40)]))
    expect(hashes.size).toBeGreaterThan(keys.length * 3 - 5)
  })
})
