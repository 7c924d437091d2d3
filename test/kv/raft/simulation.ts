import type { Random } from '../../../src/base/clock.ts'
import {
  type ConfState,
  entryBytes,
  type Input,
  type MemberChange,
  NO_CONFIG,
  RAFT_LIMITS,
  type RaftLimits,
  type Ready,
  type ReplicaId,
} from '../../../src/kv/raft/index.ts'
import { World } from '../../sim/world.ts'
import { Disk, entry, Host, type SentMessage } from './host.ts'
import { Invariants, Violation } from './invariants.ts'
import { RegisterHistory } from './register.ts'

export interface RaftWorldOptions {
  seed: number
  voters: number
  /** Replicas beside them, which join and leave. */
  spares: number
  lossPercent: number
  duplicatePercent: number
  delayMsMax: number
  /** Mean time between events of each kind, in ms; 0 = never. */
  crashMs: number
  partitionMs: number
  slowDiskMs: number
  /** Of reports of finished writes: they come when others have come. */
  lateReportPercent: number
  pauseMs: number
  /** Of granted votes and accepted appends, as they are sent: their sender dies soon after. */
  lastWordsPercent: number
  /** Of leaders: they die as soon as some of their first messages are out. */
  diesYoungPercent: number
  changeMs: number
  transferMs: number
  suspectMs: number
  requestMs: number
  /** Of requests: the log is made as short as it may be. */
  compactPercent: number
  /** Of snapshots: they come piece by piece into an emptied replica, which may die of it. */
  piecesPercent: number
  /** Of reads of entries: they are not at hand. */
  coldPercent: number
  /** Looks at nothing but what clients see. */
  blind?: boolean
  limits: Partial<RaftLimits>
}

const TICK_MS = 100

/** A group of replicas on a bad day: every message late, lost, doubled, overtaken; disks slow; processes that die. */
export class RaftWorld {
  readonly world: World
  readonly invariants: Invariants
  readonly hosts = new Map<ReplicaId, Host>()
  readonly disks = new Map<ReplicaId, Disk>()
  readonly counts: Record<string, number> = {}
  readonly #options: RaftWorldOptions
  readonly #random: Random
  readonly #slow = new Set<ReplicaId>()
  readonly #writing = new Set<Host>()
  /** What comes to processes that stand still. */
  readonly #paused = new Map<Host, Input[]>()
  readonly #requests = new Map<number, { kind: 'write' | 'read'; floor: number }>()
  /** They are being given a snapshot piece by piece. */
  readonly #filling = new Set<Disk>()
  readonly #history = new RegisterHistory()
  readonly #writes = new Map<string, number>()
  readonly #reads = new Map<Host, { context: number; index: number; floor: number }[]>()
  #context = 0
  /** What a linearizable read that begins now must see at least. */
  #floor = 0
  #calm = false
  readonly #dead = new Set<ReplicaId>()
  #failure: unknown = null

