import { describe, expect, test } from 'vitest'
import type { InboxId } from '../../src/base/ids.ts'
import type { Command, Effect, NodeCommand, NodeEffect, Response } from '../../src/inbox/store/command.ts'
import { inboxCoprocessor } from '../../src/inbox/store/coprocessor.ts'
import { readNodes } from '../../src/inbox/store/nodes.ts'
import { groupInbox, inboxStart } from '../../src/inbox/store/schema.ts'
import type { Bounds, Write } from '../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { BoundedReader, engineReader } from '../../src/kv/range/boundary.ts'
import { LIMITS, START_MS, TENANT, text, will } from './harness.ts'

const key = (name: string) => inboxStart(TENANT, name as InboxId)
const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const

/** Ranges of one engine, as the store would apply to them. */
class Ranges {
  readonly engine = new MemoryEngine()
  readonly effects: Effect[] = []
  index = 0
  nowMs = START_MS

  reader(bounds: Bounds) {
    return new BoundedReader(engineReader(this.engine, 'inbox'), bounds)
  }

  apply(bounds: Bounds, ...commands: Command[]): Response[] {
    const context = { nowMs: this.nowMs, index: ++this.index, boundary: bounds }
    const { writes, responses, effects } = inboxCoprocessor.mutate(commands, this.reader(bounds), context)
    this.land(writes)
    this.effects.push(...effects)
    return responses
  }

  /** What the leader does by itself, until nothing is left. */
  work(bounds: Bounds): number {
    for (let rounds = 0; ; rounds++) {
      const due = inboxCoprocessor.nextDueMs(this.reader(bounds), bounds)
      if (due === null || due > this.nowMs) return rounds
      this.apply(bounds, ...inboxCoprocessor.due(this.reader(bounds), this.nowMs, 1_000, bounds))
    }
  }

  merge(left: Bounds, right: Bounds): Bounds {
    const all = { start: left.start, end: right.end }
    this.land(inboxCoprocessor.merge!(this.reader(all), all, right))
    return all
  }

  nodes(bounds: Bounds): Record<string, { present: number; fenced: number }> {
    const known = readNodes(this.reader(bounds), bounds.start)
    return Object.fromEntries(known.map(({ node, record }) => [node, pick(record)]))
  }

  wills(): string[] {
    return this.effects.flatMap((effect) => (effect.type === 'will' ? [text(effect.message)] : []))
  }

  attached(bounds: Bounds, name: string): string | null {
    const head = inboxCoprocessor.query({ type: 'head', key: key(name) }, this.reader(bounds), {
      nowMs: this.nowMs,
      boundary: bounds,
    })
    return (head as { connection: string | null } | null)?.connection ?? null
  }

  private land(writes: readonly Write[]): void {
    this.engine.land({ writes: writes.map((write) => ({ family: 'inbox', write })), sync: false })
  }
}

function pick({ present, fenced }: { present: number; fenced: number }) {
  return { present, fenced }
}

function attach(name: string, node: string, nodeIncarnation: number, fields: object = {}): Command {
  return {
    ...{ type: 'attach', key: key(name), connection: `${node}/${nodeIncarnation}/${name}`, node, nodeIncarnation },
    ...{ cleanStart: false, expirySeconds: 60, will: null, user: 'u', address: '', protocol: 5, limits: LIMITS },
    ...fields,
  } as Command
}

function about(type: NodeCommand['type'], node: string, incarnation: number, at = key('a')): Command {
  return { type, key: at, node, incarnation }
}

const ALL: Bounds = {}
const LEFT: Bounds = { end: key('m') }
const RIGHT: Bounds = { start: key('m') }

