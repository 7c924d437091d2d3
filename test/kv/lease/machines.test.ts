import { describe, expect, test } from 'vitest'
import {
  type Answer,
  type Ask,
  grantMaxMs,
  type LeaseOptions,
  MATCH_LEASE,
  MatchHolder,
  MatchLeader,
  NODE_LEASE,
  NodeHolder,
  NodeLeader,
  onLeadersClock,
  tiles,
} from '../../../src/kv/lease/index.ts'

const EXACT: LeaseOptions = { ...MATCH_LEASE, driftPercent: 0 }
const NODE: LeaseOptions = { ...NODE_LEASE, askMs: 2_000, closeMs: 2_000, driftPercent: 0 }

describe('clocks that run up to 1 % wrong', () => {
  const rates = [0.99, 1, 1.01]
  // Part of a lease passes on the leader's clock, before it is granted, the rest on the holder's.
  for (const options of [MATCH_LEASE, NODE_LEASE]) {
    test.each(rates.flatMap((leader) => rates.map((holder) => [options.leaseMs, leader, holder])))(
      'a lease of %d ms ends before a new leader thinks so: leader x%d, holder x%d',
      (leaseMs, leaderRate, holderRate) => {
        for (const passedMs of [0, 100, leaseMs! / 2, leaseMs! * 0.7]) {
          const leader = new MatchLeader(-20_000, options)
          leader.ready()
          leader.confirmed(1_000)
          const answer = leader.ask(ask(1), 5, 1_000 + passedMs)
          if (answer.type !== 'granted') throw new Error('it is refused')
          const endsMs = passedMs / leaderRate! + answer.forMs / holderRate!
          expect(endsMs).toBeLessThanOrEqual(leaseMs! / 1.01 + 1e-6)
          // The leader itself waits long enough by its own clock.
          const waits = leader.nextMs(1_000 + passedMs)! - (1_000 + passedMs)
          expect(waits / leaderRate!).toBeGreaterThanOrEqual(answer.forMs / holderRate! - 1e-6)
        }
      },
    )
  }

  test('figures', () => {
    expect(grantMaxMs(MATCH_LEASE)).toBeCloseTo(1_470.3, 1)
    expect(onLeadersClock(grantMaxMs(MATCH_LEASE), MATCH_LEASE)).toBeCloseTo(1_500, 6)
    expect(grantMaxMs(EXACT)).toBe(1_500)
  })

  test('options that leave no time are refused', () => {
    expect(() => new MatchLeader(0, { ...EXACT, askMs: 800 })).toThrow('leave no time')
    expect(() => new MatchHolder('n1', 1, 0, { ...EXACT, driftPercent: 10 })).toThrow('no clock')
    expect(() => new NodeHolder('n1', 1, { ...NODE, askMs: 0 }).enter('r', 1)).toThrow('askMs')
  })
})

