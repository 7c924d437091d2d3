import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/base/logging.ts'
import type { InboxRanges } from '../../src/inbox/feed-host.ts'
import { arrange, rangeOf } from '../../src/inbox/leases/arrange.ts'
import { FrontLeases } from '../../src/inbox/leases/front-leases.ts'
import type { Command, Response } from '../../src/inbox/store/command.ts'
import type { Answer, Ask, MatchMessage } from '../../src/kv/lease/index.ts'
import type { RangeDescriptor } from '../../src/kv/range/coprocessor.ts'
import { TestClock } from './harness.ts'

const at = (key: string | undefined) => (key === undefined ? undefined : Buffer.from(key))

function range(id: string, version: number, start?: string, end?: string, store = 'leader'): RangeDescriptor {
  const replicas = [{ store, replica: 1, role: 'voter' as const }]
  return {
    ...{ id, service: 'inbox', epoch: { version, confVersion: 1 } },
    ...{ start: at(start), end: at(end), replicas },
  }
}

/** Wall clock and monotonic one may part. */
class Clocks extends TestClock {
  jumpedMs = 0

  override monotonic(): number {
    return super.monotonic() - this.jumpedMs
  }
}

/** One front end; the leader of its ranges is the test. */
class Front {
  readonly clock = new Clocks()
  readonly asks: { range: string; ask: Ask }[] = []
  readonly commands: Command[] = []
  readonly lost: string[] = []
  readonly renewed: number[] = []
  landscape = [range('r', 1)]
  lonely = false
  enterAnswer: Response = 'done'
  finishRenewal = () => {}
  readonly leases: FrontLeases
  #receive!: (from: string, range: string, message: MatchMessage) => void
  #incarnation = 4

  constructor() {
    this.leases = new FrontLeases({
      ...{ node: 'n1', clock: this.clock, log: silentLogger, here: () => [] },
      incarnations: { next: () => ++this.#incarnation },
      slept: () => {},
      askHere: () => {},
      ports: {
        landscape: () => this.landscape,
        lonely: () => this.lonely,
        attach: (receive) => {
          this.#receive = receive
        },
        send: (_store, to, message) => {
          if (message.type === 'ask') this.asks.push({ range: to, ask: message.ask })
        },
      },
    })
    this.leases.renew = (incarnation) => {
      this.renewed.push(incarnation)
      return new Promise((resolve) => {
        this.finishRenewal = resolve
      })
    }
    const ranges: Pick<InboxRanges, 'mutateWith' | 'mutate'> = {
      mutateWith: (_key, command, done) => {
        this.commands.push(command)
        done(null, command.type === 'enter' ? this.enterAnswer : 'done', 0)
      },
      mutate: async (_key, command) => {
        this.commands.push(command)
        return 'done'
      },
    }
    this.leases.start(ranges as InboxRanges)
  }

  owns(connection: string, key: string): void {
    const lost = () => {
      this.lost.push(connection)
      this.leases.owners.remove(connection)
    }
    this.leases.owners.add(connection, { key: Buffer.from(key), nodeIncarnation: this.leases.incarnation, lost })
  }

  /** Answers what was asked since the last time. */
  answer(answer: { type: 'granted'; forMs: number } | { type: 'refused'; reason: 'fenced' | 'version' }): void {
    for (const { range: of, ask } of this.asks.splice(0)) {
      const { holder, incarnation } = ask
      const given = { ...answer, holder, incarnation, ask: ask.ask, index: 0 } as Answer
      this.#receive('leader', of, { type: 'answer', answer: given })
    }
  }

  grant(): void {
    this.answer({ type: 'granted', forMs: 9_800 })
  }

  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 250) {
      this.clock.advance(250)
      this.leases.tick()
    }
  }
}

const code = (promise: Promise<void>) =>
  promise.then(
    () => 'ready',
    (error: { code: string }) => error.code,
  )

