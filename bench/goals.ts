/** The tables "To reach" of the first and the durable release, as data and as pure judgements; reported, never asserted. */
import type { BrokerOptions } from './brokers/index.ts'
import { type Cell, compareSpec } from './compare.ts'
import { count, figure, table } from './report.ts'
import { type BrokerName, completeSpec, type Result, type ScenarioName, type Spec } from './spec.ts'

export interface Goal {
  name: string
  scenario: ScenarioName
  given: Partial<Spec>
  /** Peers that run in the same turn. */
  peers: BrokerName[]
  checks: Check[]
}

/** One figure and the bound that it must keep; null when a run that it needs is missing. */
export interface Check {
  goal: string
  measure(own: Result, peer: (name: BrokerName) => Result | null): { text: string; met: boolean } | null
}

export interface Row {
  name: string
  goal: string
  measured: string
  met: boolean | null
}

/** Everybody's table row: the rate of ours over a peer's. */
function timesFaster(factor: number, name: BrokerName): Check {
  return {
    goal: `>= ${factor}x ${name}`,
    measure(own, peer) {
      const other = peer(name)
      if (!other) return null
      const ratio = own.receivedPerSecond / other.receivedPerSecond
      const rates = `${count(own.receivedPerSecond)}/s against ${count(other.receivedPerSecond)}/s`
      const [mine, theirs] = [own.cpuMicrosPerMessage, other.cpuMicrosPerMessage]
      // On a shared machine the ratio by CPU time is the steadier one: shown, not judged.
      const byCpu = mine === null || theirs === null ? '' : `, ${(theirs / mine).toFixed(1)}x by CPU`
      return { text: `${ratio.toFixed(1)}x (${rates}${byCpu})`, met: ratio >= factor }
    },
  }
}

/** CPU per message of a peer over ours. */
function timesCheaper(factor: number, name: BrokerName): Check {
  return {
    goal: `CPU per message ${factor === 1 ? 'at most' : `${factor}x below`} ${name}'s`,
    measure(own, peer) {
      const [mine, theirs] = [own.cpuMicrosPerMessage, peer(name)?.cpuMicrosPerMessage ?? null]
      if (mine === null || theirs === null) return null
      const rates = `${count(own.receivedPerSecond)}/s against ${count(peer(name)?.receivedPerSecond ?? 0)}/s`
      return { text: `${figure(mine)} us against ${figure(theirs)} us (${rates})`, met: theirs / mine >= factor }
    },
  }
}

function atMost(goal: string, unit: string, bound: number, read: (own: Result) => number | null | undefined): Check {
  return {
    goal,
    measure(own) {
      const value = read(own)
      return value === null || value === undefined ? null : { text: `${figure(value)} ${unit}`, met: value <= bound }
    },
  }
}

function rateAtLeast(bound: number): Check {
  return {
    goal: `>= ${bound}/s`,
    measure: (own) => ({ text: `${count(own.receivedPerSecond)}/s`, met: own.receivedPerSecond >= bound }),
  }
}

const p50AtMostPeers: Check = {
  goal: "p50 at most mosquitto's",
  measure(own, peer) {
    const [mine, theirs] = [own.latency?.p50, peer('mosquitto')?.latency?.p50]
    if (mine === undefined || theirs === undefined) return null
    return { text: `${mine} us against ${theirs} us`, met: mine <= theirs }
  },
}

/** What no scenario may do, whatever its speed. */
const nothingLost: Check = {
  goal: 'nothing lost, twice or out of order',
  measure({ lost, duplicated, outOfOrder }) {
    const met = lost + duplicated + outOfOrder === 0
    return { text: met ? 'none' : `${lost} lost, ${duplicated} twice, ${outOfOrder} out of order`, met }
  },
}