  constructor(options: RaftWorldOptions) {
    const { seed, lossPercent, duplicatePercent, delayMsMax, voters, spares, limits } = options
    this.#options = options
    this.world = new World({ seed, network: { lossPercent, duplicatePercent, delayMsMax } })
    this.#random = this.world.random
    const { inflightBytesMax, appendBytesMax } = { ...RAFT_LIMITS, ...limits }
    const inflightMax = Math.ceil((inflightBytesMax + appendBytesMax) / entryBytes(entry(1, 1, '')))
    this.invariants = new Invariants(this.disks, inflightMax)
    const ids = Array.from({ length: voters + spares }, (_, at) => at + 1)
    const config: ConfState = { ...NO_CONFIG, voters: ids.slice(0, voters) }
    for (const id of ids) {
      const disk = new Disk()
      if (id <= voters) disk.begin(config)
      this.disks.set(id, disk)
      this.world.network.attach(`n${id}`, (_, message) => this.#arrive(id, message as SentMessage))
      this.#start(id)
    }
    this.#every(options.crashMs, () => this.#crash(this.#any()))
    this.#every(options.partitionMs, () => this.#partition())
    this.#every(options.slowDiskMs, () => this.#slowDisk())
    this.#every(options.pauseMs, () => this.#pause())
    this.#every(options.changeMs, () => this.#change())
    this.#every(options.transferMs, () => this.#transfer())
    this.#every(options.suspectMs, () => this.#suspect())
    this.#every(options.requestMs, () => this.#request())
  }

  /** Runs for `ms` of simulated time; throws at the first violation. */
  run(ms: number): void {
    const endMs = this.world.elapsedMs + ms
    while (this.world.elapsedMs < endMs) this.step()
  }

  step(): void {
    this.world.step()
    if (this.#failure !== null) throw this.#failure
  }

  /** As many as may die for good; nobody where the group changes, since what is under way may need everybody. */
  minority(): ReplicaId[] {
    const { voters, changeMs } = this.#options
    if (changeMs > 0) return []
    const ids = Array.from({ length: voters }, (_, at) => at + 1).sort(() => this.#random.float() - 0.5)
    return ids.slice(0, this.#random.below(((voters - 1) >> 1) + 1))
  }

  /** Nothing bad happens from now on, but that `dead` stay dead. */
  calm(dead: readonly ReplicaId[] = []): void {
    for (const id of dead) {
      const host = this.hosts.get(id)
      if (host !== undefined) this.#down(host, this.#random.below(host.queue.length + 1))
      this.#dead.add(id)
    }
    if (!this.#calm) this.counts.reads = this.#history.check('')
    this.#calm = true
    Object.assign(this.world.network.options, { lossPercent: 0, duplicatePercent: 0, delayMsMax: 5 })
    this.world.network.heal()
    this.#slow.clear()
    for (const id of this.disks.keys()) if (!this.hosts.has(id)) this.#start(id)
    this.#filling.clear()
  }

  /** A healed group makes progress, and all its members get to the same state, within `maxMs`. */
  converge(maxMs: number): void {
    const endMs = this.world.elapsedMs + maxMs
    const mark = `calm-${this.#context}`
    let checkMs = 0
    for (;;) {
      this.step()
      if (this.world.elapsedMs < checkMs) continue
      checkMs = this.world.elapsedMs + TICK_MS
      const leader = this.leader()
      if (leader !== null && leader.app.value !== mark) {
        this.#ask(leader, 'write', (context) => ({ type: 'propose', data: Buffer.from(mark), context }))
      }
      if (leader !== null && this.#isConverged(leader, mark)) return
      if (this.world.elapsedMs > endMs) throw new Violation(`No progress within ${maxMs} ms: ${this.describe()}`)
    }
  }

  /** Of the highest term. */
  leader(): Host | null {
    let best: Host | null = null
    for (const host of this.hosts.values()) {
      const { role, term } = host.node.status()
      if (role === 'leader' && (best === null || term > best.node.status().term)) best = host
    }
    return best
  }

  describe(): string {
    return [...this.hosts.values()].map(({ node }) => JSON.stringify(node.status())).join('\n')
  }

  #isConverged(leader: Host, mark: string): boolean {
    const { config, commit } = leader.node.status()
    const members = [...config.voters, ...config.outgoing, ...config.learners]
    return members.every((id) => {
      if (this.#dead.has(id)) return true
      const { app } = this.hosts.get(id)!
      return app.value === mark && app.index === commit
    })
  }

  #start(id: ReplicaId): void {
    if (this.#dead.has(id)) return
    const disk = this.disks.get(id)!
    disk.cold = () => !this.#calm && this.#random.float() * 100 < this.#options.coldPercent
    const host = new Host({
      id,
      disk,
      random: this.#random,
      limits: this.#options.limits,
      send: (message) => this.#send(message),
      observe: (ready, it) => this.#observe(ready, it),
      commits: (upTo, config) => this.invariants.commits(upTo, config),
      wrote: (it) => this.#write(it),
    })
    this.hosts.set(id, host)
    this.#reads.set(host, [])
    this.invariants.started(host)
    this.#tickLater(host)
  }

  /** A host that sleeps is not ticked. */
  #tickLater(host: Host): void {
    this.world.clock.after(TICK_MS * (0.9 + this.#random.float() * 0.2), () => {
      if (!host.alive) return
      if (!host.node.quiescent && !this.#paused.has(host)) this.#step(host, { type: 'tick' })
      else if (host.node.status().applied < host.node.status().commit) this.#perform(host, () => host.drain())
      this.#tickLater(host)
    })
  }

  #step(host: Host, input: Input): void {
    if (!host.alive || this.#failure !== null) return
    const backlog = this.#paused.get(host)
    if (backlog !== undefined) {
      backlog.push(input)
      return
    }
    this.#perform(host, () => host.step(input))
  }

  #perform(host: Host, work: () => void): void {
    try {
      work()
      this.invariants.checkState(host)
      this.invariants.checkBeliefs(host)
      this.#serve(host)
    } catch (error) {
      this.#failure = error
    }
  }

  #observe(ready: Ready, host: Host): void {
    this.invariants.observe(ready, host)
    for (const { context, index, term } of ready.accepted) {
      if (this.#requests.has(context)) this.#writes.set(`${host.id} ${index}/${term}`, context)
    }
    for (const { index, term } of ready.committed) {
      const context = this.#writes.get(`${host.id} ${index}/${term}`)
      if (context === undefined) continue
      this.#count('acknowledged')
      const { floor } = this.#requests.get(context)!
      if (index <= floor && !this.#options.blind) throw new Violation(`Write ${index} comes before ${floor}, which was`)
      this.#history.end(context)
      this.#floor = Math.max(this.#floor, index)
    }
    for (const { context, index } of ready.reads) {
      this.#reads.get(host)!.push({ context, index, floor: this.#requests.get(context)!.floor })
    }
    for (const { code, context } of ready.refused) {
      this.#count(code)
      this.#history.refused(context)
    }
    if (ready.snapshot !== null) this.#count('snapshots')
    if (ready.leadership?.role === 'leader') this.#elected(host)
    for (const { config } of ready.configs) this.#count(config.outgoing.length > 0 ? 'joint' : 'changes')
  }

  #elected(host: Host): void {
    this.#count('elections')
    if (this.#calm || this.#random.float() * 100 >= this.#options.diesYoungPercent) return
    this.world.clock.after(0, () => {
      this.#ask(host, 'write', (context) => ({ type: 'propose', data: Buffer.from(`w${context}`), context }))
    })
    this.#crashSoon(host, 60)
  }

  /** Reads that were granted are answered as soon as the state is new enough; it is checked that it is. */
  #serve(host: Host): void {
    const waiting = this.#reads.get(host)!
    if (waiting.length === 0) return
    const served = waiting.filter(({ index }) => index <= host.app.index)
    for (const { floor, context } of served) {
      this.#history.end(context, host.app.value)
      if (host.app.index < floor && !this.#options.blind)
        throw new Violation(`Stale read: n${host.id} answers at ${host.app.index}, below ${floor}`)
      this.#floor = Math.max(this.#floor, host.app.index)
    }
    if (served.length > 0) {
      this.#reads.set(
        host,
        waiting.filter(({ index }) => index > host.app.index),
      )
    }
  }

  #send(message: SentMessage): void {
    if (message.type === 'timeout-now' || message.type === 'wake') this.#count(message.type)
    if (message.type === 'heartbeat' && message.quiesce) this.#count('sleep')
    this.invariants.checkMessage(message)
    this.#lastWords(message)
    if (message.type === 'snapshot') this.#sendSnapshot(message)
    else this.world.network.send(`n${message.from}`, `n${message.to}`, message)
  }

  /** Snapshots take their time, and the sender is told how it went. */
  #sendSnapshot(message: SentMessage): void {
    const sender = this.hosts.get(message.from)!
    const arrived = this.#calm || this.#random.float() < 0.7
    const report = (whole: boolean) => this.#step(sender, { type: 'snapshot-report', id: message.to, arrived: whole })
    this.world.clock.after(this.#random.float() * 300, () => {
      const host = this.hosts.get(message.to)
      const pieces = !this.#calm && this.#random.float() * 100 < this.#options.piecesPercent
      if (host !== undefined && !this.#paused.has(host) && pieces) return this.#takePieces(host, message, report)
      if (arrived) this.#arrive(message.to, message)
      report(arrived)
    })
  }

  /** The replica is down from the first piece to the last; where the last never comes it begins again with nothing. */
  #takePieces(host: Host, message: SentMessage, report: (whole: boolean) => void): void {
    if (message.type !== 'snapshot') return
    const { snapshot, term, app } = message
    if (!host.node.wants(snapshot, term)) return report(true)
    this.#count('pieces')
    this.#down(host, host.queue.length)
    host.disk.empty(snapshot)
    this.#filling.add(host.disk)
    this.world.clock.after(this.#random.float() * 400, () => {
      const whole = this.#filling.delete(host.disk) && this.#random.below(2) === 0
      if (whole) host.disk.fill(app!)
      else this.#count('emptied')
      if (!this.hosts.has(host.id)) this.#start(host.id)
      report(whole)
    })
  }

  #arrive(id: ReplicaId, message: SentMessage): void {
    const host = this.hosts.get(id)
    if (host !== undefined) this.#step(host, { type: 'message', message })
  }

