import { expect, test } from 'vitest'
import type { QoS } from '../../../src/base/message.ts'
import { seeds } from '../../sim/seeds.ts'
import type { FakeSubscriber } from '../routing/fake-subscriber.ts'
import { type DeliveryNode, Nodes, TENANT } from './nodes.ts'

function three(options: ConstructorParameters<typeof Nodes>[1] = {}) {
  const nodes = new Nodes(3, options)
  const [a, b, c] = nodes.all as [DeliveryNode, DeliveryNode, DeliveryNode]
  return { nodes, a, b, c }
}

const counts = (...members: FakeSubscriber[]) =>
  members.map((member) => member.delivered.length + member.plain().length)

test('one member gets a message: of this node while it has room, else of another one', () => {
  const { nodes, a, b, c } = three()
  const here = a.join('g', 't/1', 'here')
  const there = [b.join('g', 't/1', 'b1'), b.join('g', 't/1', 'b2'), c.join('g', 't/1', 'c1')]
  for (const qos of [0, 1, 2] as const) expect(a.publish('t/1', 'x', { qos })).toEqual(['ok 1'])
  nodes.run(100)
  expect(counts(here, ...there)).toEqual([3, 0, 0, 0])
  here.room = 0
  for (let i = 0; i < 300; i++) expect(a.publish('t/1', 'x', { qos: (i % 3) as QoS })).toEqual(['ok 1'])
  nodes.run(100)
  const after = counts(here, ...there)
  expect(after[0]).toBe(3)
  expect(after.slice(1).reduce((sum, count) => sum + count, 0)).toBe(300)
  for (const count of after.slice(1)) expect(count).toBeGreaterThan(50)
  expect(a.figures()).toMatchObject({ asks: 0, asked: 200, asked_again: 0 })
})

test('a node without room says so, and another one is asked', () => {
  const { nodes, a, b, c } = three()
  const full = b.join('g', 't/1', 'full')
  const free = c.join('g', 't/1', 'free')
  full.room = 0
  for (let i = 0; i < 60; i++) expect(a.publish('t/1', `${i}`, { qos: 1 })).toEqual(['ok 1'])
  nodes.run(100)
  expect([full.delivered, free.delivered.length]).toEqual([[], 60])
  expect(a.figures().asked_again).toBeGreaterThan(10)
  expect(a.figures().asks).toBe(0)
  // For a moment it is not asked again; then it is.
  nodes.run(100)
  const rested = a.figures().asked_again!
  while (a.figures().asked_again === rested) {
    a.publish('t/1', 'w', { qos: 1 })
    nodes.run(20)
  }
  const again = a.figures().asked_again
  const before = free.delivered.length
  for (let i = 0; i < 30; i++) a.publish('t/1', 'y', { qos: 1 })
  nodes.run(50)
  expect([a.figures().asked_again, free.delivered.length]).toEqual([again, before + 30])
  nodes.run(200)
  full.room = 1
  for (let i = 0; i < 40; i++) a.publish('t/1', 'z', { qos: 2 })
  nodes.run(100)
  expect(full.delivered.length).toBeGreaterThan(5)
  expect(full.delivered.length + free.delivered.length).toBe(before + 70)
})

test('where nobody has room somebody takes it all the same: here, if there is one here', () => {
  const { nodes, a, b, c } = three()
  const members = [b.join('g', 't/1', 'b'), c.join('g', 't/1', 'c')]
  for (const member of members) member.room = 0
  for (let i = 0; i < 20; i++) a.publish('t/1', 'x', { qos: 1 })
  nodes.run(200)
  expect(counts(...members).reduce((sum, count) => sum + count, 0)).toBe(20)
  const here = a.join('g', 't/1', 'a')
  here.room = 0
  for (let i = 0; i < 20; i++) a.publish('t/1', 'x', { qos: 1 })
  nodes.run(200)
  expect(here.delivered).toHaveLength(20)
  expect([a.drops, b.drops, c.drops]).toEqual([[], [], []])
})

test('a node whose members left is passed over', () => {
  const { nodes, a, b, c } = three()
  const left = b.join('g', 't/1', 'left')
  const stays = c.join('g', 't/1', 'stays')
  nodes.wires.partition(['n1'], ['n2', 'n3'])
  for (let i = 0; i < 40; i++) a.publish('t/1', `${i}`, { qos: 2 })
  // They leave before what was sent arrives.
  nodes.run(1)
  b.table.leave({ tenant: TENANT, group: 'g', filter: 't/1', ordered: false }, left)
  nodes.wires.heal()
  nodes.until(() => stays.delivered.length === 40, 'all go to who stays', 5_000)
  nodes.run(100)
  expect([left.delivered, a.figures().asks, a.drops]).toEqual([[], 0, []])
})

test('the group inbox takes what no member here has room for, before other nodes are asked; QoS 0 goes by credit', () => {
  const { nodes, a, b } = three()
  const there = b.join('g', 't/1', 'b')
  const key = { group: 'g', ordered: false } as const
  const inbox = { kind: 'inbox', inbox: 'g-inbox' as never, incarnation: 4 } as const
  a.dist.changeWith(
    { op: 'add', tenant: TENANT, filter: 't/1', incarnation: 4, receiver: { kind: 'group', ...key, member: inbox } },
    () => {},
  )
  a.publish('t/1', 'x', { qos: 1 })
  expect(a.inbox.inserted).toHaveLength(1)
  for (let i = 0; i < 50; i++) a.publish('t/1', 'x', { qos: 0 })
  nodes.run(100)
  expect(there.plain().length + there.delivered.length + a.inbox.inserted.length).toBe(51)
  expect(there.plain().length + there.delivered.length).toBeGreaterThan(10)
})