export const goalTable: Goal[] = [
  goal('pairs QoS 0', 'pairs', {}, [
    timesFaster(15, 'mosquitto'),
    atMost('<= 0.6 us CPU per message', 'us', 0.6, (own) => own.cpuMicrosPerMessage),
    nothingLost,
  ]),
  goal('fan-out 1 -> 100', 'fan-out', {}, [timesFaster(15, 'mosquitto'), nothingLost]),
  goal('pairs QoS 1', 'pairs', { qos: 1 }, [timesFaster(8, 'mosquitto'), nothingLost]),
  goal('pairs QoS 2', 'pairs', { qos: 2 }, [timesFaster(5, 'mosquitto'), nothingLost]),
  goal('fan-in', 'fan-in', {}, [timesFaster(8, 'mosquitto'), nothingLost]),
  goal('$share of 4', 'shared', {}, [timesFaster(8, 'mosquitto'), nothingLost]),
  goal('10,000 wildcards', 'wildcard', {}, [timesFaster(8, 'mosquitto'), nothingLost]),
  goal('500 pairs w1', 'pairs', { onePerSegment: true }, [
    timesCheaper(1, 'mosquitto'),
    timesCheaper(2, 'aedes'),
    nothingLost,
  ]),
  goal('fan-out w1', 'fan-out', { onePerSegment: true }, [
    timesCheaper(1, 'mosquitto'),
    timesCheaper(2, 'aedes'),
    nothingLost,
  ]),
  goal('5,000 msg/s open loop', 'latency', { rate: 5000 }, [
    p50AtMostPeers,
    atMost('p99 <= 2 ms', 'ms', 2, (own) => own.latency && own.latency.p99 / 1000),
    nothingLost,
  ]),
  goal('connects', 'connect', {}, [rateAtLeast(6000)]),
  goal('connects with a will', 'connect', { will: true }, [rateAtLeast(3000)]),
  goal('idle connections', 'idle', { seconds: 2 }, [
    atMost('empty <= 150 MiB', 'MiB', 150, (own) => own.extra.emptyMib),
    atMost('<= 8 KiB per connection', 'KiB', 8, (own) => own.extra.kibPerConnection),
  ]),
  goal('start to first message', 'start', {}, [
    atMost('<= 1,000 ms', 'ms', 1000, (own) => own.extra.startToFirstMessageMs),
  ]),
  goal('pairs flood', 'flood', {}, [
    atMost('event loop p99 <= 50 ms', 'ms', 50, (own) => own.extra.eventLoopP99Ms),
    nothingLost,
  ]),
]

/** With every acknowledgement on disk. */
export const durableTable: Goal[] = [
  goal('offline, full speed', 'offline-acks', {}, [rateAtLeast(60_000), nothingLost]),
  goal('offline, 60,000 msg/s', 'offline-acks', { rate: 60_000, burst: 4 }, [
    atMost('p99 <= 10 ms', 'ms', 10, (own) => own.latency && own.latency.p99 / 1000),
    nothingLost,
  ]),
  goal('offline, 15,000 msg/s', 'offline-acks', { rate: 15_000 }, [
    atMost('p99 <= 3 ms', 'ms', 3, (own) => own.latency && own.latency.p99 / 1000),
    nothingLost,
  ]),
  goal('persistent online', 'persistent-online', {}, [rateAtLeast(40_000), nothingLost]),
  goal('1 -> 10,000 offline, 1 KB', 'offline-fan-out', {}, [
    rateAtLeast(100_000),
    atMost('payload in the log <= 10 times', 'times', 10, (own) => own.extra.payloadInLog),
    nothingLost,
  ]),
  goal('restart when full', 'restart', {}, [
    atMost('first session <= 2,000 ms', 'ms', 2000, (own) => own.extra.firstSessionMs),
  ]),
]

export interface GoalsOptions {
  table: readonly Goal[]
  seconds: number
  floodSeconds: number
  rounds: number
  /** Part of a goal's name; empty for all. */
  only: string
  broker(name: BrokerName): BrokerOptions
  log(text: string): void
}

export async function goals(options: GoalsOptions): Promise<{ rows: Row[]; text: string }> {
  const { table, seconds, floodSeconds, rounds, log } = options
  const rows: Row[] = []
  for (const wanted of table.filter(({ name }) => name.includes(options.only))) {
    const long = wanted.scenario === 'flood'
    const spec = completeSpec(wanted.scenario, { seconds: long ? floodSeconds : seconds, ...wanted.given })
    const brokers = (['flockmq', ...wanted.peers] as const).map((name) => options.broker(name))
    rows.push(...judge(wanted, await compareSpec(spec, { brokers, rounds: long ? 1 : rounds, log })))
  }
  return { rows, text: goalsText(rows) }
}

/** A row for each check of the goal. */
export function judge({ name, checks }: Goal, cells: readonly Cell[]): Row[] {
  const find = (broker: BrokerName) => cells.find((cell) => cell.broker === broker)
  const own = find('flockmq')
  return checks.map((check, i) => {
    const measured = own?.result ? check.measure(own.result, (broker) => find(broker)?.result ?? null) : null
    const problem = cells.find((cell) => cell.problem !== null)?.problem?.split('\n')[0] ?? 'not measured'
    return {
      name: i === 0 ? name : '',
      goal: check.goal,
      measured: measured?.text ?? problem,
      met: measured?.met ?? null,
    }
  })
}

function goalsText(rows: readonly Row[]): string {
  const verdict = (met: boolean | null) => (met === null ? '?' : met ? 'yes' : 'NO')
  return table(
    ['scenario', 'goal', 'measured', 'met'],
    rows.map(({ name, goal: bound, measured, met }) => [name, bound, measured, verdict(met)]),
  )
}

/** A goal with the peers that its checks name. */
function goal(name: string, scenario: ScenarioName, given: Partial<Spec>, checks: Check[]): Goal {
  const text = checks.map((check) => check.goal).join(' ')
  return {
    name,
    scenario,
    given,
    checks,
    peers: (['mosquitto', 'aedes'] as const).filter((peer) => text.includes(peer)),
  }
}
