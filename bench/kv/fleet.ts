import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { RangeStats } from '../../src/kv/store/figures.ts'
import { rssMib } from '../proc.ts'
import { Caller } from './calls.ts'
import { Forwarder } from './forwarder.ts'
import type { ProcessHandlers } from './process.ts'

export interface FleetOptions {
  /** The compiled `process.js`. */
  program: string
  ranges: number
  /** Stores that found the ranges; all are voters. */
  stores: number
  /** Of node, for each store. */
  nodeOptions?: readonly string[]
  /** What a store says to another goes through forwarders, which can go silent. */
  forwarded?: boolean
  /** Parent of the folders. Default the system's temporary folder. */
  folder?: string
}

/** As the broker itself is started. */
const NODE_OPTIONS = ['--max-semi-space-size=32']
const POLL_MS = 20
const WAIT_MS_MAX = 60_000

/** One process of the fleet; a store keeps its folder from one life to the next. */
export class Member {
  readonly name: string
  readonly folder: string | null
  up = false
  address = ''
  readonly #program: string
  readonly #nodeOptions: readonly string[]
  #lives = 0
  #child: ChildProcess | null = null
  #caller: Caller<ProcessHandlers> | null = null
  #closed: Promise<unknown> = Promise.resolve()

  constructor(name: string, folder: string | null, program: string, nodeOptions: readonly string[]) {
    this.name = name
    this.folder = folder
    this.#program = program
    this.#nodeOptions = nodeOptions
  }

  get pid(): number {
    return this.#child!.pid!
  }

  get calls(): Caller<ProcessHandlers> {
    return this.#caller!
  }

