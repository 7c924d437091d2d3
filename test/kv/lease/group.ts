import type { Random } from '../../../src/base/clock.ts'
import { NO_CONFIG, type Ready, type ReplicaId } from '../../../src/kv/raft/index.ts'
import { World } from '../../sim/world.ts'
import { Disk, Host, type SentMessage, textOf } from '../raft/host.ts'

export interface GroupOptions {
  seed: number
  voters: number
  learners: number
  /** Processes beside the replicas, which talk to them. */
  clients: number
  /** Clocks run up to so much faster or slower than time, in percent. */
  driftPercent: number
  lossPercent: number
  /** Mean time between events of each kind, in ms; 0 = never. */
  crashMs: number
  partitionMs: number
  pauseMs: number
  transferMs: number
  /** How long such an event lasts at most, in ms. */
  lastsMs: number
}

/** A process: a replica with its Raft node, or a client without. */
export interface Member {
  id: ReplicaId
  name: string
  host: Host | null
  /** Counts its starts. */
  incarnation: number
  paused: boolean
  /** The Raft node leads, and has confirmed so in this term. */
  leads: boolean
  rate: number
  offsetMs: number
}

/** What runs on a member beside Raft. */
export interface Duties {
  started(member: Member): void
  /** It became leader, or ceased to be. */
  led(member: Member, leads: boolean): void
  /** A majority has acknowledged its leadership, by a heartbeat that was sent at `sentMs` of its clock. */
  confirmed(member: Member, sentMs: number): void
  committed(member: Member, index: number, text: string): void
  heard(member: Member, from: string, message: unknown): void
  /** Its machine slept, and its clock with it; it has noticed. */
  slept(member: Member): void
  /** It stood still, and goes on. */
  resumed(member: Member): void
  /** Every 20 ms or so. */
  woke(member: Member): void
}

/**
 * A real Raft group under bad weather, on clocks that disagree: messages lost and late, one- and two-way partitions,
 * processes that die or stand still. Its log is kept as the truth of what was committed.
 */
export class Group {
  readonly world: World
  readonly random: Random
  readonly members = new Map<ReplicaId, Member>()
  /** Commands by index. */
  readonly log: string[] = []
  readonly #options: GroupOptions
  readonly #duties: Duties
  readonly #disks = new Map<ReplicaId, Disk>()
  readonly #inbox = new Map<Member, { from: string; message: unknown }[]>()
  readonly #reads = new Map<number, number>()
  #context = 0
  #calm = false

  constructor(options: GroupOptions, duties: Duties) {
    this.#options = options
    this.#duties = duties
    const { seed, lossPercent, voters, learners, clients, driftPercent } = options
    this.world = new World({ seed, network: { lossPercent, duplicatePercent: lossPercent / 2, delayMsMax: 40 } })
    this.random = this.world.random
    const ids = Array.from({ length: voters + learners + clients }, (_, at) => at + 1)
    const config = { ...NO_CONFIG, voters: ids.slice(0, voters), learners: ids.slice(voters, voters + learners) }
    for (const id of ids) {
      // The extremes are what matters.
      const rate = 1 + ((this.random.below(3) - 1) * driftPercent) / 100
      const offsetMs = this.random.float() * 1e6
      const member = { id, name: `n${id}`, host: null, incarnation: 0, paused: false, leads: false, rate, offsetMs }
      this.members.set(id, member)
      if (id <= voters + learners) {
        const disk = new Disk()
        disk.begin(config)
        this.#disks.set(id, disk)
      }
      this.world.network.attach(`n${id}`, (from, message) => this.#arrive(member, from, message))
      this.#start(member)
      this.#wakeLater(member)
    }
    this.#every(options.crashMs, () => this.#crash())
    this.#every(options.partitionMs, () => this.#partition())
    this.#every(options.pauseMs, () => this.#pause())
    this.#every(options.transferMs, () => this.#transfer())
  }

  /** The member's own monotonic clock. */
  clock(member: Member): number {
    return member.offsetMs + member.rate * this.world.elapsedMs
  }

  run(ms: number): void {
    const endMs = this.world.elapsedMs + ms
    while (this.world.elapsedMs < endMs) this.world.step()
  }

  calm(): void {
    this.#calm = true
    Object.assign(this.world.network.options, { lossPercent: 0, duplicatePercent: 0, delayMsMax: 5 })
    this.world.network.heal()
  }

  send(from: Member, to: string, message: unknown): void {
    this.world.network.send(from.name, to, message)
  }

  /** Asks this replica to append; true if it took it. Where it ends is seen in `committed`. */
  propose(member: Member, text: string): { index: number; term: number } | null {
    const { host } = member
    if (host === null || !host.alive) return null
    const context = ++this.#context
    let place: { index: number; term: number } | null = null
    this.#accepted = (taken) => {
      if (taken.context === context) place = taken
    }
    host.step({ type: 'propose', data: Buffer.from(text), context })
    this.#flush(member)
    return place
  }

