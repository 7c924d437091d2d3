import { expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import type { MoveOrder, Mover } from '../../../src/mqtt/index.ts'
import { formatRebalance } from '../../../src/node/cli/rebalance.ts'
import type { Answerer, Control, Question } from '../../../src/node/cluster/control.ts'
import type { Member } from '../../../src/node/cluster/roster.ts'
import { Rebalance } from '../../../src/node/rebalance/rebalance.ts'
import { World } from '../../sim/world.ts'

interface Node {
  rebalance: Rebalance
  connections: number
  ready: boolean
  /** What it was told to do. */
  orders: (MoveOrder | 'stop')[]
  answer(question: Question): unknown
}

/** Nodes whose questions reach each other, and whose connections are numbers. */
function flock(
  counts: number[],
  options: { automatic?: boolean; states?: Member['state'][]; clientless?: number[] } = {},
) {
  const world = new World({ seed: 1 })
  const nodes = new Map<string, Node>()
  const states = options.states ?? []
  const serves = (i: number) => options.clientless?.includes(i) !== true
  counts.forEach((connections, i) => {
    const own = `n${i}`
    const answerers = new Map<string, Answerer>()
    const control = {
      handle: (ask: string, answerer: Answerer) => void answerers.set(ask, answerer),
      ask: async (to: HostId, question: Question) => nodes.get(to)!.answer(question),
    } as unknown as Control
    const orders: Node['orders'] = []
    const node: Node = {
      ...{ connections, ready: true, orders },
      answer: (question) => answerers.get(question.ask)!(question),
      rebalance: new Rebalance({
        ...{ control, clock: world.clock, log: silentLogger },
        members: () => counts.map((_, j) => memberOf(`n${j}`, states[j] ?? 'alive', i === j, serves(j))),
        connections: () => node.connections,
        health: () => ({ ready: node.ready, reasons: [] }),
        mover: serves(i) ? moverOf(orders) : null,
        settings: { automatic: options.automatic ?? false, spreadPercent: 20, perSecond: 50, reference: `${own}:1883` },
      }),
    }
    nodes.set(own, node)
  })
  return { world, nodes: [...nodes.values()] }
}

function memberOf(name: string, state: Member['state'], self: boolean, serves: boolean): Member {
  return { name, id: name, state, self, roles: serves ? ['mqtt'] : ['dist'] } as unknown as Member
}

function moverOf(orders: Node['orders']): Mover {
  let progress = { left: 0, moved: 0 }
  return {
    get progress() {
      return progress
    },
    begin: (order: MoveOrder) => {
      orders.push(order)
      progress = { left: 0, moved: order.count }
    },
    stop: () => void orders.push('stop'),
  } as unknown as Mover
}

const ANY = { spreadPercent: null, perSecond: null }

test('whichever node is asked, those with too many are told, and nobody else', async () => {
  for (const asked of [0, 1, 2]) {
    const { nodes } = flock([100, 80, 0])
    const info = await nodes[asked]!.rebalance.begin({ spreadPercent: null, perSecond: 7 })
    const to = [{ reference: 'n2:1883', count: 40 }]
    expect(nodes.map(({ orders }) => orders)).toEqual([
      [{ count: 40, keep: 60, perSecond: 7, to }],
      [{ count: 20, keep: 60, perSecond: 7, to: [{ reference: 'n2:1883', count: 20 }] }],
      [],
    ])
    expect(info.nodes.map(({ excess, moving }) => [excess, moving.moved])).toEqual([
      [40, 40],
      [20, 20],
      [0, 0],
    ])
  }
})

test('a node that serves no clients asks the others, counts for nothing, and takes no order', async () => {
  const { world, nodes } = flock([100, 0, 0], { clientless: [2], automatic: true })
  const info = await nodes[2]!.rebalance.begin(ANY)
  expect(info.nodes.map(({ name, excess }) => [name, excess])).toEqual([
    ['n0', 50],
    ['n1', 0],
  ])
  expect(nodes.map(({ orders }) => orders.length)).toEqual([1, 0, 0])
  const order = { count: 1, keep: 0, perSecond: 1, to: [] }
  expect(() => nodes[2]!.answer({ ask: 'move-connections', order })).toThrow('there are none')
  nodes[2]!.rebalance.start()
  await world.run(60_000)
  expect(nodes.map(({ orders }) => orders.length)).toEqual([1, 0, 0])
})

test('a look moves nothing; a cancel stops all', async () => {
  const { nodes } = flock([100, 0])
  expect((await nodes[1]!.rebalance.info(ANY)).nodes.map(({ excess }) => excess)).toEqual([50, 0])
  expect(nodes.flatMap(({ orders }) => orders)).toEqual([])
  await nodes[1]!.rebalance.cancel()
  expect(nodes.map(({ orders }) => orders)).toEqual([['stop'], ['stop']])
})

test('who is not ready, dead or silent neither gives nor gets, and is named', async () => {
  const { nodes } = flock([100, 0, 0, 50], { states: ['alive', 'dead', 'alive', 'alive'] })
  nodes[2]!.ready = false
  nodes[3]!.answer = () => {
    throw new BrokerError('TIMEOUT', 'No answer came')
  }
  const { nodes: shown } = await nodes[0]!.rebalance.begin(ANY)
  expect(shown.map(({ connections, error }) => [connections, error])).toEqual([
    [100, null],
    [null, 'it is dead'],
    [0, 'it is not ready: it starts'],
    [null, 'No answer came'],
  ])
  expect(nodes.flatMap(({ orders }) => orders)).toEqual([])
  expect(formatRebalance({ nodes: shown, spreadPercent: 20, perSecond: 50 })).toBe(`\
NODE  CONNECTIONS  TOO MANY  MOVING  NOTE
n0            100         -       -
n1              -         -       -  it is dead
n2              0         -       -  it is not ready: it starts
n3              -         -       -  No answer came

No node is more than 20 % above the mean.
`)
})

test.each([
  [{ connections: -1, reference: null, unready: null, moving: { left: 0, moved: 0 } }],
  [{ connections: 1, reference: 'x'.repeat(300), unready: null, moving: { left: 0, moved: 0 } }],
  [{ connections: 1, reference: null, unready: null }],
  [[]],
])('an answer that is no answer is left out: %j', async (answer) => {
  const { nodes } = flock([100, 0])
  nodes[1]!.answer = () => answer
  const { nodes: shown } = await nodes[0]!.rebalance.info(ANY)
  expect(shown[1]).toMatchObject({ connections: null, error: 'its answer is not understood' })
})

test.each([
  [undefined],
  [{ count: -1, keep: 0, perSecond: 1, to: [] }],
  [{ count: 1, keep: 0, perSecond: 0, to: [] }],
  [{ count: 1, keep: 0, perSecond: 1e9, to: [] }],
  [{ count: 1, keep: 0, perSecond: 1, to: 'n2' }],
  [{ count: 1, keep: 0, perSecond: 1, to: [null] }],
  [{ count: 1, keep: 0, perSecond: 1, to: [{ reference: '', count: 1 }] }],
])('an order that is no order is refused: %j', (order) => {
  const { nodes } = flock([100, 0])
  expect(() => nodes[0]!.answer({ ask: 'move-connections', order })).toThrow('not understood')
  expect(nodes[0]!.orders).toEqual([])
})

test.each([
  [{ spreadPercent: -1, perSecond: null }, 'spreadPercent'],
  [{ spreadPercent: null, perSecond: 0 }, 'perSecond'],
  [{ spreadPercent: 1.5, perSecond: null }, 'spreadPercent'],
])('what cannot be meant is refused: %j', async (wish, name) => {
  const { nodes } = flock([100, 0])
  await expect(nodes[0]!.rebalance.begin(wish)).rejects.toThrow(`"${name}" is`)
})

test('by itself only where that is asked for: then what is too many here, ever more rarely where it does not help', async () => {
  const { world, nodes } = flock([100, 0, 80], { automatic: true })
  const off = flock([100, 0])
  off.nodes[0]!.rebalance.start()
  await off.world.run(3_600_000)
  expect(off.nodes[0]!.orders).toEqual([])

  nodes[0]!.rebalance.start()
  await world.run(14_000)
  expect(nodes[0]!.orders).toEqual([])
  await world.run(2_000)
  expect(nodes.map(({ orders }) => orders.length)).toEqual([1, 0, 0])
  // All of them came back: 15, 30, 60 ... s, instead of 240 looks in an hour.
  await world.run(3_600_000)
  expect(nodes[0]!.orders.length).toBeLessThan(10)
  expect(nodes[0]!.orders.length).toBeGreaterThan(5)
  nodes[0]!.connections = 40
  await world.run(3_600_000)
  const until = nodes[0]!.orders.length
  nodes[0]!.connections = 100
  await world.run(16_000)
  expect(nodes[0]!.orders.length).toBe(until + 1)
  nodes[0]!.rebalance.stop()
  await world.run(7_200_000)
  expect(nodes[0]!.orders.length).toBe(until + 1)
})
