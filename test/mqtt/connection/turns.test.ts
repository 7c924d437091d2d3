import { describe, expect, test } from 'vitest'
import type { TenantId } from '../../../src/base/ids.ts'
import { FlushQueue } from '../../../src/mqtt/connection/flush-queue.ts'
import { Output } from '../../../src/mqtt/connection/output.ts'
import { Registry } from '../../../src/mqtt/connection/registry.ts'
import { type Resumable, Turn } from '../../../src/mqtt/connection/turn.ts'

/** A loop whose turns are called by hand. */
class Loop {
  #next: (() => void)[] = []
  readonly defer = (callback: () => void): void => void this.#next.push(callback)

  turn(): void {
    for (const callback of this.#next.splice(0)) callback()
  }

  get planned(): number {
    return this.#next.length
  }
}

const LIMIT_MS = 5
/** Parsing 64 packets takes this long here. */
const BATCH_MS = 0.5

/** Parses as a connection does: batches until its work or the turn ends. */
class Parser implements Resumable {
  work = 0
  waiting = false
  /** When its last batch was done. */
  doneAtMs = 0
  readonly #turn: Turn
  readonly #clock: { now: number }

  constructor(turn: Turn, clock: { now: number }) {
    this.#turn = turn
    this.#clock = clock
  }

