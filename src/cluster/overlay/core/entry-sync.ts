import type { HostId } from '../../../base/ids.ts'
import type { Context, Reply } from './context.ts'
import type { EntryEvent } from './effects.ts'
import { entryBytes, parseKey } from './entries.ts'
import type { Delta, Digest, Position } from './message.ts'
import { gossipRounds, HOSTS_MAX } from './options.ts'
import { OwnEntries } from './own-entries.ts'
import { type Change, makeDelta, Replica, type Source } from './replica.ts'
import { positionBytes } from './wire.ts'

/** So often somebody is asked for what is lacking; whatever fails then is left to the digests. */
const ASKS = 5
/** Of a delta, before its entries. */
const DELTA_HEAD_BYTES = 128
/** Of a payload with a digest, before its positions. */
const DIGEST_HEAD_BYTES = 16

/**
 * The entries of all hosts, and how copies become equal: whoever hears where another stands sends what that one lacks,
 * and asks for what itself lacks. So the only thing that is ever told unasked is positions: of everybody, to one host,
 * now and then; of those with news, to some hosts, at once and for some rounds.
 *
 * Which hosts and lives there are is the underlay's word alone; about all others nothing is kept.
 */
export class EntrySync {
  readonly own: OwnEntries
  readonly #context: Context
  readonly #replicas = new Map<HostId, Replica>()
  readonly #byMark = new Map<number, Source>()
  /** Those whose news are still told. */
  readonly #news = new Set<Source>()
  /** What is lacking, who is asked for it, and how often still. */
  readonly #asks = new Map<Replica, { whom: HostId; tries: number }>()

  constructor(host: HostId, life: number, context: Context) {
    this.#context = context
    this.own = new OwnEntries(host, life, context.options.tombstoneKeepMs)
    this.#byMark.set(this.own.mark, this.own)
  }

  get hosts(): IterableIterator<HostId> {
    return this.#replicas.keys()
  }

  get hostsCount(): number {
    return this.#replicas.size
  }

  /** Ourselves first. */
  *sources(): Generator<Source> {
    yield this.own
    yield* this.#replicas.values()
  }

  has(host: HostId): boolean {
    return this.#replicas.has(host)
  }

  get hasNews(): boolean {
    return this.#news.size > 0 || this.#asks.size > 0
  }

  up(host: HostId, life: number): void {
    if (host === this.own.host) return
    const known = this.#replicas.get(host)
    if (known?.life === life) return
    if (known !== undefined) this.down(host)
    if (this.#replicas.size >= HOSTS_MAX) {
      this.#context.counters.hostsRefused++
      return
    }
    const replica = new Replica(host, life)
    this.#replicas.set(host, replica)
    this.#byMark.set(replica.mark, replica)
    // Its own entries from itself: nobody sends them twice then.
    this.#asks.set(replica, { whom: host, tries: ASKS })
  }

  down(host: HostId): void {
    const replica = this.#replicas.get(host)
    if (replica === undefined) return
    this.#replicas.delete(host)
    this.#byMark.delete(replica.mark)
    this.#news.delete(replica)
    this.#asks.delete(replica)
    for (const entry of replica.entries.values())
      this.#changed(host, { key: entry.key, previous: entry, entry: undefined })
  }

  /** Null deletes. */
  write(key: string, value: Uint8Array | null, nowMs: number): void {
    const written = this.own.write(key, value, nowMs)
    if (written === null) return
    this.#changed(this.own.host, { key, previous: written.previous, entry: this.own.entries.get(key) })
    this.#tell(this.own)
  }

  /** Where we stand with everybody, or with as many as fit a packet. */
  positions(nowMs: number): Position[] {
    const { options, random } = this.#context
    const all = [...this.sources()].filter((source) => !isAsked(source, nowMs)).map((source) => source.position)
    const start = random.below(all.length)
    const chosen: Position[] = []
    let room = options.packetBytesMax - DIGEST_HEAD_BYTES
    for (let at = 0; at < all.length; at++) {
      const position = all[(start + at) % all.length]!
      room -= positionBytes(position)
      if (room < 0) break
      chosen.push(position)
    }
    return chosen
  }

