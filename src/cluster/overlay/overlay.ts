import type { Clock, Random } from '../../base/clock.ts'
import { BrokerError, type ErrorCode } from '../../base/errors.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { Metadata, UnderlayPort } from '../underlay/index.ts'
import { AgentGroup } from './agent-group.ts'
import type { Agent, HintEvent, Hints, KeyEvent, Keys } from './contract.ts'
import {
  type Input,
  LAN,
  OverlayCore,
  type OverlayEvent,
  type OverlayOptions,
  type Refusal,
  type Write,
} from './core/index.ts'
import { hostInput } from './host-input.ts'
import { decodeMetadata } from './metadata.ts'
import { collectOverlay } from './metrics.ts'
import { PrefixWatchers } from './watchers.ts'

export interface OverlaySetup {
  /** It has started, and nobody else receives its payloads. */
  underlay: UnderlayPort
  clock: Clock
  random: Random
  /** For tests; default: LAN. */
  options?: Partial<OverlayOptions>
}

const REFUSALS: Readonly<Record<Refusal, [ErrorCode, string]>> = {
  key: ['INVALID_ARGUMENT', 'names have 1 to 256 bytes of well-formed text'],
  value: ['INVALID_ARGUMENT', 'values have at most 16 KiB, those of hints 1 KiB'],
  ttl: ['INVALID_ARGUMENT', 'a hint lives for 1 ms to 1 h'],
  full: ['QUOTA_EXCEEDED', 'this host says 1 MiB and 8,192 keys at most; delete some'],
}

/**
 * Agents, keys and hints of one host, on its underlay: drives the core, and decides nothing.
 *
 * What is written here is seen here at once, and by the others a little later. Watchers are told in the order in which
 * things happened, also where a watcher lets more happen.
 */
export class Overlay implements MetricSource {
  readonly keys: Keys
  readonly hints: Hints
  readonly #underlay: UnderlayPort
  readonly #clock: Clock
  readonly #core: OverlayCore
  readonly #agents = new Map<string, AgentGroup>()
  readonly #keyWatchers = new PrefixWatchers<KeyEvent>()
  readonly #hintWatchers = new PrefixWatchers<HintEvent>()
  readonly #unwatch: () => void
  #events: OverlayEvent[] = []
  #telling = false
  #metadataMalformed = 0
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}
  #stopped = false

  constructor(setup: OverlaySetup) {
    const { underlay, clock, random } = setup
    this.#underlay = underlay
    this.#clock = clock
    const { id: host, life } = underlay.self
    this.#core = new OverlayCore({ options: { ...LAN, ...setup.options }, random, host, life }, this.#now())
    this.keys = {
      set: (key, value) => this.#write({ type: 'set', key, value: value.slice() }),
      delete: (key) => this.#write({ type: 'delete', key }),
      get: (owner, key) => this.#core.get(owner, key),
      entries: (prefix) => this.#core.keys(prefix),
      watch: (prefix, watcher) => this.#keyWatchers.add(prefix, watcher),
    }
    this.hints = {
      set: (key, value, ttlMs) => this.#write({ type: 'set-hint', key, value: value.slice(), ttlMs }),
      delete: (key) => this.#write({ type: 'delete-hint', key }),
      get: (key) => this.#core.hint(key),
      entries: (prefix) => this.#core.hints(prefix),
      watch: (prefix, watcher) => this.#hintWatchers.add(prefix, watcher),
    }
    for (const { id, life: other, state } of underlay.members()) {
      if (state === 'alive' || state === 'suspect') this.#step({ type: 'host-up', host: id, life: other })
    }
    this.#unwatch = underlay.on((notice) => {
      const input = hostInput(notice)
      if (input !== null) this.#step(input)
    })
    underlay.onPayload((from, payload) => this.#step({ type: 'payload', from, payload }))
    this.#plan()
  }

  /** The same for each call with this name. */
  agent(name: string): Agent {
    const known = this.#agents.get(name)
    if (known !== undefined) return known
    const agent = new AgentGroup(name, {
      self: this.#underlay.self.id,
      members: (agent) => this.#core.members(agent),
      write: (write) => this.#write(write),
      decode: (metadata) => this.#decode(metadata),
    })
    this.#agents.set(name, agent)
    return agent
  }

  /** Says and hears nothing any more. The others keep what this host said until the underlay shows that it is gone. */
  stop(): void {
    this.#stopped = true
    this.#cancelWake()
    this.#unwatch()
  }

  collect(sink: MetricSink): void {
    collectOverlay(this.#core, this.#metadataMalformed, sink)
  }

  #write(write: Write): void {
    if (this.#stopped) return
    const refusal = this.#core.refuses(write)
    if (refusal === null) return this.#step(write)
    const [code, rule] = REFUSALS[refusal]
    const name = 'agent' in write ? write.agent : write.key
    throw new BrokerError(code, `Cannot ${write.type} "${name.slice(0, 64)}" on the overlay: ${rule}`)
  }

  #decode(bytes: Uint8Array): Metadata {
    const metadata = decodeMetadata(bytes)
    if (metadata !== null) return metadata
    this.#metadataMalformed++
    return new Map()
  }

  #step(input: Input): void {
    if (this.#stopped) return
    this.#core.step(input, this.#now())
    const { payloads, events } = this.#core.ready()
    for (const { to, bytes } of payloads) this.#underlay.sendPayload(to, bytes)
    this.#plan()
    this.#events.push(...events)
    this.#tellAll()
  }

  #plan(): void {
    const deadlineMs = this.#core.deadlineMs()
    if (deadlineMs === this.#wakeAtMs) return
    this.#cancelWake()
    this.#wakeAtMs = deadlineMs
    this.#cancelWake = this.#clock.after(Math.max(0, Math.ceil(deadlineMs - this.#clock.monotonic())), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.#step({ type: 'tick' })
    })
  }

  #tellAll(): void {
    if (this.#telling) return
    this.#telling = true
    try {
      for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) this.#tell(event)
    } finally {
      this.#telling = false
    }
  }

  #tell(event: OverlayEvent): void {
    switch (event.type) {
      case 'member-joined':
      case 'member-changed':
      case 'member-left':
        return this.#agents.get(event.agent)?.told(event)
      case 'key-set':
        return this.#keyWatchers.tell({ type: 'set', host: event.host, key: event.key, value: event.value })
      case 'key-deleted':
        return this.#keyWatchers.tell({ type: 'deleted', host: event.host, key: event.key })
      case 'hint-set':
        return this.#hintWatchers.tell({ type: 'set', key: event.key, value: event.value, by: event.by })
      case 'hint-deleted':
        return this.#hintWatchers.tell({ type: 'deleted', key: event.key })
    }
  }

  #now(): { monotonicMs: number; wallMs: number } {
    return { monotonicMs: this.#clock.monotonic(), wallMs: this.#clock.now() }
  }
}
