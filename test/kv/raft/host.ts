import type { Random } from '../../../src/base/clock.ts'
import {
  type ConfState,
  type Entry,
  entryBytes,
  type HardState,
  type Input,
  type LogStorage,
  type Message,
  NO_CONFIG,
  type Persisted,
  type RaftLimits,
  RaftNode,
  type Ready,
  type ReplicaId,
  type SnapshotMeta,
} from '../../../src/kv/raft/index.ts'

/** Where every group of these tests begins: a state at this index, of this term. */
export const BEGIN_INDEX = 10
export const BEGIN_TERM = 1

/** The toy state machine: one register, and the history that led to it. Replaced, never changed. */
export interface App {
  index: number
  term: number
  config: ConfState
  value: string
  hash: number
}

const NOTHING: App = { index: 0, term: 0, config: NO_CONFIG, value: '', hash: 0 }

export type SentMessage = Message & { app?: App }

/** What one Ready wants on disk; a Ready without writes but with messages that wait is a record too. */
export interface WriteRecord {
  entries: readonly Entry[]
  hardState: HardState | null
  install: App | null
  /** The effects of what was applied before: they are lazy, and ride along. */
  app: App
  compactTo: number
  persisted: Persisted | null
  afterPersist: readonly Message[]
}

/** What a crash leaves. */
export class Disk implements LogStorage {
  hardState: HardState = { term: 0, vote: null, commit: 0 }
  app: App = NOTHING
  emptiedFor: { index: number; term: number } | null = null
  #baseIndex = 0
  #baseTerm = 0
  #entries: Entry[] = []
  /** The host's view of what could be sent. */
  current: () => App = () => this.app
  /** Entries must be read from far away: they are not at hand. */
  cold: () => boolean = () => false

  begin(config: ConfState, terms: readonly number[] = []): void {
    this.app = { index: BEGIN_INDEX, term: BEGIN_TERM, config, value: '', hash: 0 }
    this.#baseIndex = BEGIN_INDEX
    this.#baseTerm = BEGIN_TERM
    this.#entries = terms.map((term, at) => entry(BEGIN_INDEX + 1 + at, term, `${term}`))
    this.hardState = { term: terms.at(-1) ?? BEGIN_TERM, vote: null, commit: BEGIN_INDEX }
  }

  write({ entries, hardState, install, app, compactTo }: WriteRecord): void {
    if (install !== null) {
      this.emptiedFor = null
      this.#entries = []
      this.#baseIndex = install.index
      this.#baseTerm = install.term
      this.app = install
    }
    const first = entries[0]
    if (first !== undefined) {
      this.#entries.length = Math.min(this.#entries.length, first.index - this.#baseIndex - 1)
      for (const each of entries) this.#entries.push(each)
    }
    if (hardState !== null) this.hardState = hardState
    if (app.index > this.app.index) this.app = app
    if (compactTo > this.#baseIndex) this.#compact(Math.min(compactTo, this.app.index))
  }

  /** The first step of taking a snapshot piece by piece: nothing is left but what was promised in votes. */
  empty({ index, term }: { index: number; term: number }): void {
    this.emptiedFor = { index, term }
    this.#entries = []
    this.#baseIndex = 0
    this.#baseTerm = 0
    this.app = NOTHING
    this.hardState = { ...this.hardState, commit: 0 }
  }

  /** The last step: the state is whole. */
  fill(app: App): void {
    this.emptiedFor = null
    this.#baseIndex = app.index
    this.#baseTerm = app.term
    this.app = app
    this.hardState = { ...this.hardState, commit: app.index }
  }

  firstIndex(): number {
    return this.#baseIndex + 1
  }

  lastIndex(): number {
    return this.#baseIndex + this.#entries.length
  }

  term(index: number): number | null {
    return index === this.#baseIndex ? this.#baseTerm : (this.#entries[index - this.#baseIndex - 1]?.term ?? null)
  }

  entries(lo: number, hi: number, bytesMax: number): Entry[] {
    const out: Entry[] = []
    if (this.cold()) return out
    let bytes = 0
    for (let index = lo; index < hi; index++) {
      const each = this.#entries[index - this.#baseIndex - 1]!
      bytes += entryBytes(each)
      if (out.length > 0 && bytes > bytesMax) break
      out.push(each)
    }
    return out
  }

  snapshot(): SnapshotMeta | null {
    const { index, term, config } = this.current()
    return { index, term, config }
  }

  #compact(index: number): void {
    if (index <= this.#baseIndex) return
    this.#baseTerm = this.term(index)!
    this.#entries.splice(0, index - this.#baseIndex)
    this.#baseIndex = index
  }
}

export interface HostOptions {
  id: ReplicaId
  disk: Disk
  random: Random
  limits: Partial<RaftLimits>
  send: (message: SentMessage) => void
  /** Sees every Ready before it is performed. */
  observe: (ready: Ready, host: Host) => void
  /** A leader knows that all up to here is committed, by majorities of this configuration. */
  commits?: (upTo: number, config: ConfState) => void
  /** A write was queued. */
  wrote: (host: Host) => void
}

/** The life of one replica from its start to its crash: it performs what the node wants, in the order of Ready. */
export class Host {
  readonly id: ReplicaId
  readonly disk: Disk
  readonly node: RaftNode
  app: App
  /** Under way, in the order in which they reach the disk. */
  readonly queue: WriteRecord[] = []
  alive = true
  compactTo = 0
  readonly #options: HostOptions
  readonly #received = new Map<string, App>()