  /** Who leads by what this member knows. */
  leaderOf(member: Member): string | null {
    const leader = member.host?.node.status().leader ?? null
    return leader === null ? null : `n${leader}`
  }

  any(): Member {
    return [...this.members.values()][this.random.below(this.members.size)]!
  }

  #accepted: (taken: { context: number; index: number; term: number }) => void = () => {}

  #start(member: Member): void {
    member.incarnation++
    member.leads = false
    const disk = this.#disks.get(member.id)
    if (disk !== undefined) {
      member.host = new Host({
        id: member.id,
        disk,
        random: this.random,
        limits: {},
        send: (message) => this.world.network.send(member.name, `n${message.to}`, message),
        observe: (ready) => this.#observe(member, ready),
        wrote: () => {},
      })
    }
    this.#duties.started(member)
  }

  #observe(member: Member, ready: Ready): void {
    for (const taken of ready.accepted) this.#accepted(taken)
    if (ready.leadership !== null) {
      const leads = ready.leadership.role === 'leader'
      if (leads !== member.leads) {
        member.leads = leads
        this.#duties.led(member, leads)
      }
    }
    for (const entry of ready.committed) {
      this.log[entry.index] ??= textOf(entry)
      this.#duties.committed(member, entry.index, textOf(entry))
    }
    for (const { context } of ready.reads) {
      if (member.leads) this.#duties.confirmed(member, this.#reads.get(context)!)
    }
  }

  #arrive(member: Member, from: string, message: unknown): void {
    if (member.host?.alive === false) return
    if (member.paused) this.#inbox.get(member)!.push({ from, message })
    else this.#hear(member, from, message)
  }

  #hear(member: Member, from: string, message: unknown): void {
    if (typeof message === 'object' && message !== null && 'term' in message) {
      member.host?.step({ type: 'message', message: message as SentMessage })
      this.#flush(member)
    } else this.#duties.heard(member, from, message)
  }

  /** Disks are fast here: what was written is there. */
  #flush(member: Member): void {
    const host = member.host!
    while (host.queue.length > 0) {
      const persisted = host.finishWrite()
      if (persisted !== null) host.step(persisted)
    }
  }

  #wakeLater(member: Member): void {
    let wakes = 0
    const wake = () => {
      this.world.clock.after(20 / member.rate, wake)
      if (member.paused || member.host?.alive === false) return
      if (++wakes % 5 === 0 && member.host !== null) {
        member.host.step({ type: 'tick' })
        this.#flush(member)
        if (member.leads) this.#confirm(member)
      }
      this.#duties.woke(member)
    }
    this.world.clock.after(this.random.float() * 20, wake)
  }

  /** A read's round of heartbeats begins after it was asked for. */
  #confirm(member: Member): void {
    const context = ++this.#context
    this.#reads.set(context, this.clock(member))
    member.host!.step({ type: 'read', context })
    this.#flush(member)
  }

  #every(meanMs: number, work: () => void): void {
    if (meanMs === 0) return
    this.world.clock.after(this.random.float() * meanMs * 2, () => {
      if (this.#calm) return
      work()
      this.#every(meanMs, work)
    })
  }

  #crash(): void {
    const member = this.any()
    if (member.host?.alive === false || member.paused) return
    if (member.host !== null) member.host.crash(member.host.queue.length)
    if (member.leads) this.#duties.led(member, false)
    this.world.clock.after(this.random.float() * 4_000, () => this.#start(member))
  }

  #partition(): void {
    const names = [...this.members.values()].map(({ name }) => name)
    const left = names.filter(() => this.random.below(2) === 0)
    const right = names.filter((name) => !left.includes(name))
    if (this.random.below(3) > 0) this.world.network.partition(left, right)
    else for (const from of left) for (const to of right) this.world.network.cut(from, to)
    this.world.clock.after(this.random.float() * this.#options.lastsMs, () => this.world.network.heal())
  }

  /** A process stands still, as in a long collection of garbage; or its machine sleeps, and its clock with it. */
  #pause(): void {
    const leader = [...this.members.values()].find(({ leads }) => leads)
    const member = this.random.below(2) === 0 && leader !== undefined ? leader : this.any()
    if (member.paused || member.host?.alive === false) return
    member.paused = true
    this.#inbox.set(member, [])
    const asleep = this.random.below(3) === 0
    const sinceMs = this.world.elapsedMs
    this.world.clock.after(this.random.float() * this.#options.lastsMs, () => {
      member.paused = false
      if (asleep) {
        member.offsetMs -= member.rate * (this.world.elapsedMs - sinceMs)
        this.#duties.slept(member)
      }
      this.#duties.resumed(member)
      for (const { from, message } of this.#inbox.get(member)!) this.#hear(member, from, message)
      this.#inbox.delete(member)
    })
  }

  #transfer(): void {
    const leader = [...this.members.values()].find(({ leads, paused, host }) => leads && !paused && host?.alive)
    const to = 1 + this.random.below(this.#options.voters)
    if (leader === undefined || to === leader.id) return
    leader.host!.step({ type: 'transfer', to, context: ++this.#context })
    this.#flush(leader)
  }
}