describe('the leader of routes', () => {
  test('a new leader answers nothing for 1.5 s, and grants nothing until it knows what is committed', () => {
    const leader = new MatchLeader(1_000, EXACT)
    expect(leader.releasable(2_499)).toBe(-1)
    expect(leader.nextMs(1_200)).toBe(2_500)
    expect(leader.held(2_499)).toBe(true)
    expect(leader.releasable(2_500)).toBe(Number.POSITIVE_INFINITY)
    expect(leader.nextMs(2_500)).toBeNull()
    expect(leader.held(2_500)).toBe(false)
    leader.confirmed(1_100)
    expect(leader.ask(ask(1), 5, 1_100)).toMatchObject({ type: 'refused', reason: 'not-ready' })
    leader.ready()
    expect(leader.ask(ask(2), 5, 1_100)).toMatchObject({ type: 'granted', index: 5, forMs: 1_500 })
  })

  test('where nobody else can hold a lease, nothing is waited for', () => {
    expect(new MatchLeader(Number.NEGATIVE_INFINITY, EXACT).releasable(0)).toBe(Number.POSITIVE_INFINITY)
  })

  test('an answer waits for each holder: until it has applied, or its lease is over', () => {
    const leader = readyLeader()
    leader.ask(ask(1, 'a', 5), 5, 10_000)
    leader.ask(ask(1, 'b', 5), 5, 10_200)
    expect(leader.releasable(10_200)).toBe(5)
    leader.applied({ holder: 'a', incarnation: 1, applied: 9 })
    expect(leader.releasable(10_300)).toBe(5)
    leader.applied({ holder: 'b', incarnation: 1, applied: 7 })
    expect(leader.releasable(10_300)).toBe(7)
    expect(leader.nextMs(10_300)).toBe(11_500)
    // b's ends with the heartbeat, as a's does.
    expect(leader.releasable(11_500)).toBe(Number.POSITIVE_INFINITY)
  })

  test('a holder that falls behind and goes on asking holds nobody up for long', () => {
    const leader = readyLeader()
    leader.ask(ask(1, 'a', 5), 5, 10_000)
    for (let i = 1; i <= 10; i++) {
      leader.confirmed(10_000 + i * 300)
      leader.ask(ask(i + 1, 'a', 5), 5 + i, 10_000 + i * 300)
    }
    expect(leader.releasable(13_000)).toBe(11)
  })

  test('no lease runs longer than 1.5 s after the last heartbeat that a majority acknowledged', () => {
    const leader = readyLeader()
    expect(leader.ask(ask(1), 5, 10_400)).toMatchObject({ type: 'granted', forMs: 1_100 })
    expect(leader.ask(ask(2), 5, 11_300)).toMatchObject({ type: 'refused', reason: 'not-ready' })
    leader.confirmed(11_300)
    expect(leader.ask(ask(3), 5, 11_300)).toMatchObject({ forMs: 1_500 })
    leader.confirmed(10_500)
    expect(leader.ask(ask(4), 5, 11_300)).toMatchObject({ forMs: 1_500 })
    leader.doubt(11_301)
    expect(leader.ask(ask(5), 5, 11_301)).toMatchObject({ type: 'refused' })
    // Sent before the sleep, acknowledged after it.
    leader.confirmed(11_301)
    expect(leader.ask(ask(5), 5, 11_302)).toMatchObject({ type: 'refused' })
    leader.confirmed(11_302)
    expect(leader.ask(ask(5), 5, 11_302)).toMatchObject({ type: 'granted' })
    expect(() => {
      leader.confirmed(11_500)
      leader.ask(ask(6), 5, 11_400)
    }).toThrow('after it was sent')
  })

  test('holders, and what is remembered of one, are bounded', () => {
    const leader = readyLeader({ ...EXACT, holdersMax: 2 })
    expect(leader.ask(ask(1, 'a'), 5, 10_000).type).toBe('granted')
    expect(leader.ask(ask(1, 'b'), 5, 10_000).type).toBe('granted')
    expect(leader.ask(ask(1, 'c'), 5, 10_000).type).toBe('refused')
    expect(leader.ask(ask(2, 'a'), 5, 10_000).type).toBe('granted')
    // A flood of asks with ever new indices: the oldest still counts.
    const flooded = readyLeader()
    for (let i = 0; i < 1_000; i++) flooded.ask(ask(i + 1, 'a'), 5 + i, 10_001)
    expect(flooded.releasable(10_002)).toBe(5)
    expect(flooded.releasable(11_500)).toBe(Number.POSITIVE_INFINITY)
  })

  test('a report of nobody is no holder', () => {
    const leader = readyLeader()
    leader.applied({ holder: 'x', incarnation: 1, applied: 1 })
    expect(leader.releasable(10_000)).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('a match replica', () => {
  test('asks every 300 ms, and holds from the moment of asking', () => {
    const holder = new MatchHolder('a', 1, 5, EXACT)
    const first = holder.tick(1_000)!
    expect(first).toEqual({ holder: 'a', incarnation: 1, ask: 1, applied: 5, version: 0 })
    expect(holder.tick(1_299)).toBeNull()
    expect(holder.nextMs()).toBe(1_300)
    expect(holder.tick(1_300)).not.toBeNull()
    holder.answered(granted(first, 5, 1_500), 1_400)
    expect(holder.holds(2_499)).toBe(true)
    expect(holder.untilMs).toBe(2_500)
    expect(holder.holds(2_500)).toBe(false)
  })

  test('a new leader is asked at once', () => {
    const holder = new MatchHolder('a', 1, 5, EXACT)
    holder.tick(1_000)
    holder.soon()
    expect(holder.tick(1_001)).toMatchObject({ ask: 2 })
    const node = new NodeHolder('n1', 1, NODE)
    node.enter('r1', 1)
    node.tick(1_000)
    node.soon('r1')
    node.soon('r2')
    expect(node.tick(1_001).asks).toHaveLength(1)
  })

  test('a lease counts once the granted index is applied', () => {
    const holder = new MatchHolder('a', 1, 5, EXACT)
    holder.answered(granted(holder.tick(0)!, 7, 1_500), 10)
    expect(holder.holds(20)).toBe(false)
    expect(holder.applied(6, 30)).toEqual({ holder: 'a', incarnation: 1, applied: 6 })
    expect(holder.holds(30)).toBe(false)
    holder.applied(7, 40)
    expect(holder.holds(40)).toBe(true)
    // Too late is too late, and nobody needs to hear of it.
    holder.answered(granted(holder.tick(400)!, 9, 1_500), 410)
    expect(holder.applied(9, 1_900)).toBeNull()
    expect(holder.holds(1_900)).toBe(false)
  })

  test('a refusal takes nothing away; a lease that was held runs to its end', () => {
    const holder = new MatchHolder('a', 1, 5, EXACT)
    holder.answered(granted(holder.tick(0)!, 5, 1_500), 10)
    const { ask: number } = holder.tick(300)!
    const refused = { type: 'refused', holder: 'a', incarnation: 1, ask: number, reason: 'not-ready' } as const
    holder.answered(refused, 310)
    expect(holder.holds(1_499)).toBe(true)
  })

  test('answers to others, to earlier lives, to old asks and repeated ones are nothing', () => {
    const holder = new MatchHolder('a', 2, 5, EXACT)
    const first = holder.tick(0)!
    holder.answered(granted({ ...first, incarnation: 1 }, 5, 1_500), 1)
    holder.answered(granted({ ...first, holder: 'b' }, 5, 1_500), 1)
    holder.answered(granted({ ...first, ask: 2 }, 5, 1_500), 1)
    expect(holder.holds(2)).toBe(false)
    holder.answered(granted(first, 5, 100), 2)
    holder.answered(granted(first, 5, 1_500), 3)
    expect(holder.untilMs).toBe(100)
    const late = holder.tick(300)!
    holder.tick(1_801)
    holder.answered(granted(late, 5, 1_500), 1_802)
    expect(holder.untilMs).toBe(100)
  })

  test('a shorter lease does not end a longer one', () => {
    const holder = new MatchHolder('a', 1, 5, EXACT)
    const first = holder.tick(0)!
    const second = holder.tick(300)!
    holder.answered(granted(second, 5, 1_500), 310)
    holder.answered(granted(first, 5, 1_500), 320)
    expect(holder.untilMs).toBe(1_800)
  })

  test('when the clock is in doubt, all is given up and asked for anew', () => {
    const holder = new MatchHolder('a', 1, 5, EXACT)
    const first = holder.tick(0)!
    const second = holder.tick(300)!
    holder.answered(granted(first, 5, 1_500), 310)
    holder.doubt()
    expect(holder.holds(320)).toBe(false)
    holder.answered(granted(second, 5, 1_500), 320)
    expect(holder.holds(321)).toBe(false)
    holder.answered(granted(holder.tick(321)!, 5, 1_500), 322)
    expect(holder.holds(323)).toBe(true)
  })
})

describe('the leader of sessions', () => {
  test('fences a node when its lease is over, and stays with it', () => {
    const leader = readyNodes()
    const first = leader.ask(ask(1, 'n1'), 100_000)
    expect(first).toMatchObject({ type: 'granted', forMs: 10_000 })
    leader.attached('n1', 1)
    expect(leader.mayAttach('n1', 1, 109_999)).toBe(true)
    expect(leader.toFence(109_999)).toEqual([])
    expect(leader.nextMs(109_999)).toBe(110_000)
    expect(leader.held(109_999)).toBe(true)
    expect(leader.toFence(110_000)).toEqual([{ host: 'n1', incarnation: 1 }])
    leader.confirmed(110_000)
    expect(leader.ask(ask(2, 'n1'), 110_000)).toMatchObject({ type: 'refused', reason: 'fenced' })
    expect(leader.mayAttach('n1', 1, 110_000)).toBe(false)
    expect(leader.toFence(110_500)).toEqual([{ host: 'n1', incarnation: 1 }])
    leader.detached('n1', 1)
    expect(leader.toFence(110_500)).toHaveLength(1)
    leader.fenced('n1', 1)
    expect(leader.toFence(110_500)).toEqual([])
    expect(leader.held(110_500)).toBe(false)
    expect(leader.ask(ask(3, 'n1'), 110_500)).toMatchObject({ type: 'refused', reason: 'fenced' })
    expect(leader.ask(ask(1, 'n1', 0, 2), 110_500)).toMatchObject({ type: 'granted' })
  })

  test('a new incarnation of a host fences the old one at once', () => {
    const leader = readyNodes()
    leader.ask(ask(1, 'n1'), 100_000)
    leader.attached('n1', 1)
    expect(leader.ask(ask(1, 'n1', 0, 2), 100_100)).toMatchObject({ type: 'granted' })
    expect(leader.toFence(100_100)).toEqual([{ host: 'n1', incarnation: 1 }])
    expect(leader.ask(ask(2, 'n1'), 100_200)).toMatchObject({ type: 'refused', reason: 'fenced' })
    leader.fenced('n1', 1)
    expect(leader.toFence(100_300)).toEqual([])
    expect(leader.mayAttach('n1', 2, 100_300)).toBe(true)
    // An attach of the old one was under way: its entry says nothing any more.
    leader.attached('n1', 1)
    expect(leader.toFence(100_300)).toEqual([])
  })

  test('an attach of the old incarnation that is applied after the new one was met is fenced too', () => {
    const leader = readyNodes()
    leader.ask(ask(1, 'n1', 0, 2), 100_000)
    leader.attached('n1', 1)
    leader.attached('n1', 1)
    expect(leader.toFence(100_000)).toEqual([{ host: 'n1', incarnation: 1 }])
    leader.detached('n1', 1)
    expect(leader.toFence(100_000)).toEqual([])
  })

  test('a new leader waits 10 s for those that its state names', () => {
    const leader = new NodeLeader(50_000, NODE)
    expect(leader.toFence(70_000)).toEqual([])
    leader.ready(
      [
        { host: 'n1', incarnation: 3 },
        { host: 'n2', incarnation: 1 },
      ],
      [{ host: 'n2', incarnation: 1 }],
      1,
    )
    expect(leader.toFence(59_999)).toEqual([])
    expect(leader.toFence(60_000)).toEqual([{ host: 'n1', incarnation: 3 }])
  })

  test('a node without sessions is forgotten, not fenced', () => {
    const leader = readyNodes()
    leader.ask(ask(1, 'n1'), 100_000)
    leader.attached('n1', 1)
    leader.detached('n1', 1)
    expect(leader.toFence(110_000)).toEqual([])
    leader.confirmed(110_000)
    expect(leader.ask(ask(2, 'n1'), 110_000)).toMatchObject({ type: 'granted' })
  })

  test('a leader that stood still begins to count again', () => {
    const leader = readyNodes()
    leader.ask(ask(1, 'n1'), 100_000)
    leader.attached('n1', 1)
    leader.doubt(120_000)
    expect(leader.toFence(129_999)).toEqual([])
    expect(leader.ask(ask(2, 'n1'), 120_000)).toMatchObject({ type: 'refused', reason: 'not-ready' })
    expect(leader.toFence(130_000)).toHaveLength(1)
  })

  test('leases of an old boundary are not given; sessions of a merged neighbour are waited for', () => {
    const leader = readyNodes()
    leader.bounded(2)
    expect(leader.ask(ask(1, 'n1'), 100_000)).toMatchObject({ type: 'refused', reason: 'version' })
    expect(leader.ask({ ...ask(2, 'n1'), version: 2 }, 100_000)).toMatchObject({ type: 'granted' })
    leader.adopt([{ host: 'n2', incarnation: 4 }], 3, 105_000)
    expect(leader.toFence(114_999)).toEqual([])
    expect(leader.nextMs(105_000)).toBe(115_000)
    expect(leader.toFence(115_000)).toEqual([{ host: 'n2', incarnation: 4 }])
  })
})

describe('a front-end node', () => {
  test('stops in time, and closes what rests on the lease', () => {
    const node = new NodeHolder('n1', 1, NODE)
    expect(node.nextMs()).toBeNull()
    node.enter('r1', 1)
    const first = node.tick(0).asks[0]!.ask
    expect(first).toMatchObject({ holder: 'n1', incarnation: 1, version: 1 })
    expect(node.holds('r1', 0)).toBe(false)
    node.answered('r1', granted(first, 0, 10_000), 100)
    expect(node.holds('r1', 7_999)).toBe(true)
    expect(node.nextMs()).toBe(2_000)
    expect(node.tick(7_999).close).toEqual([])
    expect(node.nextMs()).toBe(8_000)
    expect(node.holds('r1', 8_000)).toBe(false)
    expect(node.tick(8_000).close).toEqual(['r1'])
    expect(node.tick(8_001).close).toEqual([])
    // It may begin again: what it closed it has closed.
    const next = node.tick(10_000).asks[0]!.ask
    node.answered('r1', granted(next, 0, 10_000), 10_100)
    expect(node.holds('r1', 10_100)).toBe(true)
  })

  test('an answer that comes too late to act by is nothing to act by', () => {
    const node = new NodeHolder('n1', 1, NODE)
    node.enter('r1', 1)
    const first = node.tick(0).asks[0]!.ask
    node.answered('r1', granted(first, 0, 10_000), 8_500)
    expect(node.holds('r1', 8_500)).toBe(false)
    expect(node.tick(8_500).close).toEqual([])
  })

  test('fenced by one range, it closes all, and registers everything under a new incarnation', () => {
    const node = new NodeHolder('n1', 1, NODE)
    node.enter('r1', 1)
    node.enter('r2', 1)
    const { asks } = node.tick(0)
    for (const { range, ask: each } of asks) node.answered(range, granted(each, 0, 10_000), 10)
    const again = node.tick(2_000).asks
    const refused = { type: 'refused', holder: 'n1', incarnation: 1, ask: again[0]!.ask.ask, reason: 'fenced' } as const
    expect(node.answered('r1', refused, 2_010)).toEqual(['r1', 'r2'])
    expect([node.state, node.mayAcknowledge, node.holds('r2', 2_010)]).toEqual(['fenced', false, false])
    expect(node.tick(4_000)).toEqual({ asks: [], close: [] })
    node.answered('r2', granted(again[1]!.ask, 0, 10_000), 4_000)
    expect(node.holds('r2', 4_000)).toBe(false)
    expect(() => node.reincarnate(1)).toThrow('not after')
    node.reincarnate(2)
    expect([node.state, node.incarnation, node.mayAcknowledge]).toEqual(['registering', 2, false])
    for (const { range, ask: each } of node.tick(4_000).asks) node.answered(range, granted(each, 0, 10_000), 4_010)
    expect(node.holds('r1', 4_010)).toBe(true)
    expect(node.mayAcknowledge).toBe(false)
    node.registered(1)
    expect(node.mayAcknowledge).toBe(false)
    node.registered(2)
    expect(node.mayAcknowledge).toBe(true)
    expect(() => node.reincarnate(3)).toThrow('Only a fenced node')
    // What an earlier life was told is nothing.
    expect(node.fence(1)).toEqual([])
    expect(node.state).toBe('serving')
  })

  test('refused for another reason, it goes on to the end of what it has', () => {
    const node = new NodeHolder('n1', 1, NODE)
    node.enter('r1', 1)
    node.answered('r1', granted(node.tick(0).asks[0]!.ask, 0, 10_000), 10)
    const { ask: number } = node.tick(2_000).asks[0]!.ask
    const refused = { type: 'refused', holder: 'n1', incarnation: 1, ask: number, reason: 'version' } as const
    expect(node.answered('r1', refused, 2_010)).toEqual([])
    expect(node.holds('r1', 7_999)).toBe(true)
    node.enter('r1', 2)
    expect(node.tick(4_000).asks[0]!.ask.version).toBe(2)
  })

  test('a split hands on what was leased; who left and whose clock is in doubt hold nothing', () => {
    const node = new NodeHolder('n1', 1, NODE)
    node.enter('r1', 1)
    node.answered('r1', granted(node.tick(0).asks[0]!.ask, 0, 10_000), 10)
    node.enter('r2', 2, 'r1')
    expect(node.holds('r2', 7_999)).toBe(true)
    expect(node.tick(8_000).close).toEqual(['r1', 'r2'])
    node.enter('r3', 1)
    node.answered('r3', granted(node.tick(8_000).asks[0]!.ask, 0, 10_000), 8_010)
    expect(node.holds('r3', 8_010)).toBe(true)
    expect(node.doubt()).toEqual(['r3'])
    expect(node.holds('r3', 8_010)).toBe(false)
    node.leave('r3')
    expect(node.holds('r3', 8_010)).toBe(false)
    expect(node.answered('r3', granted(ask(1, 'n1'), 0, 10_000), 8_011)).toEqual([])
  })
})

describe('leases that tile the keys of a tenant', () => {
  const key = (text: string) => Buffer.from(text)
  const span = (start: string, end: string, held = true) => ({
    start: start === '' ? undefined : key(start),
    end: end === '' ? undefined : key(end),
    held,
  })
  const cases: [string, ReturnType<typeof span>[], boolean][] = [
    ['one that holds all', [span('', '')], true],
    ['one that holds just that', [span('c', 'g')], true],
    ['three, in any order', [span('f', 'z'), span('a', 'd'), span('d', 'f')], true],
    ['a gap', [span('a', 'd'), span('e', 'z')], false],
    ['one without a lease', [span('a', 'd'), span('d', 'f', false), span('f', '')], false],
    ['too short at the end', [span('a', 'f')], false],
    ['too short at the beginning', [span('d', 'z')], false],
    ['to the last key', [span('', 'd'), span('d', '')], true],
    ['none', [], false],
  ]
  test.each(cases)('%s', (_, spans, expected) => {
    expect(tiles(spans, key('c'), key('g'))).toBe(expected)
  })
})

function ask(number: number, holder = 'a', applied = 0, incarnation = 1): Ask {
  return { holder, incarnation, ask: number, applied, version: 1 }
}

function granted({ holder, incarnation, ask: number }: Ask, index: number, forMs: number): Answer {
  return { type: 'granted', holder, incarnation, ask: number, index, forMs }
}

function readyLeader(options = EXACT): MatchLeader {
  const leader = new MatchLeader(0, options)
  leader.ready()
  leader.confirmed(10_000)
  return leader
}

function readyNodes(): NodeLeader {
  const leader = new NodeLeader(0, NODE)
  leader.ready([], [], 1)
  leader.confirmed(100_000)
  return leader
}