  #write(host: Host): void {
    if (this.#writing.has(host)) return
    this.#writing.add(host)
    const ms = this.#random.float() * (this.#slow.has(host.id) ? 3_000 : 8)
    this.world.clock.after(ms, () => {
      if (!host.alive) return
      this.#writing.delete(host)
      const together = 1 + this.#random.below(host.queue.length)
      for (let count = 0; count < together; count++) this.#finishWrite(host)
      if (host.queue.length > 0) this.#write(host)
    })
  }

  /** The report may be late, and be overtaken by another's. */
  #finishWrite(host: Host): void {
    const before = host.disk.hardState
    const persisted = host.finishWrite()
    this.#checkDisk(host.id, before)
    if (persisted === null) return
    const late = !this.#calm && this.#random.float() * 100 < this.#options.lateReportPercent
    const lateMs = late ? 800 : 5
    this.world.clock.after(this.#random.float() * lateMs, () => this.#step(host, persisted))
  }

  #checkDisk(id: ReplicaId, before: Disk['hardState']): void {
    try {
      this.invariants.checkDisk(id, before, this.disks.get(id)!.hardState)
    } catch (error) {
      this.#failure ??= error
    }
  }

  /** A promise is best tested by the death of who gave it. */
  #lastWords(message: SentMessage): void {
    const grave = (message.type === 'vote-answer' && message.granted) || message.type === 'vote-request'
    const light = message.type === 'append-answer' && message.accepted
    const percent = this.#calm
      ? 0
      : this.#options.lastWordsPercent / (grave ? 1 : light ? 20 : Number.POSITIVE_INFINITY)
    if (this.#random.float() * 100 >= percent) return
    const host = this.hosts.get(message.from)
    if (host !== undefined) this.#crashSoon(host, 10)
  }

  #crashSoon(host: Host, msMax: number): void {
    this.world.clock.after(this.#random.float() * msMax, () => {
      if (host.alive && !this.#calm) this.#crash(host)
    })
  }

  /** What the others notice when a process, not a machine, has died. */
  #resetConnections(id: ReplicaId): void {
    for (const other of [...this.hosts.values()]) {
      this.world.clock.after(this.#random.float() * 30, () => {
        this.#step(other, { type: 'suspect', id })
        this.#step(other, { type: 'unreachable', id })
      })
    }
  }

  /** The process stands still, and then finds all at once what has come meanwhile, behind a request. */
  #pause(): void {
    const host = this.#random.below(2) === 0 ? this.leader() : this.#any()
    if (host === null || this.#paused.has(host)) return
    this.#count('pauses')
    this.#paused.set(host, [])
    this.world.clock.after(this.#random.float() * 4_000, () => {
      const backlog = this.#paused.get(host)!
      this.#paused.delete(host)
      if (host.alive) this.#ask(host, 'read', (context) => ({ type: 'read', context }))
      for (const input of backlog) this.#step(host, input)
    })
  }

  #crash(host: Host | null): void {
    if (host === null) return
    this.#count('crashes')
    this.#down(host, this.#random.below(host.queue.length + 1))
    if (this.#random.below(2) === 0) this.#resetConnections(host.id)
    this.world.clock.after(this.#random.float() * (this.#random.below(2) === 0 ? 30 : 2_000), () => {
      if (!this.hosts.has(host.id)) this.#start(host.id)
    })
  }

  #down(host: Host, survivors: number): void {
    const before = host.disk.hardState
    host.crash(survivors)
    this.#checkDisk(host.id, before)
    this.hosts.delete(host.id)
    this.#reads.delete(host)
  }

  /** In two halves, one replica alone, or some ways in one direction only. */
  #partition(): void {
    const { network } = this.world
    const names = [...this.disks.keys()].map((id) => `n${id}`)
    const kind = this.#random.below(4)
    const some = names.filter(() => this.#random.below(2) === 0)
    const leader = this.leader()
    if (kind === 0)
      network.partition(
        some,
        names.filter((name) => !some.includes(name)),
      )
    else if (kind === 1 && leader !== null) {
      network.partition(
        [`n${leader.id}`],
        names.filter((name) => name !== `n${leader.id}`),
      )
    } else for (const name of some) network.cut(names[this.#random.below(names.length)]!, name)
    this.world.clock.after(this.#random.float() * 4_000, () => network.heal())
  }

  #slowDisk(): void {
    const host = this.leader() ?? this.#any()
    const victim = this.#random.below(2) === 0 ? this.#any() : host
    if (victim === null) return
    this.#slow.add(victim.id)
    this.world.clock.after(this.#random.float() * 5_000, () => this.#slow.delete(victim.id))
  }

  /** Up to three members at once, most often by way of a learner or not at all. */
  #change(): void {
    const leader = this.leader()
    if (leader === null) return
    const types = ['add-voter', 'add-voter', 'add-learner', 'remove'] as const
    const members = new Map<ReplicaId, MemberChange>()
    for (let count = this.#random.below(4); count >= 0; count--) {
      const id = 1 + this.#random.below(this.disks.size)
      members.set(id, { type: types[this.#random.below(types.length)]!, id })
    }
    const joint = leader.node.status().config.outgoing.length > 0
    const change = {
      members: joint ? [] : [...members.values()],
      leave: this.#random.below(4) === 0 ? ('explicit' as const) : ('auto' as const),
    }
    this.#ask(leader, 'write', (context) => ({ type: 'change', change, data: Buffer.from(`${context}`), context }))
  }

  #transfer(): void {
    const leader = this.leader()
    if (leader === null) return
    const to = 1 + this.#random.below(this.disks.size)
    this.#step(leader, { type: 'transfer', to, context: ++this.#context })
  }

  #suspect(): void {
    const host = this.#any()
    if (host === null) return
    const id = 1 + this.#random.below(this.disks.size)
    const kind = this.#random.below(4)
    if (kind === 0) this.#step(host, { type: 'unreachable', id })
    else if (kind === 1) this.#step(host, { type: 'campaign' })
    else if (kind === 2) this.#step(host, { type: 'lease', held: this.#random.below(4) === 0 })
    else this.#step(host, { type: 'suspect', id: host.node.status().leader ?? id })
  }

  /** Of anybody who believes to lead, or of anybody at all. A burst now and then, and a pause. */
  #request(): void {
    const believers = [...this.hosts.values()].filter(({ node }) => node.status().role === 'leader')
    const host = believers[this.#random.below(believers.length + 1)] ?? this.#any()
    if (host === null) return
    if (this.#random.float() * 100 < this.#options.compactPercent)
      host.compactTo = host.app.index - this.#random.below(10)
    if (this.#random.below(3) === 0) this.#ask(host, 'read', (context) => ({ type: 'read', context }))
    for (let count = this.#random.below(4); count > 0; count--) {
      this.#ask(host, 'write', (context) => ({ type: 'propose', data: Buffer.from(`w${context}`), context }))
    }
  }

  #ask(host: Host, kind: 'write' | 'read', input: (context: number) => Input): void {
    const context = ++this.#context
    this.#requests.set(context, { kind, floor: this.#floor })
    const request = input(context)
    if (!this.#calm && request.type === 'propose') this.#history.begin(context, 'write', `w${context}`)
    if (!this.#calm && request.type === 'read') this.#history.begin(context, 'read')
    this.#step(host, request)
  }

  #any(): Host | null {
    const all = [...this.hosts.values()]
    return all[this.#random.below(Math.max(1, all.length))] ?? null
  }

  #every(meanMs: number, work: () => void): void {
    if (meanMs === 0) return
    this.world.clock.after(this.#random.float() * meanMs * 2, () => {
      if (this.#calm) return
      work()
      this.#every(meanMs, work)
    })
  }

  #count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1
  }
}

const STORM: Omit<RaftWorldOptions, 'seed' | 'limits'> = {
  voters: 5,
  spares: 2,
  lossPercent: 5,
  duplicatePercent: 5,
  delayMsMax: 50,
  crashMs: 1_500,
  partitionMs: 2_500,
  slowDiskMs: 4_000,
  lateReportPercent: 10,
  pauseMs: 3_000,
  lastWordsPercent: 3,
  diesYoungPercent: 5,
  changeMs: 1_200,
  transferMs: 3_000,
  suspectMs: 700,
  requestMs: 60,
  compactPercent: 3,
  piecesPercent: 50,
  coldPercent: 5,
}

/** Days on which one thing goes wrong all the time; every tenth seed has one of each. */
const WEATHERS: Record<number, Partial<RaftWorldOptions>> = {
  // Leaders die before all have their entries: the paper's figure 8.
  1: {
    lossPercent: 10,
    delayMsMax: 40,
    diesYoungPercent: 80,
    crashMs: 0,
    pauseMs: 0,
    partitionMs: 0,
    slowDiskMs: 0,
    changeMs: 0,
    spares: 0,
    lastWordsPercent: 0,
  },
  // Votes and answers are last words.
  2: { lastWordsPercent: 30, changeMs: 0, spares: 0, crashMs: 0 },
  // Members come and go.
  3: { changeMs: 150, crashMs: 3_000, voters: 3, spares: 3 },
  // Disks hang, and what they report is old.
  4: { coldPercent: 50, slowDiskMs: 400, lateReportPercent: 60, voters: 3, spares: 0, suspectMs: 200 },
  // Nothing happens for long: the group sleeps.
  5: { requestMs: 2_500, changeMs: 8_000, partitionMs: 6_000, crashMs: 5_000, suspectMs: 4_000, pauseMs: 0 },
  // Nothing bad but a bad network.
  6: {
    crashMs: 0,
    pauseMs: 0,
    slowDiskMs: 0,
    lastWordsPercent: 0,
    diesYoungPercent: 0,
    lossPercent: 20,
    delayMsMax: 300,
  },
  // Logs are short, and snapshots come piece by piece to those who were away.
  7: {
    compactPercent: 60,
    piecesPercent: 90,
    partitionMs: 400,
    lossPercent: 15,
    lastWordsPercent: 20,
    changeMs: 0,
    spares: 0,
  },
}

/** A bad day, whose kind follows from the seed: 3, 5 or 7 voters, small bounds. */
export function optionsOf(seed: number): RaftWorldOptions {
  const weather = WEATHERS[seed % 10] ?? {}
  return {
    seed,
    ...STORM,
    voters: [3, 5, 7][seed % 3]!,
    ...weather,
    limits: {
      electionTicks: 5,
      heartbeatTicks: 1 + (seed % 2),
      suspectTicksMax: 3,
      quiesceTicks: 6 + (seed % 8),
      appendBytesMax: seed % 2 === 1 ? 1 : 150,
      inflightCountMax: 1 + (seed % 6),
      inflightBytesMax: 400,
      uncommittedBytesMax: 2_000,
      committedBytesMax: 300,
      readsMax: 20,
    },
  }
}
