/**
 * What one benchmark run is (the spec), what it reports (the result), and the defaults of every scenario.
 * Specs and results cross a process boundary as JSON: plain data only.
 */
export const trafficScenarios = [
  'pairs',
  'fan-out',
  'fan-in',
  'shared',
  'wildcard',
  'persistent-online',
  'latency',
  'flood',
] as const
export const scenarioNames = [
  ...trafficScenarios,
  'persistent-offline',
  'offline-acks',
  'offline-fan-out',
  'long',
  'retained',
  'connect',
  'idle',
  'start',
  'restart',
] as const
export const brokerNames = ['flockmq', 'mosquitto', 'aedes', 'external', 'ceiling'] as const

/** Where disk and processor work at once: the broker has both cores, and the generator sleeps where it has nothing to do. */
export const sharingScenarios: readonly (typeof scenarioNames)[number][] = ['offline-acks', 'offline-fan-out', 'long']

export type TrafficScenario = (typeof trafficScenarios)[number]
export type ScenarioName = (typeof scenarioNames)[number]
export type BrokerName = (typeof brokerNames)[number]
/** MQTT protocol level: 3 is 3.1, 4 is 3.1.1, 5 is 5.0. */
export type Version = 3 | 4 | 5
export type Qos = 0 | 1 | 2

export interface Spec {
  scenario: ScenarioName
  version: Version
  qos: Qos
  /** Bytes of application payload, at least 16: every message carries publisher, sequence and time. */
  payload: number
  /** Pairs, subscribers (fan-out), publishers (fan-in, shared, retained, offline-acks, long) or clients (idle). */
  connections: number
  /** Messages of one publisher not yet received by its subscriber; connects under way in `connect` and `idle`. */
  inFlight: number
  /** Messages a second of all publishers together on a fixed schedule (open loop); 0 means closed loop. */
  rate: number
  /** Messages that a publisher sends at once, in the open loop. */
  burst: number
  /** Length of the measured window. */
  seconds: number
  /** Time under load before the window opens. */
  warmup: number
  /** Each message written to the socket by itself, so that there is nothing to batch. */
  onePerSegment: boolean
  /** Members of the shared group. */
  group: number
  /** Distinct filters in `wildcard`. */
  filters: number
  /** Messages per subscriber in `persistent-offline`, retained in `retained` and `restart`, publishes in `offline-fan-out`. */
  messages: number
  /** Absent persistent sessions in `offline-acks`, `offline-fan-out`, `long` and `restart`. */
  sessions: number
  /** Bytes of payload in queues at which the sessions of `long` come back. */
  queueBytes: number
  /** CONNECT carries a will (`connect`, `idle`). */
  will: boolean
  /** Which nodes of a cluster clients go to. */
  placing: Placing
}

/**
 * `one`: all to the first node. `across`: publishers to the first, subscribers to the second. `spread`: to all, a publisher
 * and its own subscriber to different ones. `survivors`: to all but the last.
 */
export type Placing = 'one' | 'across' | 'spread' | 'survivors'

/** The node that a client goes to. */
export function placeOf(placing: Placing, role: 'publisher' | 'subscriber', i: number, nodes: number): number {
  if (placing === 'one') return 0
  if (placing === 'across') return role === 'publisher' ? 0 : 1 % nodes
  if (placing === 'survivors') return i % Math.max(1, nodes - 1)
  return (role === 'publisher' ? i : i + 1) % nodes
}

/** Where the generator finds the broker. */
export interface Target {
  host: string
  port: number
  /** Process whose CPU time is read from /proc; 0 when unknown (then CPU is not reported). */
  pid: number
  /** HTTP port of a FlockMQ, for its /metrics; 0 without. */
  apiPort: number
  /** Where the broker keeps its data; null when unknown. */
  folder: string | null
  /** The other nodes of its cluster. */
  others?: readonly Target[]
}

/** Latency percentiles in microseconds. */
export interface Latency {
  p50: number
  p99: number
  p999: number
  max: number
}

/** What the generator measured. */
export interface Measured {
  /** Messages received inside the window; connects in `connect`, `idle` and `start`. */
  received: number
  /** Length of the window as it was, in seconds. */
  seconds: number
  receivedPerSecond: number
  latency: Latency | null
  /** Over the whole run, warm-up and drain included. */
  sent: number
  lost: number
  duplicated: number
  outOfOrder: number
  /** Broker CPU time (user and system) per received message inside the window; null when no pid is known. */
  cpuMicrosPerMessage: number | null
  /** Share of one core used inside the window, in percent. A generator near 100 is the bottleneck. */
  brokerCpuPercent: number | null
  generatorCpuPercent: number
  /** Figures of one scenario only, by name with unit. */
  extra: Record<string, number>
  /** How figures went over time, where a scenario tells: one row a minute or less. */
  series?: Record<string, number>[]
}

export interface Result extends Measured {
  broker: BrokerName
  spec: Spec
  /** Resident memory of the broker in MiB: empty, after the run, highest seen. */
  rssMib: { before: number; after: number; peak: number } | null
}

export interface Progress {
  /** Seconds since the load began. */
  at: number
  receivedPerSecond: number
  sentPerSecond: number
  /** Figures of one scenario only, by name with unit. */
  more?: Record<string, number>
}

const common: Omit<Spec, 'scenario'> = {
  version: 4,
  qos: 0,
  payload: 64,
  connections: 50,
  inFlight: 64,
  rate: 0,
  burst: 1,
  seconds: 5,
  warmup: 1,
  onePerSegment: false,
  group: 4,
  filters: 10_000,
  messages: 10_000,
  sessions: 256,
  queueBytes: 1e9,
  will: false,
  placing: 'one',
}

const special: Partial<Record<ScenarioName, Partial<Spec>>> = {
  'fan-out': { connections: 100 },
  shared: { connections: 100 },
  latency: { rate: 5000 },
  'persistent-online': { qos: 1 },
  'persistent-offline': { qos: 1, messages: 2000 },
  'offline-acks': { qos: 1, connections: 64, inFlight: 16, warmup: 6 },
  'offline-fan-out': { qos: 1, connections: 1, inFlight: 4, payload: 1024, sessions: 10_000, messages: 50 },
  long: {
    version: 5,
    qos: 1,
    connections: 64,
    inFlight: 16,
    payload: 1024,
    // Half of what goes through at full speed with such payloads.
    rate: 14_000,
    seconds: 600,
    warmup: 6,
    sessions: 2048,
  },
  restart: { qos: 1, connections: 50, sessions: 100_000, messages: 1_000_000 },
  retained: { qos: 1, connections: 10 },
  connect: { connections: 1 },
  idle: { connections: 5000 },
  flood: { seconds: 60 },
}

/** One message per segment: a window of one, so a broker with nothing to batch; pairs become 500. */
function unbatched(scenario: ScenarioName): Partial<Spec> {
  return scenario === 'pairs' ? { connections: 500, inFlight: 1 } : { inFlight: 1 }
}

/** Defaults of a scenario, then those of one-per-segment, then what the caller gave. */
export function completeSpec(scenario: ScenarioName, given: Partial<Spec> = {}): Spec {
  return { ...common, ...special[scenario], ...(given.onePerSegment ? unbatched(scenario) : {}), ...given, scenario }
}