  /** The news of this round, at most `bytes` of them; the others are first in the next. */
  rumours(bytes: number): Position[] {
    const chosen: Position[] = []
    let room = bytes - DIGEST_HEAD_BYTES
    for (const source of [...this.#news]) {
      const { position } = source
      room -= positionBytes(position)
      if (room < 0) break
      chosen.push(position)
      this.#news.delete(source)
      if (--source.rounds > 0) this.#news.add(source)
    }
    return chosen
  }

  /** Asks for what is lacking, and has not come since it was asked for. */
  ask(nowMs: number): void {
    const { options, outbox } = this.#context
    let left = options.asksMax
    for (const [replica, ask] of this.#asks) {
      if (isAsked(replica, nowMs)) continue
      const { position } = replica
      if (ask.tries === 0 || position.version >= replica.askedVersion) {
        this.#asks.delete(replica)
        continue
      }
      if (left-- === 0) return
      ask.tries--
      replica.askedUntilMs = nowMs + options.askTimeoutMs
      outbox.send(ask.whom, [{ type: 'digest', asks: false, positions: [position], hints: null }])
    }
  }

  onDigest(from: HostId, digest: Digest, reply: Reply, nowMs: number): void {
    const { positions } = digest
    const start = positions.length === 0 ? 0 : this.#context.random.below(positions.length)
    for (let at = 0; at < positions.length; at++) {
      const position = positions[(start + at) % positions.length]!
      const source = this.#byMark.get(position.mark)
      if (source === undefined) continue
      if (digest.asks && position.version > source.position.version && position.resetTo === 0) {
        if (!(source instanceof Replica)) this.#refute(position.version)
        else if (this.#want(source, position.version, from, nowMs)) reply.want(source.position)
      }
      const room = reply.room - DELTA_HEAD_BYTES
      const delta = room > 0 ? makeDelta(source, position, room) : null
      if (delta !== null) reply.add(delta, deltaBytes(delta))
    }
  }

  onDelta(from: HostId, delta: Delta, reply: Reply, nowMs: number): void {
    const { counters } = this.#context
    if (delta.host === this.own.host && delta.life === this.own.life) return this.#refute(delta.last)
    const replica = this.#replicas.get(delta.host)
    if (replica === undefined || replica.life !== delta.life) {
      counters.foreignDeltas++
      return
    }
    const { version } = replica.entries
    const changes = replica.apply(delta)
    if (changes === 'stale') counters.staleDeltas++
    else if (changes === 'gap') counters.gaps++
    else if (changes === 'refused') counters.refusedDeltas++
    if (typeof changes === 'string') return
    if (delta.from === 0 && version > 0) counters.resets++
    counters.entriesApplied += changes.length
    for (const change of changes) this.#changed(delta.host, change)
    if (replica.entries.version > version) this.#tell(replica)
    replica.askedUntilMs = 0
    // The rest, from whom the beginning came.
    if (replica.position.version < delta.last && this.#want(replica, delta.last, from, nowMs))
      reply.want(replica.position)
  }

  /** False: it was asked for already, a moment ago. */
  #want(replica: Replica, version: number, whom: HostId, nowMs: number): boolean {
    if (isAsked(replica, nowMs) && replica.askedVersion >= version) return false
    replica.askedVersion = version
    replica.askedUntilMs = nowMs + this.#context.options.askTimeoutMs
    this.#asks.set(replica, { whom, tries: ASKS - 1 })
    return true
  }

  #refute(claimed: number): void {
    if (!this.own.refute(claimed)) return
    this.#context.counters.refutations++
    this.#tell(this.own)
  }

  #tell(source: Source): void {
    source.rounds = gossipRounds(this.#replicas.size + 1, this.#context.options)
    this.#news.add(source)
  }

  #changed(host: HostId, change: Change): void {
    const event = eventOf(host, change)
    if (event !== null) this.#context.outbox.events.push(event)
  }
}

function isAsked(source: Source, nowMs: number): boolean {
  return source instanceof Replica && nowMs < source.askedUntilMs
}

function deltaBytes(delta: Delta): number {
  let bytes = DELTA_HEAD_BYTES
  for (const entry of delta.entries) bytes += entryBytes(entry)
  return bytes
}

function eventOf(host: HostId, change: Change): EntryEvent | null {
  const { kind, name } = parseKey(change.key)!
  const before = change.previous?.value ?? null
  const after = change.entry?.value ?? null
  if (after === null) {
    if (before === null) return null
    return kind === 'member' ? { type: 'member-left', agent: name, host } : { type: 'key-deleted', key: name, host }
  }
  if (before !== null && Buffer.compare(before, after) === 0) return null
  if (kind === 'key') return { type: 'key-set', key: name, host, value: after }
  return { type: before === null ? 'member-joined' : 'member-changed', agent: name, host, metadata: after }
}