  constructor(options: HostOptions) {
    const { id, disk, random, limits } = options
    this.#options = options
    this.id = id
    this.disk = disk
    this.app = disk.app
    disk.current = () => this.app
    const { hardState, app, emptiedFor } = disk
    const { config } = app
    this.node = new RaftNode({ id, storage: disk, random, hardState, applied: app.index, config, emptiedFor, limits })
  }

  step(input: Input): void {
    if (input.type === 'message') {
      const message = input.message as SentMessage
      if (message.type === 'snapshot') this.#received.set(key(message.snapshot), message.app!)
    }
    this.node.step(input)
    this.#noteCommit()
    this.drain()
  }

  drain(): void {
    for (let more = true; more; ) {
      const ready = this.node.ready()
      this.#noteCommit()
      more = ready.more
      this.#perform(ready)
    }
  }

  /** The oldest write reaches the disk, and what waited for it is sent. The report of it is the caller's to give. */
  finishWrite(): Persisted | null {
    const record = this.queue.shift()!
    this.disk.write(record)
    for (const message of record.afterPersist) this.#options.send(message)
    return record.persisted
  }

  /** As if a lazy write of the state, and of where the log begins, had just come to its end. */
  compactNow(index: number): void {
    const nothing = { entries: [], hardState: null, install: null, persisted: null, afterPersist: [] }
    this.disk.write({ ...nothing, app: this.app, compactTo: index })
  }

  /** Only the first `survivors` of the writes under way reached the disk. */
  crash(survivors: number): void {
    this.alive = false
    for (const record of this.queue.splice(0).slice(0, survivors)) this.disk.write(record)
  }

  #noteCommit(): void {
    const { role, commit, config } = this.node.status()
    if (role === 'leader') this.#options.commits?.(commit, config)
  }

  #perform(ready: Ready): void {
    this.#options.observe(ready, this)
    const install = ready.snapshot === null ? null : this.#received.get(key(ready.snapshot))!
    if (install !== null) this.app = install
    const { entries, hardState, persisted, afterPersist } = ready
    const { app, compactTo } = this
    const writes = persisted !== null
    const waits = afterPersist.length > 0 && this.queue.length > 0
    if (writes || waits) {
      this.queue.push({ entries, hardState, install, app, compactTo, persisted, afterPersist })
      this.#options.wrote(this)
    } else for (const message of afterPersist) this.#options.send(message)
    for (const message of ready.messages) {
      this.#options.send(message.type === 'snapshot' ? { ...message, app: this.#appAt(message.snapshot) } : message)
    }
    this.#apply(ready)
  }

  #apply({ committed, configs }: Ready): void {
    for (const each of committed) {
      const { index, term } = each
      const changed = configs.find((config) => config.index === index)
      const text = textOf(each)
      this.app = {
        index,
        term,
        config: changed?.config ?? this.app.config,
        value: each.type === 'command' ? text : this.app.value,
        hash: hashStep(this.app.hash, `${index}/${term}/${text}`),
      }
    }
  }

  #appAt(meta: SnapshotMeta): App {
    if (this.app.index !== meta.index) throw new Error('The snapshot is not of the state of now')
    return this.app
  }
}

export function entry(index: number, term: number, text: string): Entry {
  return { index, term, type: 'command', data: Buffer.from(text), change: null }
}

export function textOf(each: Entry): string {
  return Buffer.from(each.data).toString()
}

function key({ index, term }: { index: number; term: number }): string {
  return `${index}/${term}`
}

function hashStep(hash: number, text: string): number {
  let next = hash
  for (let at = 0; at < text.length; at++) next = (Math.imul(next, 31) + text.charCodeAt(at)) | 0
  return next
}
