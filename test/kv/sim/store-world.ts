import type { Batch } from '../../../src/kv/engine/engine.ts'
import type { SimulatedEngine } from '../../../src/kv/engine/memory/simulated.ts'
import type { HardState } from '../../../src/kv/raft/index.ts'
import type { RangeDescriptor, Reader } from '../../../src/kv/range/coprocessor.ts'
import { decodeEntry } from '../../../src/kv/range/entry.ts'
import { FIRST_INDEX } from '../../../src/kv/range/range.ts'
import { appliedKey, decodeApplied, mergeKey, recordOf } from '../../../src/kv/range/schema.ts'
import { ANSWERS } from '../../../src/kv/store/answers.ts'
import type { Packet } from '../../../src/kv/store/packet.ts'
import { decodeState, rangeOfKey } from '../../../src/kv/store/raft-schema.ts'
import { SimulatedCluster } from '../../sim/cluster.ts'
import { World } from '../../sim/world.ts'
import { Clients } from './clients.ts'
import { Consensus } from './consensus.ts'
import { Descriptors, shapeOf } from './descriptors.ts'
import { DiskView, isState, SERVICE } from './disk-view.ts'
import { bytes, type Command, type Effect, Logic, Observer, type Query, type Response, text } from './logic.ts'
import type { Plan } from './plan.ts'
import { read, States } from './states.ts'
import { watchReadys } from './taps.ts'
import { Violation } from './violation.ts'
import { WatchedEngine } from './watched-engine.ts'

/** What is known of one store's disk. */
interface Disk {
  /** What no crash takes away. */
  durable: DiskView
  /** What can be read. */
  landed: DiskView
  /** Landed since the last sync. */
  unsynced: Batch[]
  /** As last handed to the engine, by range. */
  hardStates: Map<string, HardState>
}

/** Durable batches that a damaged log loses, at most. */
const TORN_MAX = 8
/** The second byte of an entry that moves a boundary: a split, or a merge's commit. */
const MOVES = [1, 3]
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')

/** Stores, their clients, and everybody who watches them. */
export class StoreWorld {
  readonly world: World
  readonly cluster: SimulatedCluster<Command, Response, Query, string, Effect>
  readonly clients: Clients
  readonly consensus: Consensus
  readonly descriptors = new Descriptors()
  readonly states = new States()
  /** Stores that hold something; without those whose disk was lost. */
  readonly stores: string[] = []
  /** Their disks were lost: they never come back. */
  readonly retired = new Set<string>()
  /** Clients' places on the network. */
  readonly clientNames: string[] = []
  /** Their disks are nearly full. */
  readonly full = new Set<string>()
  /** The next chunk of a state arrives with a wrong byte. */
  damagesNext = false
  /** Told when a store's disk has failed. */
  diskFailed: (store: string) => void = () => {}
  readonly #disks = new Map<string, Disk>()
  readonly #engines = new Map<string, SimulatedEngine>()
  /** Disks of which the end was lost, as they had been; and the replicas on them, by range. */
  readonly #ghosts = new Set<string>()
  #forgotten: { id: string; replica: number }[] = []
  #snapshots = 0
  #damagedChunks = 0

