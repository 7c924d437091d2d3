import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { OTHER_TENANTS } from '../../src/plugin/drop-counters.ts'
import { EventLog } from '../../src/plugin/event-log.ts'
import {
  type BrokerEvent,
  DROP_REASONS,
  DropCounters,
  EVENTS,
  EventBus,
  type EventPlugin,
  type EventType,
} from '../../src/plugin/index.ts'
import { figuresOf, ManualClock, recordingLogger, tenant } from './helpers.ts'

const acme = tenant('acme')

function recorder(types: readonly string[] | null, name = 'recorder'): EventPlugin & { events: BrokerEvent[] } {
  const events: BrokerEvent[] = []
  return { name, types, events, report: (event) => events.push(event) }
}

function scene() {
  const clock = new ManualClock()
  const logger = recordingLogger()
  return { clock, logger, bus: new EventBus({ clock, logger }) }
}

describe('the catalogue', () => {
  test('is in one form: names, sentences, reasons', () => {
    for (const [type, spec] of Object.entries(EVENTS)) {
      expect(type).toMatch(/^[a-z]+\.[a-z-]+$/)
      expect(spec.sentence).toMatch(/^[A-Z].+\.$/)
      const reasons: readonly string[] = 'reasons' in spec ? spec.reasons : []
      for (const reason of reasons) expect(reason).toMatch(/^[a-z]+(-[a-z]+)*$/)
      expect(new Set(reasons).size).toBe(reasons.length)
    }
  })

  test('has an answer to each of the 84 events of the model, as the table in src/plugin/README.md says', () => {
    const rows = [...readFileSync('src/plugin/README.md', 'utf8').matchAll(/^\| `([A-Z0-9_]+)` \| (.+?) \|$/gm)]
    expect(rows).toHaveLength(84)
    expect(new Set(rows.map((row) => row[1])).size).toBe(84)
    for (const [, name, ours] of rows) {
      const named = /^`([a-z.-]+)`(?:, `([a-z-]+)`)?/.exec(ours!)
      if (ours!.startsWith('left out: ')) continue
      const spec = EVENTS[named?.[1] as EventType] as { reasons?: readonly string[] } | undefined
      expect(spec, `${name} -> ${ours}`).toBeDefined()
      if (named![2] !== undefined) expect(spec!.reasons, `${name} -> ${ours}`).toContain(named![2])
    }
  })
})

describe('the bus', () => {
  test('brings events to those who want them, with the time', () => {
    const { bus, clock } = scene()
    const [some, all] = [recorder(['client.connected']), recorder(null, 'all')]
    const takeAway = bus.add(some)
    bus.add(all)
    bus.report('client.connected', acme, 'c', 0, { user: 'u' })
    bus.report('client.refused', acme, 'c', 0x86, { reason: 'bad-credentials' })
    const expected = {
      type: 'client.connected',
      tenant: 'acme',
      clientId: 'c',
      timeMs: clock.nowMs,
      reasonCode: 0,
      detail: { user: 'u' },
    }
    expect(some.events).toEqual([expected])
    expect(all.events.map((event) => event.type)).toEqual(['client.connected', 'client.refused'])
    takeAway()
    bus.report('client.connected', acme, 'c', 0, {})
    expect([some.events.length, all.events.length]).toEqual([1, 3])
  })

  test('says who listens, for each type', () => {
    const { bus } = scene()
    for (const type of Object.keys(EVENTS) as EventType[]) expect(bus.enabled(type)).toBe(false)
    const takeAway = bus.add(recorder(['client.slow']))
    expect([bus.enabled('client.slow'), bus.enabled('client.connected')]).toEqual([true, false])
    takeAway()
    expect(bus.enabled('client.slow')).toBe(false)
  })

  test('a type that does not exist stops the start', () => {
    const { bus } = scene()
    expect(() => bus.add(recorder(['client.exploded'], 'mine'))).toThrow(
      'Cannot use event plugin "mine": it wants events of type "client.exploded"',
    )
    expect(() => bus.add(recorder(['toString']))).toThrow('"toString"')
  })

  test('a listener that throws disturbs nobody', () => {
    const { bus, logger } = scene()
    const broken: EventPlugin = {
      name: 'broken',
      types: null,
      report: () => {
        throw new Error('disk full')
      },
    }
    const after = recorder(null)
    bus.add(broken)
    bus.add(after)
    for (let i = 0; i < 100; i++) bus.report('client.pinged', acme, 'c', 0, {})
    expect(after.events).toHaveLength(100)
    expect(logger.lines).toHaveLength(7)
    expect(figuresOf(bus)).toEqual({ 'flockmq_event_plugin_failures_total{plugin=broken}': 100 })
  })

  test('asking and dropping cost nothing that counts while nobody listens', () => {
    const { bus } = scene()
    let best = Number.POSITIVE_INFINITY
    for (let round = 0; round < 20; round++) {
      const before = performance.now()
      for (let i = 0; i < 20_000; i++) {
        if (bus.enabled('deliver.sent')) throw new Error('no')
        bus.drop('slow-consumer', acme, 'c', 't', 0)
      }
      best = Math.min(best, (performance.now() - before) / 20_000)
    }
    expect(best * 1_000).toBeLessThan(0.5)
    if (process.env.FIGURES) process.stdout.write(`asking and dropping: ${(best * 1e6).toFixed(0)} ns\n`)
  })
})

