import type { HostId } from '../../../base/ids.ts'
import type { Context, Reply } from './context.ts'
import { BUCKETS, type Hint, HintMap, isNewer, TOMBSTONE_TTL_MS } from './hint-map.ts'
import type { HintPush } from './message.ts'
import { gossipRounds } from './options.ts'
import { hintBytes } from './wire.ts'

/** While news go around, sums differ: they are looked at closer only when they do so again and again. */
const DIFFERENCES_MAX = 5
/** Of a payload with hints, before them. */
const PUSH_HEAD_BYTES = 16

/**
 * How the hints of all hosts become equal. News are told as they are, to some hosts, for some rounds; a sum over all
 * hints travels with the digests, and where it differs, sums over buckets show which hints to exchange.
 */
export class HintSync {
  readonly map: HintMap
  readonly #self: HostId
  readonly #context: Context
  /** Keys whose news are still told, and for how many rounds. */
  readonly #news = new Map<string, number>()
  #differences = 0
  #sweepAtMs = 0

  constructor(self: HostId, context: Context) {
    this.#self = self
    this.#context = context
    this.map = new HintMap(context.options.clockDriftMsMax)
  }

  get hasNews(): boolean {
    return this.#news.size > 0
  }

  deadlineMs(): number {
    return this.map.size === 0 ? Number.POSITIVE_INFINITY : this.#sweepAtMs
  }

  tick(nowMs: number, wallMs: number): void {
    if (nowMs < this.deadlineMs()) return
    this.#sweepAtMs = nowMs + this.#context.options.hintSweepMs
    for (const hint of this.map.expire(wallMs)) this.#gone(hint)
  }

  set(key: string, value: Uint8Array, ttlMs: number, hosts: number, wallMs: number): void {
    this.#write(this.map.write(key, value, ttlMs, this.#self, wallMs), hosts, wallMs)
  }

  delete(key: string, hosts: number, wallMs: number): void {
    const known = this.map.get(key)
    if (known === undefined || known.value === null) return
    this.#write(this.map.write(key, null, TOMBSTONE_TTL_MS, this.#self, wallMs), hosts, wallMs)
  }

  /** The news of this round, at most `bytes` of them; the others are first in the next. */
  rumours(bytes: number): HintPush | null {
    const hints: Hint[] = []
    let room = bytes - PUSH_HEAD_BYTES
    for (const [key, rounds] of [...this.#news]) {
      const hint = this.map.get(key)
      const size = hint === undefined ? 0 : hintBytes(hint)
      if (size > room && hints.length > 0) break
      this.#news.delete(key)
      if (hint === undefined) continue
      room -= size
      hints.push(hint)
      if (rounds > 1) this.#news.set(key, rounds - 1)
      if (room <= 0) break
    }
    return hints.length === 0 ? null : { type: 'hints', news: true, more: false, buckets: [], hints }
  }

  /** Another host's sum over all hints. */
  onSum(sum: readonly [number, number], reply: Reply): void {
    const own = this.map.sum
    if (own[0] === sum[0] && own[1] === sum[1]) {
      this.#differences = 0
      return
    }
    this.#differences++
    if (this.hasNews && this.#differences < DIFFERENCES_MAX) return
    this.#compare(reply)
  }

  onSums(sums: Uint32Array, reply: Reply): void {
    const start = this.#context.random.below(BUCKETS)
    const different: number[] = []
    for (let at = 0; at < BUCKETS; at++) {
      const bucket = (start + at) % BUCKETS
      if (sums[bucket] !== this.map.sums[bucket]) different.push(bucket)
    }
    if (different.length === 0) return
    const byBucket = this.map.ofBuckets(new Set(different))
    const buckets: number[] = []
    const pushed: Hint[] = []
    let bytes = PUSH_HEAD_BYTES
    let more = false
    for (const bucket of different) {
      const hints = byBucket.get(bucket) ?? []
      const size = hints.reduce((sum, hint) => sum + hintBytes(hint), 1)
      more = bytes + size > reply.room
      // Where the first alone is too large: some of it, and nothing is asked back.
      if (more && buckets.length === 0) bytes += this.#some(hints, reply.room - bytes, pushed)
      if (more) break
      bytes += size
      buckets.push(bucket)
      pushed.push(...hints)
    }
    reply.add({ type: 'hints', news: false, more, buckets, hints: pushed }, bytes)
  }

  onHints(push: HintPush, hosts: number, reply: Reply, wallMs: number): void {
    const { hintsApplied } = this.#context.counters
    for (const hint of push.hints) {
      if (this.#merge(hint, wallMs) && push.news) this.#tell(hint, hosts)
    }
    if (push.buckets.length > 0) this.#giveBack(push, reply)
    // Only after a step forward, so that this ends.
    if (push.more && this.#context.counters.hintsApplied > hintsApplied) this.#compare(reply)
  }

  #compare(reply: Reply): void {
    this.#differences = 0
    reply.add({ type: 'hint-sums', sums: this.map.sums.slice() }, BUCKETS * 4)
  }

  /** What the other side lacks of the buckets that it sent. */
  #giveBack(push: HintPush, reply: Reply): void {
    const theirs = new Map(push.hints.map((hint) => [hint.key, hint]))
    const lacking: Hint[] = []
    let bytes = PUSH_HEAD_BYTES
    for (const hints of this.map.ofBuckets(new Set(push.buckets)).values()) {
      for (const hint of hints) {
        const known = theirs.get(hint.key)
        if (known !== undefined && !isNewer(hint, known)) continue
        if (bytes + hintBytes(hint) > reply.room - BUCKETS * 4) continue
        bytes += hintBytes(hint)
        lacking.push(hint)
      }
    }
    if (lacking.length > 0) reply.add({ type: 'hints', news: false, more: false, buckets: [], hints: lacking }, bytes)
  }

  /** Adds as many as fit, from a random one on; gives their bytes. */
  #some(hints: readonly Hint[], room: number, to: Hint[]): number {
    const start = this.#context.random.below(hints.length)
    let bytes = 0
    for (let at = 0; at < hints.length; at++) {
      const hint = hints[(start + at) % hints.length]!
      if (bytes + hintBytes(hint) > room) break
      bytes += hintBytes(hint)
      to.push(hint)
    }
    return bytes
  }

  #write(hint: Hint, hosts: number, wallMs: number): void {
    if (this.#merge(hint, wallMs)) this.#tell(hint, hosts)
  }

  #tell(hint: Hint, hosts: number): void {
    this.#news.delete(hint.key)
    this.#news.set(hint.key, gossipRounds(hosts, this.#context.options))
  }

  /** True where it is news. */
  #merge(hint: Hint, wallMs: number): boolean {
    const { counters, outbox } = this.#context
    const merged = this.map.merge(hint, wallMs)
    if (merged === 'ahead') counters.hintsAhead++
    else if (merged === 'late') counters.hintsLate++
    if (typeof merged === 'string') return false
    counters.hintsApplied++
    if (merged.evicted !== null) {
      counters.hintsEvicted++
      this.#gone(merged.evicted)
    }
    const { key, value, by } = hint
    if (value !== null) outbox.events.push({ type: 'hint-set', key, value, by })
    else if (merged.previous !== undefined && merged.previous.value !== null) {
      outbox.events.push({ type: 'hint-deleted', key })
    }
    return true
  }

  #gone(hint: Hint): void {
    this.#news.delete(hint.key)
    if (hint.value !== null) this.#context.outbox.events.push({ type: 'hint-deleted', key: hint.key })
  }
}