  /** Input arrives. */
  data(batches: number): void {
    this.work += batches
    if (this.waiting) return
    this.#turn.begin()
    if (this.#turn.congested) this.#wait()
    else this.#parse()
  }

  resume(): void {
    this.waiting = false
    this.#parse()
  }

  #parse(): void {
    this.#turn.begin()
    while (this.work > 0) {
      this.work--
      this.#clock.now += BATCH_MS
      this.doneAtMs = this.#clock.now
      if (this.work > 0 && this.#turn.exhausted()) return this.#wait()
    }
  }

  #wait(): void {
    this.waiting = true
    this.#turn.later(this)
  }
}

describe('turns', () => {
  for (const flooding of [1, 10, 100]) {
    test(`${flooding} that flood hold a turn no longer than its limit, and a quiet one waits for one batch of each`, () => {
      const clock = { now: 0 }
      const loop = new Loop()
      const turn = new Turn(LIMIT_MS, () => clock.now, loop.defer)
      const floods = Array.from({ length: flooding }, () => new Parser(turn, clock))
      const quiet = new Parser(turn, clock)
      let worstWaitMs = 0
      let worstTurnMs = 0
      for (let i = 0; i < 400; i++) {
        const beganMs = clock.now
        for (const flood of floods) flood.data(1000)
        const askedMs = clock.now
        const asks = i % 7 === 0 && !quiet.waiting
        if (asks) quiet.data(1)
        const readMs = clock.now
        loop.turn()
        worstTurnMs = Math.max(worstTurnMs, readMs - beganMs, clock.now - readMs)
        for (let k = 0; asks && quiet.work > 0; k++) {
          if (k > flooding + 5) throw new Error('The quiet one starves')
          loop.turn()
        }
        if (asks) worstWaitMs = Math.max(worstWaitMs, quiet.doneAtMs - askedMs)
      }
      expect(worstTurnMs).toBeLessThanOrEqual(LIMIT_MS + 2 * BATCH_MS)
      // Each of those before it uses a turn up.
      expect(worstWaitMs).toBeLessThanOrEqual((flooding + 2) * (LIMIT_MS + 2 * BATCH_MS))
    })
  }

  test('those that wait go on in their order', () => {
    const clock = { now: 0 }
    const loop = new Loop()
    const turn = new Turn(LIMIT_MS, () => clock.now, loop.defer)
    const order: string[] = []
    const named = (name: string, ms: number): Resumable => ({
      resume: () => {
        order.push(name)
        clock.now += ms
        if (ms > 0 && order.length < 6) turn.later(named(name, ms))
      },
    })
    turn.begin()
    turn.later(named('a', 3))
    turn.later(named('b', 3))
    turn.later(named('c', 3))
    expect(turn.congested).toBe(true)
    loop.turn()
    expect(order).toEqual(['a', 'b'])
    loop.turn()
    expect(order).toEqual(['a', 'b', 'c', 'a'])
    loop.turn()
    expect(order).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
    loop.turn()
    expect(turn.congested).toBe(false)
    expect(turn.deferrals).toBe(3 + 5)
  })

  test('a loop without input has no turns', () => {
    const loop = new Loop()
    const turn = new Turn(LIMIT_MS, () => 0, loop.defer)
    turn.begin()
    turn.begin()
    expect(loop.planned).toBe(1)
    loop.turn()
    expect(loop.planned).toBe(0)
  })
})

describe('the flush queue', () => {
  function setup() {
    const loop = new Loop()
    const queue = new FlushQueue(loop.defer)
    const writes: string[] = []
    const output = (name: string) => {
      const write = (buffer: Buffer) => {
        writes.push(`${name}:${buffer.length}`)
        return true
      }
      return new Output({ write, writableBytes: 0 }, queue)
    }
    return { loop, queue, writes, output }
  }
  const bytes = Buffer.alloc(1 << 20)

  test('writes at the end of a read while the loop is quiet', () => {
    const { queue, writes, output, loop } = setup()
    output('a').append(bytes, 0, 10)
    queue.readEnded()
    expect(writes).toEqual(['a:10'])
    loop.turn()
    expect(writes).toEqual(['a:10'])
  })

  test('and once a turn while it is busy', () => {
    const { queue, writes, output, loop } = setup()
    const [a, b] = [output('a'), output('b')]
    for (let read = 0; read < 4; read++) queue.readEnded()
    loop.turn()
    for (let read = 0; read < 4; read++) {
      a.append(bytes, 0, 10)
      b.append(bytes, 0, 1)
      queue.readEnded()
    }
    expect(writes).toEqual([])
    loop.turn()
    expect(writes).toEqual(['a:40', 'b:4'])
    // A turn with few reads makes the next one quiet.
    queue.readEnded()
    loop.turn()
    a.append(bytes, 0, 2)
    queue.readEnded()
    expect(writes).toEqual(['a:40', 'b:4', 'a:2'])
  })

  test('writes earlier where much has gathered', () => {
    const { queue, writes, output, loop } = setup()
    for (let read = 0; read < 4; read++) queue.readEnded()
    loop.turn()
    const outputs = Array.from({ length: 33 }, (_, i) => output(String(i)))
    for (const each of outputs.slice(0, 32)) each.append(bytes, 0, bytes.length)
    queue.relieve()
    queue.readEnded()
    expect(writes).toEqual([])
    outputs[32]!.append(bytes, 0, 1)
    queue.relieve()
    expect(writes).toHaveLength(33)
    expect(queue.pendingBytes).toBe(0)
  })

  test('also at the end of a read', () => {
    const { queue, writes, output, loop } = setup()
    for (let read = 0; read < 4; read++) queue.readEnded()
    loop.turn()
    for (let i = 0; i < 33; i++) output(String(i)).append(bytes, 0, bytes.length)
    queue.readEnded()
    expect(writes).toHaveLength(33)
  })

  test('what is added while it writes is written in the next turn', () => {
    const { writes, output, loop } = setup()
    const [a, b] = [output('a'), output('b')]
    a.onRoom = () => {
      a.onRoom = null
      b.append(bytes, 0, 3)
      a.append(bytes, 0, 4)
    }
    a.append(bytes, 0, 1)
    loop.turn()
    expect(writes).toEqual(['a:1'])
    loop.turn()
    expect(writes).toEqual(['a:1', 'b:3', 'a:4'])
    expect(loop.planned).toBe(0)
  })
})

describe('the registry', () => {
  const tenant = 't' as TenantId
  const registered = (name: string, log: string[]) => ({
    takeOver: async () => void log.push(name),
  })

  test('of three contenders each takes over the one before', async () => {
    const log: string[] = []
    const registry = new Registry()
    const [a, b, c] = ['a', 'b', 'c'].map((name) => registered(name, log))
    expect(registry.claim(tenant, 'id', a!)).toBeNull()
    expect(registry.claim(tenant, 'id', b!)).toBeInstanceOf(Promise)
    expect(registry.claim(tenant, 'id', c!)).toBeInstanceOf(Promise)
    expect(log).toEqual(['a', 'b'])
    expect(registry.get(tenant, 'id')).toBe(c)
    // Those that lost their place release nothing.
    registry.release(tenant, 'id', a!)
    registry.release(tenant, 'id', b!)
    expect(registry.get(tenant, 'id')).toBe(c)
    expect(registry.claim(tenant, 'id', c!)).toBeNull()
    registry.release(tenant, 'id', c!)
    expect([registry.get(tenant, 'id'), registry.count(tenant)]).toEqual([undefined, 0])
    expect(registry.claim(tenant, 'id', a!)).toBeNull()
  })

  test('keeps tenants apart, and counts each', () => {
    const log: string[] = []
    const registry = new Registry()
    const other = 'other' as TenantId
    const [a, b, c] = ['a', 'b', 'c'].map((name) => registered(name, log))
    void registry.claim(tenant, 'id', a!)
    expect(registry.claim(other, 'id', b!)).toBeNull()
    void registry.claim(other, 'id2', c!)
    expect([registry.count(tenant), registry.count(other), log]).toEqual([1, 2, []])
    expect([...registry.all()]).toEqual([a, b, c])
    registry.release(other, 'id', b!)
    expect(registry.count(other)).toBe(1)
  })
})
