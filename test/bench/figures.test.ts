/** Latency, plans, /proc, /metrics, medians and judgements: how raw observations become figures. */
import { expect, test } from 'vitest'
import { type Cell, comparisonText, median } from '../../bench/compare.ts'
import { eventLoopP99Seconds } from '../../bench/event-loop.ts'
import { LatencyRecorder } from '../../bench/generator/latency.ts'
import { planTraffic } from '../../bench/generator/plan.ts'
import { durableTable, goalTable, judge } from '../../bench/goals.ts'
import { parseCpuMicros } from '../../bench/proc.ts'
import { figure, table } from '../../bench/report.ts'
import { type BrokerName, completeSpec, placeOf, type Result } from '../../bench/spec.ts'

test('clients of a cluster go where the scenario wants them', () => {
  const places = (placing: Parameters<typeof placeOf>[0], role: 'publisher' | 'subscriber') =>
    [0, 1, 2, 3].map((i) => placeOf(placing, role, i, 3))
  expect(places('one', 'subscriber')).toEqual([0, 0, 0, 0])
  expect([places('across', 'publisher'), places('across', 'subscriber')]).toEqual([
    [0, 0, 0, 0],
    [1, 1, 1, 1],
  ])
  // A publisher and its own subscriber never meet.
  expect([places('spread', 'publisher'), places('spread', 'subscriber')]).toEqual([
    [0, 1, 2, 0],
    [1, 2, 0, 1],
  ])
  expect(places('survivors', 'publisher')).toEqual([0, 1, 0, 1])
  expect(placeOf('across', 'subscriber', 0, 1)).toBe(0)
})

test('latencies of neighbours with equal times are all recorded', () => {
  const recorder = new LatencyRecorder()
  for (let i = 0; i < 980; i++) recorder.record(1000, 1100)
  for (let i = 0; i < 18; i++) recorder.record(1000, 1900)
  recorder.record(1000, 6000)
  recorder.record(1000, 9000)
  expect(recorder.summary()).toEqual({
    p50: 100,
    p99: 900,
    p999: expect.closeTo(5000, -1),
    max: expect.closeTo(8000, -1),
  })
  recorder.record(0, 5)
  recorder.reset()
  expect(recorder.summary()).toBeNull()
})

test('the clock may wrap between sending and receiving, and an early message counts as 0', () => {
  const recorder = new LatencyRecorder()
  recorder.record(0xffffff00, 0x100)
  expect(recorder.summary()?.max).toBe(0x200)
  recorder.reset()
  recorder.record(500, 400)
  expect(recorder.summary()?.max).toBe(0)
})

/** MQTT 5.0, 4.7, without its `$` rule. */
function matches(filter: string, topic: string): boolean {
  const [levels, names] = [filter.split('/'), topic.split('/')]
  for (const [i, level] of levels.entries()) {
    if (level === '#') return true
    if (names[i] === undefined || (level !== '+' && level !== names[i])) return false
  }
  return levels.length === names.length
}

test('wildcard: each topic matches one filter, its own subscriber holds it, and there are four shapes', () => {
  const plan = planTraffic(completeSpec('wildcard', { filters: 400, connections: 10 }), 'r')
  const filters = plan.subscribers.flat()
  expect(new Set(filters).size).toBe(400)
  plan.publishers.forEach((topics, p) => {
    expect(topics).toHaveLength(40)
    for (const topic of topics) {
      expect(filters.filter((filter) => matches(filter, topic))).toHaveLength(1)
      expect(plan.subscribers[p]!.some((filter) => matches(filter, topic))).toBe(true)
    }
  })
  expect(filters.filter((filter) => filter.startsWith('+/'))).toHaveLength(100)
  expect(filters.filter((filter) => filter.endsWith('/#'))).toHaveLength(200)
})

test('plans have the publishers, subscribers and reach of their scenario', () => {
  const shape = (scenario: 'pairs' | 'fan-out' | 'fan-in' | 'shared') => {
    const plan = planTraffic(completeSpec(scenario), 'r')
    const filters = [...new Set(plan.subscribers.flat())]
    const matched = plan.publishers
      .flat()
      .filter((topic) => filters.some((filter) => matches(filter.replace('$share/gr/', ''), topic)))
    return [plan.publishers.length, plan.subscribers.length, filters.length, matched.length, plan.reach]
  }
  expect(shape('pairs')).toEqual([50, 50, 50, 50, 'one'])
  expect(shape('fan-out')).toEqual([1, 100, 1, 1, 'all'])
  expect(shape('fan-in')).toEqual([50, 1, 1, 50, 'one'])
  expect(shape('shared')).toEqual([100, 4, 1, 100, 'any'])
})

test('one message per segment means 500 pairs with a window of one, unless given', () => {
  expect(completeSpec('pairs', { onePerSegment: true })).toMatchObject({ connections: 500, inFlight: 1 })
  expect(completeSpec('fan-out', { onePerSegment: true })).toMatchObject({ connections: 100, inFlight: 1 })
  expect(completeSpec('pairs', { onePerSegment: true, connections: 9, inFlight: 2 })).toMatchObject({
    connections: 9,
    inFlight: 2,
  })
})

