import type { HostId } from '../../../src/base/ids.ts'
import {
  type Input,
  LAN,
  OverlayCore,
  type OverlayEvent,
  type OverlayOptions,
  type Write,
} from '../../../src/cluster/overlay/core/index.ts'
import { hostInput } from '../../../src/cluster/overlay/host-input.ts'
import type { UnderlayEvent } from '../../../src/cluster/underlay/core/index.ts'
import { SimCluster, type SimClusterOptions, type SimHost } from '../underlay/sim-cluster.ts'

export interface SimOverlayOptions extends SimClusterOptions {
  overlay?: Partial<OverlayOptions>
}

/** The overlay on the underlay on the one simulated world: the code that ships, in both layers. */
export class SimOverlay {
  readonly cluster: SimCluster
  readonly hosts: OverlayHost[]
  readonly options: SimOverlayOptions

  constructor(options: SimOverlayOptions) {
    this.options = options
    this.cluster = new SimCluster({ ...options, start: false })
    this.hosts = this.cluster.hosts.map((host) => new OverlayHost(this, host))
    if (options.start) for (const host of this.hosts) host.start()
  }

  get up(): OverlayHost[] {
    return this.hosts.filter((host) => host.up)
  }

  /** Everybody's view of all entries is what their owners wrote, and all hints are equal. */
  get settled(): boolean {
    return this.problem === null
  }

  /** The first difference. */
  get problem(): string | null {
    const [first] = this.up
    const truth = this.up.flatMap((host) => host.truthLines).sort()
    for (const host of this.up) {
      const { id } = host
      if (!host.host.seesAll) return `${id} does not see everybody`
      const problem =
        difference(`${id} beside the truth`, host.entryLines, truth) ??
        difference(`hints of ${id} beside ${first!.id}`, host.hintLines, first!.hintLines) ??
        difference(`${id} told beside what it has`, host.mirrorLines, [...host.entryLines, ...host.hintLines].sort()) ??
        host.misfit
      if (problem !== null) return problem
    }
    return null
  }

  /** Whether all that are up have the hint. */
  allHint(key: string, value: string | null): boolean {
    return this.up.every((host) => host.hint(key) === value)
  }

  sum(counter: (host: OverlayHost) => number): number {
    return this.hosts.reduce((sum, host) => sum + counter(host), 0)
  }
}

