import type { Clock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/logging.ts'
import type { RangeClient } from '../../src/kv/client/client.ts'
import { RoutedClient } from '../../src/kv/client/routed-client.ts'
import type {
  BatchAnswer,
  CommandBatch,
  QueryAnswer,
  QueryRequest,
  RangeTransport,
} from '../../src/kv/client/transport.ts'
import type { Engine } from '../../src/kv/engine/engine.ts'
import type { CrashOptions, SimulatedEngine } from '../../src/kv/engine/memory/simulated.ts'
import type { MatchMessage } from '../../src/kv/lease/index.ts'
import type { Coprocessor, RangeDescriptor, RangeObserver } from '../../src/kv/range/coprocessor.ts'
import { decodePackets, encodePackets } from '../../src/kv/remote/packet-codec.ts'
import { MatchLeases } from '../../src/kv/store/match-leases.ts'
import type { Packet } from '../../src/kv/store/packet.ts'
import { Store, type StoreOptions } from '../../src/kv/store/store.ts'
import type { SimulatedProcess, World } from './world.ts'

export interface ClusterOptions<Command, Response, Query, Answer, Effect> {
  world: World
  coprocessor: () => Coprocessor<Command, Response, Query, Answer, Effect>
  makeObserver: (store: string) => RangeObserver<Effect>
  /** The stores; the service begins on the first `voters` of them. */
  stores: readonly string[]
  voters?: number
  splits?: readonly Uint8Array[]
  store?: Partial<StoreOptions>
  /** Packets cross as bytes. Default: as they are. */
  codec?: boolean
  /** What clients and stores say to each other is lost, doubled and overtaken too. Default: in order, or cut. */
  clientDatagrams?: boolean
  /** A store is about to start on its disk: it may be given another view of it. */
  starting?: (store: string, engine: SimulatedEngine) => Engine
  /** A store's disk failed. Default: the run fails. */
  fatal?: (store: string, error: Error) => void
  /** Answers wait for match leases. Default: for nothing. */
  leases?: {
    /** By what a store keeps time for them. */
    clock(clock: Clock, store: string): Clock
    loses(from: string, to: string, range: string): boolean
  }
  /** A store answers a client's batch. */
  answers?: (store: string, batch: CommandBatch<Command>, error: Error | null) => void
  /** Sees what stores send. */
  sending?: (from: string, to: string, packets: readonly Packet[]) => void
  /** What arrives in the place of what is sent. */
  altering?: (packets: readonly Packet[]) => readonly Packet[]
}

interface Running<Command, Response, Query, Answer, Effect> {
  store: Store
  engine: SimulatedEngine
  observer: RangeObserver<Effect>
  transport: RangeTransport<Command, Response, Query, Answer>
  leases: MatchLeases | null
}

type Frame<Command, Response, Query, Answer> =
  | { type: 'raft'; packets: readonly Packet[] | Uint8Array }
  | { type: 'lease'; range: string; message: MatchMessage }
  | { type: 'propose'; batch: CommandBatch<Command>; answer: BatchAnswer<Response> }
  | { type: 'query'; request: QueryRequest<Query>; answer: QueryAnswer<Answer> }
  | { type: 'reply'; deliver: () => void }

/** Stores on machines of their own, joined by a network that loses, delays and is cut; clients beside them. */
export class SimulatedCluster<Command, Response, Query, Answer, Effect> {
  readonly world: World
  readonly #options: ClusterOptions<Command, Response, Query, Answer, Effect>
  readonly #processes = new Map<string, SimulatedProcess>()
  readonly #running = new Map<string, Running<Command, Response, Query, Answer, Effect>>()
  /** Their disks have lost what had been synced, and they have not dealt with that yet. */
  readonly #lossy = new Set<string>()
  #clients = 0

  constructor(options: ClusterOptions<Command, Response, Query, Answer, Effect>) {
    this.#options = options
    this.world = options.world
    for (const name of options.stores) this.add(name)
  }

  /** A further machine, or one of the first. */
  add(name: string): void {
    this.#processes.set(name, this.world.process(name))
    this.start(name)
  }

  get up(): string[] {
    return [...this.#running.keys()]
  }

  store(name: string): Store {
    return this.#of(name).store
  }

  engine(name: string): SimulatedEngine {
    return this.#of(name).engine
  }

  leases(name: string): MatchLeases {
    return this.#of(name).leases!
  }

  observer(name: string): RangeObserver<Effect> {
    return this.#of(name).observer
  }

  machine(name: string): SimulatedProcess {
    return this.#processes.get(name)!
  }

  start(name: string): void {
    if (this.#running.has(name)) return
    const { world } = this
    const { coprocessor, makeObserver, stores, voters = stores.length, splits = [], store: extra } = this.#options
    const machine = this.#processes.get(name)!
    machine.restart()
    const engine = machine.disk('db')
    const store = new Store({
      engine: this.#options.starting?.(name, engine) ?? engine,
      ...{ clock: machine.clock(), defer: machine.defer(), random: world.random, storeId: name },
      log: silentLogger,
      lossy: this.#lossy.has(name),
      fatal: (error) => (this.#options.fatal ?? ((_, cause) => world.fail(cause)))(name, error),
      send: (to, packets) => this.#send(name, to, packets),
      ...extra,
    })
    const observer = makeObserver(name)
    const founders = stores.slice(0, voters)
    const leases = this.#makeLeases(name)
    const transport = store.open(coprocessor(), observer, {
      ...{ splits, stores: founders.includes(name) ? founders : [], watch: leases?.watch },
    })
    this.#running.set(name, { store, engine, observer, transport, leases })
    if (this.#lossy.has(name)) void store.flushed().then(() => this.#lossy.delete(name))
    machine.attach((from, message) => {
      const frame = message as Frame<Command, Response, Query, Answer>
      const reply = (deliver: () => void) => this.#say(name, from, { type: 'reply', deliver })
      if (frame.type === 'raft') {
        const { packets } = frame
        store.receive(from, packets instanceof Uint8Array ? decodePackets(packets) : packets)
      } else if (frame.type === 'propose') {
        transport.propose(name, frame.batch, (...answer) => {
          this.#options.answers?.(name, frame.batch, answer[0])
          reply(() => frame.answer(...answer))
        })
      } else if (frame.type === 'lease') leases?.received(from, frame.range, frame.message)
      else if (frame.type === 'query') {
        transport.query(name, frame.request, (...answer) => reply(() => frame.answer(...answer)))
      }
    })
  }

  /** The next start is on a disk that says that it has lost writes, and so is each until the store has dealt with that. */
  loses(name: string): void {
    this.#lossy.add(name)
  }

  crash(name: string, options?: CrashOptions): void {
    const running = this.#running.get(name)
    if (running === undefined) return
    this.#running.delete(name)
    const ranges = running.store.ranges()
    running.store.abandon()
    this.#processes.get(name)!.crash(options)
    for (const { descriptor } of ranges) running.observer.closed(descriptor)
  }

  /** A client somewhere on the network, which is told of ranges by whoever is up. */
  client(deadlineMs = 60_000): RangeClient<Command, Response, Query, Answer> {
    const { world } = this
    const name = `client-${++this.#clients}`
    world.network.attach(name, (_from, message) => (message as { deliver: () => void }).deliver())
    const transport: RangeTransport<Command, Response, Query, Answer> = {
      propose: (store, batch, answer) => this.#say(name, store, { type: 'propose', batch, answer }),
      query: (store, request, answer) => this.#say(name, store, { type: 'query', request, answer }),
      landscape: () => this.#landscape(),
      schedule: (flush) => world.defer(flush),
    }
    return new RoutedClient({
      service: this.#options.coprocessor().service,
      ...{ transport, incarnation: name, clock: world.clock, random: world.random },
      log: { ...silentLogger, error: (fields, message) => world.fail(Object.assign(new Error(message), fields)) },
      limits: { deadlineMs },
    })
  }

  /** The leader of the range of that id, as its store believes: of those, the one of the highest term. */
  leader(range: string): string | null {
    let found: { name: string; term: number } | null = null
    for (const [name, { store }] of this.#running) {
      const stats = store.ranges().find(({ descriptor }) => descriptor.id === range)
      if (stats?.leads === true && (found === null || stats.term > found.term)) found = { name, term: stats.term }
    }
    return found?.name ?? null
  }

  health(): string[] {
    return [...this.#running].flatMap(([name, { store }]) =>
      store.health().map(({ part, message }) => `${name} ${part}: ${message}`),
    )
  }

  #makeLeases(name: string): MatchLeases | null {
    const { leases } = this.#options
    if (leases === undefined) return null
    const { random, network } = this.world
    const clock = leases.clock(this.machine(name).clock(), name)
    const send = (to: string, range: string, message: MatchMessage) => {
      if (!leases.loses(name, to, range)) network.send(name, to, { type: 'lease', range, message })
    }
    return new MatchLeases({ name, clock, random, log: silentLogger, send })
  }

  #send(from: string, to: string, packets: readonly Packet[]): void {
    const { sending, altering, codec = false } = this.#options
    sending?.(from, to, packets)
    const sent = altering?.(packets) ?? packets
    const frame = codec ? encodePackets(sent) : sent
    this.world.network.send(from, to, { type: 'raft', packets: frame })
  }

  #say(from: string, to: string, frame: Frame<Command, Response, Query, Answer>): void {
    const { network } = this.world
    if (this.#options.clientDatagrams === true) network.send(from, to, frame)
    else network.stream(from, to, frame)
  }

  #landscape(): RangeDescriptor[] {
    return [...this.#running.values()].flatMap(({ transport }) => transport.landscape())
  }

  #of(name: string): Running<Command, Response, Query, Answer, Effect> {
    const running = this.#running.get(name)
    if (running === undefined) throw new Error(`Store ${name} is down`)
    return running
  }
}