test('CPU time is read behind a process name with spaces and parentheses', () => {
  const stat = '12 (a (b) c) S 1 12 12 0 -1 4194304 1 0 0 0 250 50 7 8 20 0 1 0 99 1 2'
  expect(parseCpuMicros(stat)).toBe(3_000_000)
})

test('event-loop delay: the p99 line, with other labels, or nothing', () => {
  const page = [
    '# TYPE flockmq_event_loop_delay_seconds summary',
    'flockmq_event_loop_delay_seconds{quantile="0.5"} 0.001',
    'flockmq_event_loop_delay_seconds{node="n1",quantile="0.99"} 0.0125',
    'flockmq_event_loop_delay_seconds{quantile="0.999"} 0.5',
  ].join('\n')
  expect(eventLoopP99Seconds(page)).toBe(0.0125)
  expect(eventLoopP99Seconds('flockmq_event_loop_delay_seconds{quantile="0.99"} NaN')).toBeNull()
  expect(eventLoopP99Seconds('nodejs_eventloop_lag_p99_seconds 1')).toBeNull()
})

test('three significant digits, never an exponent', () => {
  expect([0, 0.19512, 9.994, 123.4, 1234567].map(figure)).toEqual(['0', '0.195', '9.99', '123', '1234567'])
  expect(table(['a', 'bb'], [['xyz', '1']])).toBe('a    bb\n---  --\nxyz   1')
})

function result(broker: BrokerName, receivedPerSecond: number, more: Partial<Result> = {}): Result {
  return {
    broker,
    spec: pairs,
    received: receivedPerSecond,
    seconds: 1,
    receivedPerSecond,
    latency: { p50: 1, p99: 2, p999: 3, max: 4 },
    sent: receivedPerSecond,
    lost: 0,
    duplicated: 0,
    outOfOrder: 0,
    cpuMicrosPerMessage: 1_000_000 / receivedPerSecond,
    brokerCpuPercent: 100,
    generatorCpuPercent: 50,
    rssMib: null,
    extra: {},
    ...more,
  }
}
const pairs = completeSpec('pairs')

test('the median run counts, of two the slower', () => {
  expect(median([3, 1, 2].map((rate) => result('aedes', rate)))?.receivedPerSecond).toBe(2)
  expect(median([5, 4].map((rate) => result('aedes', rate)))?.receivedPerSecond).toBe(4)
  expect(median([])).toBeNull()
})

function cells(own: Result | null, mosquitto: Result | null): Cell[] {
  return [
    { spec: pairs, broker: 'flockmq', result: own, problem: own ? null : 'not built' },
    { spec: pairs, broker: 'mosquitto', result: mosquitto, problem: mosquitto ? null : 'not installed' },
  ]
}

const verdicts = (own: Result | null, mosquitto: Result | null) =>
  judge(goalTable[0]!, cells(own, mosquitto)).map(({ met }) => met)

test('goals: ratio, CPU and accounting are judged one by one, and a missing run is no verdict', () => {
  const peer = result('mosquitto', 100_000)
  expect(verdicts(result('flockmq', 2_000_000), peer)).toEqual([true, true, true])
  expect(verdicts(result('flockmq', 1_499_999), peer)).toEqual([false, false, true])
  expect(verdicts(result('flockmq', 2_000_000, { lost: 1 }), peer)).toEqual([true, true, false])
  expect(verdicts(result('flockmq', 2_000_000), null)).toEqual([null, true, true])
  expect(verdicts(null, peer)).toEqual([null, null, null])
  expect(judge(goalTable[0]!, cells(null, peer))[0]?.measured).toBe('not built')
})

test('goals name the peers that they need', () => {
  expect(goalTable.find(({ name }) => name === '500 pairs w1')?.peers).toEqual(['mosquitto', 'aedes'])
  expect(goalTable.find(({ name }) => name === 'connects')?.peers).toEqual([])
})

test('a comparison shows how many times better the first broker is', () => {
  const text = comparisonText(cells(result('flockmq', 1_000_000), result('mosquitto', 100_000)))
  expect(text.split('\n')[3]).toMatch(/mosquitto\s+100k\s+10\.00x\s+10\s+10\.00x/)
})

test('durable goals are judged by latency in ms, by inserts and by copies in the log', () => {
  const met = (name: string, own: Result) =>
    judge(durableTable.find((goal) => goal.name === name)!, cells(own, null)).map((row) => row.met)
  const latency = (p99: number) => ({ latency: { p50: 1, p99, p999: p99, max: p99 } })
  expect(met('offline, 15,000 msg/s', result('flockmq', 15_000, latency(3_000)))).toEqual([true, true])
  expect(met('offline, 15,000 msg/s', result('flockmq', 15_000, latency(3_100)))).toEqual([false, true])
  const fanOut = (payloadInLog: number) => result('flockmq', 100_000, { extra: { payloadInLog } })
  expect(met('1 -> 10,000 offline, 1 KB', fanOut(6))).toEqual([true, true, true])
  expect(met('1 -> 10,000 offline, 1 KB', fanOut(10_000))).toEqual([true, false, true])
})