export class OverlayHost {
  readonly host: SimHost
  readonly overlay: SimOverlay
  core!: OverlayCore
  /** What this life wrote. */
  readonly truth = new Map<string, string>()
  /** What the events of this life tell. */
  readonly mirror = new Map<string, string>()
  /** The first event that did not fit what was told before. */
  misfit: string | null = null
  /** Its wall clock is off by so much. */
  clockErrorMs = 0
  #life = 0
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}

  constructor(overlay: SimOverlay, host: SimHost) {
    this.overlay = overlay
    this.host = host
  }

  get id(): HostId {
    return this.host.id
  }

  get up(): boolean {
    return this.host.up
  }

  start(): void {
    const { world } = this.overlay.cluster
    const life = ++this.#life
    this.truth.clear()
    this.mirror.clear()
    this.host.heard = () => {}
    this.host.start()
    this.core = new OverlayCore(
      {
        options: { ...LAN, ...this.overlay.options.overlay },
        random: world.random,
        host: this.host.id,
        life: this.host.underlay.self.life,
      },
      this.#now(),
    )
    for (const { id, life: other, state } of this.host.underlay.members()) {
      if (state === 'alive' || state === 'suspect') this.step({ type: 'host-up', host: id, life: other })
    }
    this.host.heard = (event) => {
      world.defer(() => {
        if (life === this.#life && this.up) this.#heard(event)
      })
    }
    this.#perform()
  }

  crash(): void {
    this.#life++
    this.#cancelWake()
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    this.host.crash()
  }

  write(write: Write): void {
    if (write.type === 'join') this.truth.set(`a ${write.agent} ${this.id}`, text(write.metadata))
    else if (write.type === 'leave') this.truth.delete(`a ${write.agent} ${this.id}`)
    else if (write.type === 'set') this.truth.set(`k ${write.key} ${this.id}`, text(write.value))
    else if (write.type === 'delete') this.truth.delete(`k ${write.key} ${this.id}`)
    this.step(write)
  }

  join(agent: string, metadata: string): void {
    this.write({ type: 'join', agent, metadata: bytes(metadata) })
  }

  set(key: string, value: string): void {
    this.write({ type: 'set', key, value: bytes(value) })
  }

  setHint(key: string, value: string, ttlMs = 3_600_000): void {
    this.write({ type: 'set-hint', key, value: bytes(value), ttlMs })
  }

  hint(key: string): string | null {
    const value = this.core.hint(key)
    return value === null ? null : text(value)
  }

  step(input: Input): void {
    this.core.step(input, this.#now())
    this.#perform()
  }

  get truthLines(): string[] {
    return lines(this.truth)
  }

  get entryLines(): string[] {
    return lines(this.#entries())
  }

  get hintLines(): string[] {
    return lines(new Map(this.core.hints('').map(({ key, value }) => [`h ${key}`, text(value)])))
  }

  get mirrorLines(): string[] {
    return lines(this.mirror)
  }

  /** Whether it has anything of that host. */
  knows(id: HostId): boolean {
    return [...this.#entries().keys()].some((key) => key.endsWith(` ${id}`))
  }

  #entries(): Map<string, string> {
    const entries = new Map<string, string>()
    for (const { host, key, value } of this.core.keys('')) entries.set(`k ${key} ${host}`, text(value))
    for (const agent of AGENTS) {
      for (const { host, metadata } of this.core.members(agent)) entries.set(`a ${agent} ${host}`, text(metadata))
    }
    return entries
  }

  #heard(event: UnderlayEvent): void {
    if (event.type === 'payload') this.step({ type: 'payload', from: event.from, payload: event.payload })
    else {
      const input = hostInput(event)
      if (input !== null) this.step(input)
    }
  }

  #perform(): void {
    const { payloads, events } = this.core.ready()
    for (const event of events) this.#mirror(event)
    for (const { to, bytes: payload } of payloads) this.host.step({ type: 'send', to, payload })
    this.#plan()
  }

  /** An event that does not fit what was told before is a mistake. */
  #mirror(event: OverlayEvent): void {
    const key = mirrorKey(event)
    const known = this.mirror.has(key)
    const fits =
      event.type === 'member-joined' ? !known : event.type === 'key-set' || event.type === 'hint-set' ? true : known
    if (!fits) this.misfit ??= `${event.type} of ${key} does not fit`
    switch (event.type) {
      case 'member-joined':
      case 'member-changed':
        this.mirror.set(key, text(event.metadata))
        return
      case 'key-set':
      case 'hint-set':
        this.mirror.set(key, text(event.value))
        return
      default:
        this.mirror.delete(key)
    }
  }

  #plan(): void {
    const deadline = this.core.deadlineMs()
    if (deadline === this.#wakeAtMs) return
    this.#cancelWake()
    this.#wakeAtMs = deadline
    if (deadline === Number.POSITIVE_INFINITY) return
    const { cluster } = this.overlay
    this.#cancelWake = cluster.world.clock.after(Math.max(0, deadline - cluster.now), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.step({ type: 'tick' })
    })
  }

  #now(): { monotonicMs: number; wallMs: number } {
    const { world } = this.overlay.cluster
    return { monotonicMs: this.overlay.cluster.now, wallMs: world.clock.now() + this.clockErrorMs }
  }
}

/** The agents of the simulations. */
export const AGENTS = ['mqtt', 'dist', 'inbox']

function mirrorKey(event: OverlayEvent): string {
  if (event.type === 'hint-set' || event.type === 'hint-deleted') return `h ${event.key}`
  if (event.type === 'key-set' || event.type === 'key-deleted') return `k ${event.key} ${event.host}`
  return `a ${event.agent} ${event.host}`
}

function lines(map: ReadonlyMap<string, string>): string[] {
  return [...map].map(([key, value]) => `${key}=${value.slice(0, 40)}`).sort()
}

/** What one has and the other has not, as text; null where they are equal. Both are sorted. */
function difference(what: string, a: readonly string[], b: readonly string[]): string | null {
  if (a.join('\n') === b.join('\n')) return null
  const more = a.filter((line) => !b.includes(line))
  const less = b.filter((line) => !a.includes(line))
  return `${what}: more ${more.join(', ')}; less ${less.join(', ')}`
}

export function bytes(value: string): Uint8Array {
  return new Uint8Array(Buffer.from(value))
}

export function text(value: Uint8Array): string {
  return Buffer.from(value).toString()
}