describe('a fence', () => {
  test('detaches all that the incarnation had, in slices, once; wills fire once', () => {
    const ranges = new Ranges()
    const names = Array.from({ length: 600 }, (_, i) => `c${i}`)
    for (const name of names) ranges.apply(ALL, attach(name, 'n1', 3, { will: will(name) }))
    ranges.apply(ALL, attach('other', 'n2', 1, { will: will('other') }))
    ranges.work(ALL)
    expect(ranges.apply(ALL, about('fence', 'n1', 3), about('fence', 'n1', 3))).toEqual(['done', 'none'])
    expect(ranges.wills()).toEqual([])
    expect(ranges.work(ALL)).toBeGreaterThan(2)
    expect(ranges.wills().toSorted()).toEqual(names.toSorted())
    expect(names.filter((name) => ranges.attached(ALL, name) !== null)).toEqual([])
    expect(ranges.attached(ALL, 'other')).toBe('n2/1/other')
    const sessions = ranges.effects.reduce((sum, each) => sum + (each.type === 'node' ? each.sessions : 0), 0)
    expect(sessions).toBe(600)
    ranges.apply(ALL, about('fence', 'n1', 2))
    ranges.work(ALL)
    expect(ranges.wills()).toHaveLength(600)
  })

  test('of an incarnation stands for those before it, and for nothing later', () => {
    const ranges = new Ranges()
    expect(ranges.apply(ALL, about('fence', 'n1', 5))).toEqual(['done'])
    const later = ranges.apply(ALL, attach('a', 'n1', 5), attach('a', 'n1', 4), attach('b', 'n1', 6))
    expect(later).toEqual(['fenced', 'fenced', expect.objectContaining({ type: 'attached' })])
    ranges.work(ALL)
    expect(ranges.attached(ALL, 'b')).toBe('n1/6/b')
    expect(ranges.nodes(ALL)).toEqual({ n1: { present: 6, fenced: 5 } })
  })

  test('gives the entries of members to others', () => {
    const ranges = new Ranges()
    const group = inboxStart(TENANT, groupInbox({ tenant: TENANT, group: 'g', filter: 'f', ordered: false }))
    const open = { type: 'member-open', key: group, incarnation: 1, attachment: 1, credit: 1 } as const
    for (const [member, node] of [
      ['a', 'n1'],
      ['b', 'n2'],
    ] as const) {
      ranges.apply(ALL, { type: 'join', key: group, member, incarnation: 1, options, limits: LIMITS })
      ranges.apply(ALL, { ...open, member, connection: member, node, nodeIncarnation: 1 })
    }
    ranges.apply(ALL, about('fence', 'n1', 1))
    ranges.work(ALL)
    const trim = (member: string): Command => ({
      ...{ type: 'member-trim', key: group, member, connection: member, sequences: [] },
    })
    expect(ranges.apply(ALL, trim('a'), trim('b'))).toEqual(['conflict', 'done'])
    const late = { ...open, member: 'a', connection: 'late', node: 'n1', nodeIncarnation: 1 }
    expect(ranges.apply(ALL, late)).toEqual(['conflict'])
  })

  test('goes on where a batch brought a session and the fence', () => {
    const ranges = new Ranges()
    ranges.apply(ALL, about('fence', 'n1', 1))
    ranges.apply(ALL, attach('z', 'n1', 2), about('fence', 'n1', 2), { type: 'sweep', key: key('a') })
    ranges.work(ALL)
    expect(ranges.attached(ALL, 'z')).toBe(null)
  })
})

describe('a session that another node has', () => {
  test('is not given away until that node gives it up', () => {
    const ranges = new Ranges()
    const [first] = ranges.apply(ALL, attach('a', 'n1', 1)) as { incarnation: number }[]
    ranges.effects.length = 0
    expect(ranges.apply(ALL, attach('a', 'n2', 1))).toEqual(['held'])
    // Its connection hears that somebody else came.
    expect(ranges.effects).toContainEqual(expect.objectContaining({ type: 'attached', connection: 'n2/1/a' }))
    expect(ranges.attached(ALL, 'a')).toBe('n1/1/a')
    const { incarnation } = first!
    const fence = { key: key('a'), incarnation, connection: 'n1/1/a' }
    ranges.apply(ALL, { type: 'detach', ...fence, expirySeconds: null, discardWill: false, sentUpTo: 0 })
    expect(ranges.effects).toContainEqual(expect.objectContaining({ type: 'freed' }))
    expect(ranges.apply(ALL, attach('a', 'n2', 1))).toMatchObject([{ type: 'attached', sessionPresent: true }])
  })

  test('is given away at once where that node is fenced, before it is swept', () => {
    const ranges = new Ranges()
    ranges.apply(ALL, attach('a', 'n1', 1, { will: will('w') }), about('fence', 'n1', 1))
    expect(ranges.apply(ALL, attach('a', 'n2', 1))).toMatchObject([{ type: 'attached', sessionPresent: true }])
    ranges.work(ALL)
    expect(ranges.attached(ALL, 'a')).toBe('n2/1/a')
    expect(ranges.wills()).toEqual(['w'])
  })

  test('is taken over by a later connection of the same node, and by its next incarnation', () => {
    const ranges = new Ranges()
    ranges.apply(ALL, attach('a', 'n1', 1))
    expect(ranges.apply(ALL, attach('a', 'n1', 1, { connection: 'later' }))).toMatchObject([{ type: 'attached' }])
    expect(ranges.apply(ALL, attach('a', 'n1', 2))).toMatchObject([{ type: 'attached', sessionPresent: true }])
    ranges.work(ALL)
    expect(ranges.attached(ALL, 'a')).toBe('n1/2/a')
  })
})