  constructor(plan: Plan, staleReads = false) {
    const { seed, lossPercent, duplicatePercent, delayMsMax, electionTicks, logBytes, gatherMs } = plan
    this.world = new World({ seed, network: { lossPercent, duplicatePercent, delayMsMin: 0.2, delayMsMax } })
    this.consensus = new Consensus({
      disk: (store) => this.#disks.get(store)?.durable,
      lost: (store) => this.retired.has(store) || this.#ghosts.has(store),
      committed: (range, { type, index, data }) => {
        if (type !== 'command' || !MOVES.includes(data[1]!)) return
        const entry = decodeEntry(data, () => [])
        if (entry.type === 'split' || entry.type === 'merge-commit') this.states.committed(range, index, entry)
      },
    })
    for (let i = 1; i <= plan.stores; i++) this.stores.push(`s${i}`)
    this.cluster = new SimulatedCluster({
      ...{ world: this.world, stores: [...this.stores], voters: plan.voters, splits: plan.splits.map(bytes) },
      coprocessor: () => new Logic(),
      makeObserver: (store) => this.#makeObserver(store),
      store: {
        limits: { logBytesAlone: logBytes, logBytesGroup: logBytes, logBytesMax: logBytes * 4, gatherMs },
        raftLimits: {
          appendBytesMax: plan.appendBytesMax,
          ...(electionTicks === null ? {} : { electionTicks, quiesceTicks: electionTicks * 1.5 }),
        },
        decodeAlways: seed % 2 === 0,
      },
      codec: plan.codec,
      clientDatagrams: plan.clientDatagrams,
      starting: (store, engine) => this.#starting(store, engine),
      sending: (from, to, packets) => this.#guard(() => this.consensus.sent(from, to, packets)),
      altering: (packets) => (this.damagesNext ? packets.map((packet) => this.#damaged(packet)) : packets),
      fatal: (store) => this.diskFailed(store),
    })
    const { world } = this
    this.clients = new Clients(
      {
        random: world.random,
        after: (ms, work) => void world.clock.after(ms, work),
        nowMs: () => world.clock.now(),
        connect: () => {
          this.clientNames.push(`client-${this.clientNames.length + 1}`)
          return this.cluster.client()
        },
        staleReads,
      },
      plan.clients,
    )
  }

  get counts(): Record<string, number> {
    const { elections, commits } = this.consensus
    const { splits, changes } = this.descriptors
    const { checks, merges } = this.states
    return {
      ...this.clients.counts,
      elections,
      commits,
      splits,
      merges,
      changes,
      snapshots: this.#snapshots,
      'damaged chunks': this.#damagedChunks,
      states: checks,
    }
  }

  /** A machine with an empty disk. */
  addStore(): string {
    const name = `s${this.stores.length + this.retired.size + 1}`
    this.stores.push(name)
    this.cluster.add(name)
    return name
  }

  /** A disk is lost with all that was on it; its store never comes back. */
  loseDisk(store: string): void {
    this.cluster.crash(store)
    this.retired.add(store)
    this.stores.splice(this.stores.indexOf(store), 1)
  }

  /** A group counts a replica that a disk has lost. */
  get mourns(): boolean {
    const { latest } = this.descriptors
    const counts = ({ id, replica }: { id: string; replica: number }) =>
      latest.some((range) => range.id === id && range.replicas.some((each) => each.replica === replica))
    this.#forgotten = this.#forgotten.filter(counts)
    return this.#forgotten.length > 0
  }

  /**
   * A store dies, and its disk loses its last writes, though they were synced; it will know, and say so. Where it has nobody
   * to ask what is missing, that disk is of no use.
   */
  damageLog(store: string): void {
    const { cluster } = this
    const ghost = `${store}, loss ${this.#ghosts.size + 1}`
    this.#disks.set(ghost, this.#disks.get(store)!)
    this.#ghosts.add(ghost)
    for (const { id, replicas } of this.descriptors.latest) {
      for (const { store: at, replica } of replicas) if (at === store) this.#forgotten.push({ id, replica })
    }
    this.consensus.lost(store, ghost)
    cluster.crash(store, { tornDurable: 1 + this.world.random.below(TORN_MAX) })
    cluster.loses(store)
    const left = new DiskView(['meta'])
    left.load(cluster.machine(store).disk('db'))
    const served = [...left.ranges.values()].flatMap(({ descriptor }) => descriptor ?? [])
    const isAlone = ({ replicas }: RangeDescriptor) => replicas.every((each) => each.store === store)
    if (served.length > 0 && !served.some(isAlone)) return
    this.loseDisk(store)
    this.addStore()
  }

  /** What keeps the stores from being one and the same; null: nothing. */
  difference(): string | null {
    const down = this.stores.find((store) => !this.cluster.up.includes(store))
    if (down !== undefined) return `${down} is down`
    const health = this.cluster.health()
    if (health.length > 0) return health.join('; ')
    const served = new Map(this.stores.map((store) => [store, this.cluster.store(store).ranges()]))
    for (const descriptor of this.descriptors.latest) {
      const shape = shapeOf(descriptor)
      const seen = new Set<string>()
      for (const { store, role } of descriptor.replicas) {
        if (this.retired.has(store)) return `${shape} has a replica on the lost disk of ${store}`
        const stats = served.get(store)!.find((each) => each.descriptor.id === descriptor.id)
        if (stats === undefined) return `${store} does not serve ${shape}`
        if (shapeOf(stats.descriptor) !== shape) return `${store} has ${shapeOf(stats.descriptor)} for ${shape}`
        const inside = this.consensus.committedIndex(descriptor.id)
        if (this.cluster.engine(store).get('meta', mergeKey(SERVICE, descriptor.id)) !== undefined) {
          return `${shapeOf(descriptor)} takes part in a merge`
        }
        if (stats.index !== inside) return `${store} (${role}) has applied ${stats.index} of ${inside} of ${shape}`
        seen.add(`${stats.index} ${stats.hash}`)
      }
      if (seen.size > 1) return `the replicas of ${shape} differ: ${[...seen].join(', ')}`
    }
    return this.#leftovers() ?? this.#unrung()
  }

  /** Once nothing differs: what is in the engines is what it should be, on all of them. Gives all keys. */
  checkEnd(): Map<string, string> {
    const all = new Map<string, string>()
    for (const { id, service, start, end, replicas } of this.descriptors.latest) {
      const seen = new Map<string, string>()
      for (const { store } of replicas) {
        const engine = this.cluster.engine(store)
        const { digest, keys } = read({
          get: (key) => engine.get(SERVICE, key),
          cursor: () => engine.cursor(SERVICE, { start, end }),
        })
        const memory = (this.cluster.observer(store) as Observer).state
        for (const key of keys.keys()) {
          const value = text(engine.get(SERVICE, bytes(key))!)
          all.set(key, value)
          if (memory.get(key) !== value) throw new Violation(`The observer of ${store} was told another ${key}`)
        }
        seen.set(`${digest} ${this.#records(engine, service, id)}`, store)
      }
      if (seen.size > 1) throw new Violation(`The records of ${id} differ on ${[...seen.values()].join(' and ')}`)
    }
    for (const store of this.stores) this.#checkNothingElse(store)
    return all
  }

  /** Lets the run fail where `check` throws: stores shall not catch it. */
  #guard(check: () => void): void {
    try {
      check()
    } catch (error) {
      this.world.fail(error)
    }
  }

  /** Marks and answers of streams, as one text. */
  #records(engine: SimulatedEngine, service: string, id: string): string {
    const cursor = engine.cursor('meta', {})
    const lines: string[] = []
    while (cursor.next()) {
      const { range, kind } = recordOf(cursor.key, service)
      if (range !== id || (kind !== 's' && kind !== 'w')) continue
      // Equal answers need not have equal bytes: it is the engine of the language that decides how it writes an array.
      const value = kind === 'w' ? JSON.stringify(ANSWERS.decode(cursor.value.slice())) : hex(cursor.value)
      lines.push(`${hex(cursor.key)} ${value}`)
    }
    cursor.close()
    return lines.join('\n')
  }