test('an ordered group gives one publisher to one member, whichever node it publishes from, in order', () => {
  const { nodes } = three()
  const members = nodes.all.flatMap((node) => [
    node.join('g', 't/1', `${node.name}-1`, true),
    node.join('g', 't/1', `${node.name}-2`, true),
  ])
  const [, full] = members
  full!.room = 0
  for (let i = 0; i < 300; i++) {
    const publisher = `p${i % 30}`
    const node = nodes.all[Math.floor(i / 100)]!
    node.publish('t/1', `${publisher} ${i}`, { qos: (i % 2) as QoS, publisher })
    if (i % 100 === 99) nodes.run(100)
  }
  const memberOf = new Map<string, string>()
  let total = 0
  for (const member of members) {
    const lines = [...member.delivered, ...member.plain()]
    total += lines.length
    for (const line of lines) {
      const [publisher] = line.split(' ') as [string]
      expect(memberOf.get(publisher) ?? member.clientId).toBe(member.clientId)
      memberOf.set(publisher, member.clientId)
    }
  }
  expect(total).toBe(300)
  expect(new Set(memberOf.values()).size).toBeGreaterThan(3)
})

test('an ordered group holds its publisher up where its member is behind a full link', () => {
  const { nodes, a, b } = three({ limits: { heldBytesMax: 1_000 } })
  const member = b.join('g', 't/1', 'b', true)
  nodes.wires.partition(['n1'], ['n2'])
  const told = Array.from({ length: 20 }, (_, i) => a.publish('t/1', `${i}`.padEnd(100), { qos: 1 }))
  nodes.run(100)
  expect(told.filter((list) => list.length === 0).length).toBeGreaterThan(5)
  nodes.wires.heal()
  nodes.until(() => member.delivered.length === 20, 'all arrive, in order')
  expect(member.delivered.map((line) => Number.parseInt(line, 10))).toEqual(Array.from({ length: 20 }, (_, i) => i))
  expect(told.flat()).toEqual(Array.from({ length: 20 }, () => 'ok 1'))
})

test('when a node dies with messages under way, QoS 1 goes to another, QoS 2 is given up and counted', () => {
  const { nodes, a, b, c } = three()
  b.join('g', 't/1', 'dies')
  const lives = c.join('g', 't/1', 'lives')
  nodes.wires.partition(['n1'], ['n2'])
  for (let i = 0; i < 100; i++) a.publish('t/1', `${i}`, { qos: (1 + (i % 2)) as QoS })
  nodes.run(500)
  const before = lives.delivered.length
  expect(before).toBeLessThan(90)
  a.peers.forget(b.name)
  a.deliveries.left(b.name)
  nodes.run(500)
  const lost = a.drops.length
  expect(lost).toBeGreaterThan(5)
  expect(new Set(a.drops)).toEqual(new Set(['link-lost t t/1 q2 x1']))
  expect(lives.delivered).toHaveLength(100 - lost)
  expect(lives.delivered.filter((line) => line.includes(' q1'))).toHaveLength(50)
  expect(a.figures().asks).toBe(0)
})

test('too many under way are refused', () => {
  const { nodes, a, b } = three({ groupLimits: { messagesMax: 10 } })
  const member = b.join('g', 't/1', 'b')
  const told = Array.from({ length: 15 }, () => a.publish('t/1', 'x', { qos: 1 })[0])
  expect(told.filter((text) => text === 'ok 1')).toHaveLength(10)
  expect(told.at(-1)).toContain('too much is under way')
  nodes.run(100)
  expect(member.delivered).toHaveLength(10)
  expect(a.publish('t/1', 'x', { qos: 1 })).toEqual(['ok 1'])
})

test.each(seeds(10))(
  'a message for a group reaches one member, over links that break and members without room, seed=%i',
  (seed) => {
    const nodes = new Nodes(3, { seed })
    const { world } = nodes
    const members = nodes.all.flatMap((node) => [
      node.join('g', 't/+', `${node.name}-1`),
      node.join('g', 't/+', `${node.name}-2`),
    ])
    let sent = 0
    for (let round = 0; round < 40; round++) {
      for (const member of members) member.room = world.random.below(3) === 0 ? 0 : 1
      for (let i = world.random.below(30); i > 0; i--) {
        nodes.all[world.random.below(3)]!.publish(`t/${i % 3}`, `${sent++}`, {
          qos: (1 + world.random.below(2)) as QoS,
        })
      }
      if (world.random.below(4) === 0) nodes.wires.cutSome(50)
      nodes.run(world.random.below(60))
    }
    for (let rounds = 0; rounds < 100 && nodes.all.some((node) => node.figures().asks! > 0); rounds++) nodes.run(100)
    const numbers = members.flatMap(({ delivered }) => delivered.map((line) => Number.parseInt(line, 10)))
    expect(numbers.sort((x, y) => x - y)).toEqual(Array.from({ length: sent }, (_, i) => i))
    expect(nodes.all.flatMap(({ drops }) => drops)).toEqual([])
  },
)