describe('a front end', () => {
  test('says that it is here, and closes what it has before its lease ends', () => {
    const front = new Front()
    front.grant()
    expect(front.commands).toMatchObject([{ type: 'enter', node: 'n1', incarnation: 5 }])
    front.owns('c', 'x')
    front.pass(8_500)
    expect(front.lost).toEqual([])
    front.pass(500)
    expect(front.lost).toEqual(['c'])
    expect(front.leases.holds(Buffer.from('x'))).toBe(false)
    expect(front.leases.closed).toBe(1)
  })

  test('that stood still closes before it acts: when somebody looks, not at its next tick', () => {
    const front = new Front()
    front.grant()
    front.owns('c', 'x')
    front.clock.nowMs += 8_700
    front.leases.look(front.clock.monotonic())
    expect(front.lost).toEqual([])
    front.clock.nowMs += 200
    front.leases.look(front.clock.monotonic())
    expect(front.lost).toEqual(['c'])
  })

  test('closes where the machine slept, which no monotonic clock shows', () => {
    const front = new Front()
    front.grant()
    front.owns('c', 'x')
    front.clock.nowMs += 20_000
    front.clock.jumpedMs += 20_000
    front.leases.tick()
    expect(front.lost).toEqual(['c'])
  })

  test('attaches wait for a lease, and are refused where none comes', async () => {
    const front = new Front()
    const first = code(front.leases.ready(Buffer.from('x'), 4_000))
    front.grant()
    expect(await first).toBe('ready')
    front.pass(10_000)
    const second = code(front.leases.ready(Buffer.from('x'), 4_000))
    front.pass(4_000)
    expect(await second).toBe('UNAVAILABLE')
  })

  test('held for gone it closes all, takes a new incarnation, and attaches nothing until its routes are made', async () => {
    const front = new Front()
    front.grant()
    front.owns('c', 'x')
    front.pass(1_000)
    front.answer({ type: 'refused', reason: 'fenced' })
    expect(front.lost).toEqual(['c'])
    expect(front.leases.incarnation).toBe(6)
    expect(front.renewed).toEqual([6])
    front.pass(250)
    front.grant()
    expect(front.commands.at(-1)).toMatchObject({ type: 'enter', incarnation: 6 })
    const attach = code(front.leases.ready(Buffer.from('x'), 4_000))
    front.finishRenewal()
    expect(await attach).toBe('ready')
  })

  test('whose number is known to be gone takes the next one, until one is new', () => {
    const front = new Front()
    front.enterAnswer = 'fenced'
    front.grant()
    front.pass(250)
    front.grant()
    front.enterAnswer = 'done'
    front.pass(250)
    front.grant()
    expect(front.leases.incarnation).toBe(7)
  })

  test('alone it holds whatever the clock does', () => {
    const front = new Front()
    front.lonely = true
    front.leases.tick()
    front.grant()
    front.owns('c', 'x')
    front.clock.nowMs += 100_000
    front.leases.look(front.clock.monotonic())
    front.leases.tick()
    expect(front.leases.holds(Buffer.from('x'))).toBe(true)
    expect(front.lost).toEqual([])
  })

  test('after a split has the lease of before for both parts, and asks for both', () => {
    const front = new Front()
    front.grant()
    front.owns('left', 'a')
    front.owns('right', 'z')
    // Of one part alone nobody knows where the keys went.
    front.landscape = [range('r', 2, undefined, 'm')]
    front.pass(1_000)
    expect(front.leases.holds(Buffer.from('z'))).toBe(true)
    front.landscape = [range('r', 2, undefined, 'm'), range('s', 2, 'm')]
    front.asks.length = 0
    front.pass(1_000)
    expect(front.leases.holds(Buffer.from('z'))).toBe(true)
    expect(new Set(front.asks.map(({ range: of, ask }) => `${of}@${ask.version}`))).toEqual(new Set(['r@2', 's@2']))
    front.asks.length = 0
    front.pass(1_000)
    const rest = front.asks.splice(0).filter(({ range: of }) => of === 'r')
    front.asks.push(...rest)
    front.grant()
    front.asks.length = 0
    front.pass(6_500)
    expect(front.lost).toEqual(['right'])
  })

  test('that leaves says so where it was', async () => {
    const front = new Front()
    front.grant()
    await front.leases.leave()
    expect(front.commands.at(-1)).toMatchObject({ type: 'exit', node: 'n1', incarnation: 5 })
  })
})

describe('ranges of different age', () => {
  const ids = (ranges: readonly RangeDescriptor[] | null) => ranges?.map(({ id }) => id) ?? null
  test('the newest hold the keys, where all keys are held', () => {
    expect(ids(arrange([]))).toBe(null)
    expect(ids(arrange([range('r', 1)]))).toEqual(['r'])
    expect(ids(arrange([range('r', 1), range('s', 2, 'm')]))).toBe(null)
    expect(ids(arrange([range('s', 2, 'm'), range('r', 1), range('r', 2, undefined, 'm')]))).toEqual(['r', 's'])
    // Merged: the left one has all again.
    expect(ids(arrange([range('r', 3), range('s', 2, 'm'), range('r', 2, undefined, 'm')]))).toEqual(['r'])
  })

  test('a key is in one', () => {
    const all = arrange([range('a', 1, undefined, 'g'), range('b', 1, 'g', 'p'), range('c', 1, 'p')])!
    const found = ['', 'fz', 'g', 'oz', 'p', 'z'].map((key) => rangeOf(all, Buffer.from(key))!.id)
    expect(found).toEqual(['a', 'a', 'b', 'b', 'c', 'c'])
    expect(rangeOf([], Buffer.from('x'))).toBe(null)
  })
})