  async start(): Promise<void> {
    const args = [this.name, String(++this.#lives), ...(this.folder === null ? [] : [this.folder])]
    const child = fork(this.#program, args, { execArgv: [...this.#nodeOptions], serialization: 'advanced' })
    this.#child = child
    this.#closed = once(child, 'exit')
    this.#caller = new Caller(child)
    this.up = true
    this.address = await this.#caller.call('address', undefined as never)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child!.kill(signal)
  }

  async kill(): Promise<void> {
    if (!this.up) return
    this.up = false
    this.signal('SIGKILL')
    await this.#closed
  }

  async stop(): Promise<void> {
    if (!this.up) return
    this.up = false
    await this.calls.call('stop', undefined as never).catch(() => {})
    await this.#closed
  }
}

/** Store processes on this machine, and one client of their ranges that outlives them. */
export class Fleet {
  readonly stores: Member[] = []
  readonly client: Member
  readonly #options: FleetOptions
  readonly #folder: string
  readonly #forwarders: { from: Member; to: Member; forwarder: Forwarder }[] = []

  private constructor(options: FleetOptions) {
    this.#options = options
    this.#folder = mkdtempSync(join(options.folder ?? tmpdir(), 'flockmq-fleet-'))
    for (let i = 1; i <= options.stores; i++) this.#add(`s${i}`)
    this.client = new Member('client', null, options.program, NODE_OPTIONS)
  }

  /** Starts all; every range has a leader afterwards. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const fleet = new Fleet(options)
    try {
      await Promise.all([...fleet.stores, fleet.client].map((member) => member.start()))
      await fleet.#introduce()
      await Promise.all([...fleet.stores, fleet.client].map((member) => fleet.#open(member)))
      await fleet.led()
      return fleet
    } catch (error) {
      await fleet.end()
      throw error
    }
  }

  /** A store that founds nothing: for ranges that come to it. */
  async grow(name: string): Promise<Member> {
    const member = this.#add(name)
    await this.restart(member)
    return member
  }

  /** A process begins again on its folder. */
  async restart(member: Member): Promise<void> {
    await member.start()
    await this.#introduce()
    await this.#open(member)
  }

  /** What each store says of its replicas. */
  async ranges(): Promise<Map<Member, RangeStats[]>> {
    const up = this.stores.filter((member) => member.up)
    const lists = await Promise.all(up.map((member) => member.calls.call('ranges', undefined as never)))
    return new Map(up.map((member, i) => [member, lists[i]!]))
  }

  /** Who leads most. */
  async busiest(): Promise<Member> {
    let best: Member | null = null
    let most = -1
    for (const [member, ranges] of await this.ranges()) {
      const leads = ranges.filter((range) => range.leads).length
      if (leads > most) {
        most = leads
        best = member
      }
    }
    return best!
  }

  async led(): Promise<void> {
    await this.#until('every range is led', async () => {
      const all = [...(await this.ranges()).values()].flat()
      const ids = new Set(all.map(({ descriptor }) => descriptor.id))
      return [...ids].every((id) => all.some((range) => range.leads && range.descriptor.id === id))
    })
    const all = [...(await this.ranges()).values()].flat()
    const descriptors = all.filter((range) => range.leads).map(({ descriptor }) => descriptor)
    await this.client.calls.call('landscape', descriptors)
  }

  /** All replicas of a range that are up have applied the same, and hold the same. */
  async agree(): Promise<void> {
    await this.#until('all replicas agree', async () => {
      const states = new Map<string, Set<string>>()
      for (const [, ranges] of await this.ranges()) {
        for (const { descriptor, index, hash } of ranges) {
          const known = states.get(descriptor.id) ?? new Set()
          states.set(descriptor.id, known.add(`${index} ${hash}`))
        }
      }
      return [...states.values()].every((known) => known.size === 1)
    })
  }

  /** Nothing passes between this store and the others any more, and no connection breaks; until {@link heal}. */
  cut(member: Member): void {
    for (const { from, to, forwarder } of this.#forwarders) {
      if (from === member || to === member) forwarder.silent = true
    }
  }

  heal(): void {
    for (const { forwarder } of this.#forwarders) forwarder.silent = false
  }

  /** Of all stores together. */
  async figures(): Promise<{ cpuMicros: number; syncs: number; batches: number }> {
    const up = this.stores.filter((member) => member.up)
    const all = await Promise.all(up.map((member) => member.calls.call('figures', undefined as never)))
    const sum = { cpuMicros: 0, syncs: 0, batches: 0 }
    for (const each of all) {
      sum.cpuMicros += each.cpuMicros
      sum.syncs += each.syncs
      sum.batches += each.batches
    }
    return sum
  }

  rssMib(): number[] {
    return this.stores.map((member) => (member.up ? (rssMib(member.pid) ?? 0) : 0))
  }

  /** `stop`: as by an operator, which writes profiles; else they are killed. */
  async end(how: 'kill' | 'stop' = 'kill'): Promise<void> {
    for (const member of [this.client, ...this.stores]) if (how === 'stop') await member.stop()
    await Promise.all([this.client, ...this.stores].map((member) => member.kill()))
    for (const { forwarder } of this.#forwarders) forwarder.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #add(name: string): Member {
    const { program, nodeOptions = [] } = this.#options
    const member = new Member(name, join(this.#folder, name), program, [...NODE_OPTIONS, ...nodeOptions])
    this.stores.push(member)
    return member
  }

  async #introduce(): Promise<void> {
    const up = this.stores.filter((member) => member.up)
    for (const member of [...up, this.client]) {
      const addresses: Record<string, string> = {}
      for (const other of up) if (other !== member) addresses[other.name] = await this.#addressFor(member, other)
      await member.calls.call('peers', addresses)
    }
  }

  async #addressFor(from: Member, to: Member): Promise<string> {
    if (this.#options.forwarded !== true) return to.address
    let found = this.#forwarders.find((each) => each.from === from && each.to === to)?.forwarder
    if (found === undefined) {
      found = await Forwarder.open()
      this.#forwarders.push({ from, to, forwarder: found })
    }
    found.target = to.address
    return found.address
  }

  async #open(member: Member): Promise<void> {
    const { ranges, stores } = this.#options
    const founders = Array.from({ length: stores }, (_, i) => `s${i + 1}`)
    const cuts = Array.from({ length: ranges - 1 }, (_, i) => cutAt(((i + 1) * 65_536) / ranges))
    const founds = founders.includes(member.name)
    await member.calls.call('open', { cuts, stores: founds ? founders : [] })
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const endMs = Date.now() + WAIT_MS_MAX
    while (!(await condition())) {
      if (Date.now() > endMs) throw new Error(`Waited for nothing: ${what}`)
      await delay(POLL_MS)
    }
  }
}

/** The first two bytes of a key, without a zero at the end. */
function cutAt(place: number): number[] {
  const at = Math.round(place)
  return at % 256 === 0 ? [at >> 8] : [at >> 8, at & 255]
}