describe('dropped messages', () => {
  test('are counted always, and are events where somebody listens', () => {
    const { bus } = scene()
    bus.drop('expired', acme, 'c', 't', 1, 3)
    const listener = recorder(['message.dropped'])
    bus.add(listener)
    bus.drop('too-large', acme, 'c', 't', 2)
    bus.drop('expired', tenant('other'), 'd', 'u', 0, 2)
    expect(listener.events).toMatchObject([
      {
        type: 'message.dropped',
        clientId: 'c',
        reasonCode: 0x95,
        detail: { reason: 'too-large', topic: 't', qos: 2, count: 1 },
      },
      { tenant: 'other', reasonCode: 0, detail: { reason: 'expired', topic: 'u', qos: 0, count: 2 } },
    ])
    expect(figuresOf(bus)).toEqual({
      'flockmq_messages_dropped_total{tenant=acme,reason=expired}': 3,
      'flockmq_messages_dropped_total{tenant=acme,reason=too-large}': 1,
      'flockmq_messages_dropped_total{tenant=other,reason=expired}': 2,
    })
  })

  test('of a million tenants fill no memory, and none is lost from the sum', () => {
    const counters = new DropCounters(10)
    for (let i = 0; i < 100; i++) counters.add(tenant(`t${i}`), DROP_REASONS[i % DROP_REASONS.length]!, 1)
    counters.add(tenant('t3'), 'quota', 5)
    const figures = figuresOf(counters)
    const tenants = new Set(Object.keys(figures).map((name) => /tenant=([^,]+)/.exec(name)![1]))
    expect(tenants.size).toBe(11)
    expect(tenants).toContain(OTHER_TENANTS)
    expect(Object.values(figures).reduce((sum, value) => sum + value)).toBe(105)
    expect(figures['flockmq_messages_dropped_total{tenant=t3,reason=quota}']).toBe(5)
  })
})

describe('the log', () => {
  test('writes few lines of a type, and how many it left out', async () => {
    const { bus, clock, logger } = scene()
    const log = new EventLog({ clock, logger, level: 'info', linesMax: 2, periodMs: 1_000 }, bus.drops)
    bus.add(log)
    log.start()
    for (let i = 0; i < 5; i++) bus.report('client.refused', acme, `c${i}`, 0x86, { reason: 'bad-credentials' })
    bus.report('client.slow', acme, 'c', 0, { unsentBytes: 7 })
    bus.report('client.connected', acme, 'c', 0, {})
    expect(logger.lines.map((line) => [line.level, line.fields.event])).toEqual([
      ['info', 'client.refused'],
      ['info', 'client.refused'],
      ['warn', 'client.slow'],
    ])
    expect(logger.lines[0]!.fields).toMatchObject({
      tenant: 'acme',
      clientId: 'c0',
      reasonCode: 0x86,
      reason: 'bad-credentials',
    })
    clock.advance(1_000)
    expect(logger.lines[3]).toMatchObject({ fields: { event: 'client.refused', count: 3 } })
    bus.report('client.refused', acme, 'c', 0x86, { reason: 'bad-credentials' })
    expect(logger.lines).toHaveLength(5)
    await log.stop()
    expect(clock.pending).toBe(0)
  })

  test('sums up what was dropped, once a period and only where it rose', async () => {
    const { bus, clock, logger } = scene()
    const log = new EventLog({ clock, logger, level: 'debug', linesMax: 2, periodMs: 1_000 }, bus.drops)
    bus.add(log)
    log.start()
    expect(bus.enabled('message.dropped')).toBe(false)
    for (let i = 0; i < 1_000; i++) bus.drop('slow-consumer', acme, 'c', 't', 0)
    expect(logger.lines).toEqual([])
    clock.advance(1_000)
    expect(logger.lines.map((line) => line.fields)).toEqual([
      { event: 'message.dropped', tenant: 'acme', reason: 'slow-consumer', count: 1_000 },
    ])
    clock.advance(5_000)
    expect(logger.lines).toHaveLength(1)
    bus.drop('slow-consumer', acme, 'c', 't', 0)
    await log.stop()
    expect(logger.lines[1]!.fields.count).toBe(1)
  })
})