  /** A store's memory and disk have the keys of its ranges, and no others. */
  #checkNothingElse(store: string): void {
    const own = this.cluster.store(store).ranges()
    const inside = (key: string) =>
      own.some(
        ({ descriptor: { start, end } }) =>
          (start === undefined || key >= text(start)) && (end === undefined || key < text(end)),
      )
    for (const key of (this.cluster.observer(store) as Observer).state.keys()) {
      if (!inside(key)) throw new Violation(`The observer of ${store} was not told that ${key} has gone`)
    }
    const cursor = this.cluster.engine(store).cursor(SERVICE, {})
    while (cursor.next()) {
      if (!inside(text(cursor.key))) throw new Violation(`${store} keeps ${text(cursor.key)}, which is not its own`)
    }
    cursor.close()
  }

  /** Replicas where there should be none. */
  #leftovers(): string | null {
    for (const store of this.stores) {
      for (const [id, { descriptor, newcomer }] of this.#disks.get(store)!.landed.ranges) {
        if (descriptor === null && newcomer === null) continue
        const latest = this.descriptors.latest.find((each) => each.id === id)
        if (latest?.replicas.some((each) => each.store === store) !== true) return `${store} keeps a replica of ${id}`
      }
    }
    return null
  }

  #unrung(): string | null {
    for (const store of this.cluster.up) {
      for (const key of (this.cluster.observer(store) as Observer).state.keys()) {
        if (key.includes('!')) return `${store} has not rung ${key}`
      }
    }
    return null
  }

  #damaged(packet: Packet): Packet {
    if (packet.type !== 'snapshot' || packet.message.type !== 'chunk' || !this.damagesNext) return packet
    this.damagesNext = false
    this.#damagedChunks++
    const wrong = packet.message.bytes.slice()
    wrong[this.world.random.below(wrong.length)]! ^= 1
    return { ...packet, message: { ...packet.message, bytes: wrong } }
  }

  #makeObserver(store: string): Observer {
    const opened = (range: RangeDescriptor, reader: Reader) => {
      const applied = this.#engines.get(store)!.get('meta', appliedKey(SERVICE, range.id))
      const index = applied === undefined ? FIRST_INDEX : decodeApplied(applied).index
      this.states.opened(store, range, index, reader)
    }
    return new Observer({
      opened: (range, reader) => this.#guard(() => opened(range, reader)),
      split: (child, reader) =>
        this.#guard(() => {
          this.states.split(child.id)
          opened(child, reader)
        }),
      merged: (right) => this.#guard(() => this.states.merged(right.id)),
      applied: (range, { index, writes }) => this.#guard(() => this.states.applied(range, index, writes)),
    })
  }

  #starting(store: string, engine: SimulatedEngine): WatchedEngine {
    this.#engines.set(store, engine)
    const disk: Disk = {
      durable: new DiskView(['raft', 'meta']),
      landed: new DiskView(['meta']),
      unsynced: [],
      hardStates: new Map(),
    }
    disk.durable.load(engine)
    disk.landed.load(engine)
    for (const [range, { hardState }] of disk.durable.ranges) {
      if (hardState !== null) disk.hardStates.set(range, hardState)
    }
    this.#disks.set(store, disk)
    this.descriptors.restarted(store)
    const watched = new WatchedEngine(engine, {
      submitted: (batch) => this.#guard(() => this.#submitted(store, disk, batch)),
      landed: (batch) => this.#guard(() => this.#landed(store, disk, batch)),
      freeBytes: () => (this.full.has(store) ? 0 : Number.POSITIVE_INFINITY),
    })
    watchReadys(watched, {
      ready: (range, group, ready, before, after) => {
        for (const { type } of ready.messages) if (type === 'snapshot') this.#snapshots++
        this.#guard(() => this.consensus.ready(store, range, group, ready, before, after))
      },
    })
    return watched
  }

  #submitted(store: string, { hardStates }: Disk, batch: Batch): void {
    for (const { family, write } of batch.writes) {
      if (family !== 'raft') continue
      if (write.type === 'deleteRange') hardStates.delete(rangeOfKey(write.start))
      else if (write.type === 'put' && isState(write.key)) {
        const range = rangeOfKey(write.key)
        const { hardState } = decodeState(write.value)
        const before = hardStates.get(range)
        if (before !== undefined) this.consensus.checkState(store, range, before, hardState)
        hardStates.set(range, hardState)
      }
    }
  }

  #landed(store: string, disk: Disk, batch: Batch): void {
    if (this.#disks.get(store) !== disk) return
    disk.unsynced.push(batch)
    if (batch.sync) for (const each of disk.unsynced.splice(0)) disk.durable.apply(each)
    this.descriptors.landed(store, disk.landed, disk.landed.apply(batch))
  }
}