describe('a node', () => {
  test('that comes again fences what it was before', () => {
    const ranges = new Ranges()
    ranges.apply(ALL, attach('a', 'n1', 1, { will: will('w') }))
    expect(ranges.apply(ALL, about('enter', 'n1', 2))).toEqual(['done'])
    ranges.work(ALL)
    expect(ranges.wills()).toEqual(['w'])
    expect(ranges.nodes(ALL)).toEqual({ n1: { present: 2, fenced: 1 } })
    expect(ranges.apply(ALL, about('enter', 'n1', 1))).toEqual(['fenced'])
  })

  test('that leaves is not there any more, and nothing is swept', () => {
    const ranges = new Ranges()
    ranges.apply(ALL, about('enter', 'n1', 1))
    ranges.work(ALL)
    ranges.effects.length = 0
    expect(ranges.apply(ALL, about('exit', 'n1', 1), about('exit', 'n1', 1))).toEqual(['done', 'none'])
    expect(ranges.effects.filter(isFence)).toEqual([])
    expect(ranges.work(ALL)).toBe(0)
    expect(ranges.nodes(ALL)).toEqual({ n1: { present: 0, fenced: 1 } })
  })

  test('owes routes in the first range alone, until that is done', () => {
    const ranges = new Ranges()
    const owes = (bounds: Bounds) => readNodes(ranges.reader(bounds), bounds.start)[0]!.record.owesRoutes
    ranges.apply(LEFT, about('enter', 'n1', 1))
    ranges.apply(RIGHT, about('enter', 'n1', 1, key('m')), about('fence', 'n1', 1, key('m')))
    expect([owes(LEFT), owes(RIGHT)]).toEqual([true, false])
    ranges.apply(LEFT, about('fence', 'n1', 1))
    expect(ranges.apply(LEFT, about('routed', 'n1', 0), about('routed', 'n1', 1))).toEqual(['none', 'done'])
    expect(owes(LEFT)).toBe(false)
  })
})

describe('after a split', () => {
  test('the right part finds the nodes that have sessions there', () => {
    const ranges = new Ranges()
    ranges.apply(ALL, attach('a', 'n1', 1), attach('x', 'n2', 7))
    ranges.work(ALL)
    expect(ranges.nodes(RIGHT)).toEqual({})
    ranges.work(RIGHT)
    expect(ranges.nodes(RIGHT)).toEqual({ n2: { present: 7, fenced: 0 } })
    const told = ranges.effects.filter((each): each is NodeEffect => each.type === 'node').at(-1)
    expect(told).toMatchObject({ node: 'n2', present: 7 })
  })

  test('a sweep that was under way goes on in both parts', () => {
    const ranges = new Ranges()
    ranges.apply(ALL, attach('a', 'n1', 1), attach('x', 'n1', 1))
    ranges.apply(ALL, about('fence', 'n1', 1))
    ranges.work(LEFT)
    ranges.apply(RIGHT, attach('y', 'n1', 2))
    ranges.work(RIGHT)
    expect([ranges.attached(LEFT, 'a'), ranges.attached(RIGHT, 'x')]).toEqual([null, null])
    expect(ranges.attached(RIGHT, 'y')).toBe('n1/2/y')
  })
})

describe('after a merge', () => {
  test('what only the right range has fenced may act still; older incarnations may not', () => {
    const ranges = new Ranges()
    ranges.apply(LEFT, about('enter', 'n1', 4), about('enter', 'n2', 2), about('fence', 'n3', 1))
    ranges.apply(RIGHT, about('fence', 'n1', 4, key('m')), about('enter', 'n2', 1, key('m')))
    ranges.apply(RIGHT, about('fence', 'n3', 9, key('m')))
    ranges.work(LEFT)
    ranges.work(RIGHT)
    const all = ranges.merge(LEFT, RIGHT)
    expect(ranges.nodes(all)).toEqual({
      n1: { present: 4, fenced: 3 },
      n2: { present: 2, fenced: 1 },
      n3: { present: 0, fenced: 9 },
    })
  })

  test('what an older incarnation had in the right range is swept', () => {
    const ranges = new Ranges()
    ranges.apply(RIGHT, attach('x', 'n1', 1, { will: will('w') }))
    ranges.apply(LEFT, about('enter', 'n1', 2))
    ranges.work(LEFT)
    ranges.work(RIGHT)
    const all = ranges.merge(LEFT, RIGHT)
    ranges.work(all)
    expect(ranges.attached(all, 'x')).toBe(null)
    expect(ranges.wills()).toEqual(['w'])
  })
})

function isFence(effect: Effect): boolean {
  return effect.type === 'node' && effect.isFence
}
