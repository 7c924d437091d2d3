import { assert } from '../../base/assert.ts'
import type { Entry, LogStorage, Persisted, SnapshotMeta } from './contract.ts'

/** What an entry counts besides its data, in bytes. */
const ENTRY_OVERHEAD_BYTES = 32
const NONE: readonly Entry[] = []

export function entryBytes(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES
}

/**
 * The log as this replica sees it: what its disk is known to hold, and above that the entries in memory that are still
 * to be written, or are being written.
 *
 *     first ... persisted | offset ... handed ... last        commit and applied are anywhere
 *           on disk       |        in memory
 *
 * A report of a finished write is believed only if nothing that was handed out has been replaced since: the same index
 * may get its old term back (from a later leader) while the disk still has to pass through what was between.
 */
export class RaftLog {
  commit: number
  /** Last index handed out to be applied. */
  applied: number
  readonly #storage: LogStorage
  #entries: Entry[] = []
  #offset: number
  #bytes = 0
  #persisted: number
  /** Last index handed out to be written. */
  #handed: number
  /** Number of the last write that was handed out. */
  #write = 0
  /** Reports of writes up to this number are of a log that has been replaced. */
  #barrier = 0
  /** To be installed; the storage does not know it yet. */
  #snapshot: SnapshotMeta | null = null
  #snapshotHanded = false

  constructor(storage: LogStorage, commit: number, applied: number) {
    const last = storage.lastIndex()
    this.#storage = storage
    this.commit = Math.max(commit, applied)
    this.applied = applied
    this.#offset = last + 1
    this.#persisted = last
    this.#handed = last
    assert(this.commit <= last, `The log ends at ${last}, before what was committed, ${this.commit}`)
    assert(applied >= storage.firstIndex() - 1, `The log begins after ${applied}, the last index that was applied`)
  }

  /** Of what the disk holds; not asked for while a snapshot is being installed. */
  get firstIndex(): number {
    return this.#storage.firstIndex()
  }

  get lastIndex(): number {
    return this.#offset + this.#entries.length - 1
  }

  get lastTerm(): number {
    return this.term(this.lastIndex) ?? 0
  }

  /** Last index of this log that is on disk. */
  get persisted(): number {
    return this.#persisted
  }

  /** Of entries that are not known to be on disk. */
  get unpersistedBytes(): number {
    return this.#bytes
  }

  /** A snapshot is being installed: until then nothing can be applied. */
  get installing(): boolean {
    return this.#snapshot !== null
  }

  /** Null where compacted away, or beyond the end. */
  term(index: number): number | null {
    if (index >= this.#offset) return this.#entries[index - this.#offset]?.term ?? null
    if (this.#snapshot !== null) return index === this.#snapshot.index ? this.#snapshot.term : null
    return this.#storage.term(index)
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term
  }

  /** Whether a log that ends so holds at least as much as this one. Source: Raft paper, 5.4.1. */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex)
  }

  snapshot(): SnapshotMeta | null {
    const snapshot = this.#storage.snapshot()
    return snapshot !== null && snapshot.index >= this.firstIndex - 1 ? snapshot : null
  }

  push(entry: Entry): void {
    this.#entries.push(entry)
    this.#bytes += entryBytes(entry)
  }

  /** Takes over a leader's entries, which follow on a place where the logs agree. Gives the last index of them. */
  extend(previousIndex: number, entries: readonly Entry[]): number {
    let at = 0
    while (at < entries.length && this.matches(entries[at]!.index, entries[at]!.term)) at++
    if (at < entries.length) {
      this.#truncate(entries[at]!.index)
      for (; at < entries.length; at++) this.push(entries[at]!)
    }
    return previousIndex + entries.length
  }

  /** The last index <= `index` whose term is not above `term`, and that term; 0 where it was compacted away. */
  lastNotAbove(index: number, term: number): { index: number; term: number } {
    for (let at = Math.min(index, this.lastIndex); ; at--) {
      const own = this.term(at)
      if (own === null || own <= term) return { index: at, term: own ?? 0 }
    }
  }

  /** From `lo` up to `hi` inclusive: at least one, then up to `bytesMax`; none where they are not at hand. */
  slice(lo: number, hi: number, bytesMax: number): readonly Entry[] {
    if (lo > hi) return NONE
    if (lo >= this.#offset) return this.#inMemory(lo, hi, bytesMax)
    const end = Math.min(hi + 1, this.#offset)
    const stored = this.#storage.entries(lo, end, bytesMax)
    if (stored.length < end - lo || end > hi) return stored
    const left = bytesMax - stored.reduce((bytes, entry) => bytes + entryBytes(entry), 0)
    return left <= ENTRY_OVERHEAD_BYTES ? stored : [...stored, ...this.#inMemory(end, hi, left)]
  }

  commitTo(index: number): void {
    if (index <= this.commit) return
    assert(index <= this.lastIndex, `Cannot commit ${index}: the log ends at ${this.lastIndex}`)
    this.commit = index
  }

  hasToApply(): boolean {
    return this.applied < this.commit && this.#snapshot === null
  }

  takeToApply(bytesMax: number): readonly Entry[] {
    if (!this.hasToApply()) return NONE
    const entries = this.slice(this.applied + 1, this.commit, bytesMax)
    this.applied += entries.length
    return entries
  }

  /** Replaces everything by a snapshot, to be installed. */
  restore(snapshot: SnapshotMeta): void {
    this.#snapshot = snapshot
    this.#snapshotHanded = false
    this.#entries = []
    this.#bytes = 0
    this.#offset = snapshot.index + 1
    this.#handed = snapshot.index
    this.#persisted = 0
    this.#barrier = this.#write
    this.commit = snapshot.index
    this.applied = snapshot.index
  }

  takeSnapshot(): SnapshotMeta | null {
    if (this.#snapshotHanded) return null
    this.#snapshotHanded = this.#snapshot !== null
    return this.#snapshot
  }

  takeToWrite(): readonly Entry[] {
    if (this.#handed === this.lastIndex) return NONE
    const from = this.#handed + 1 - this.#offset
    this.#handed = this.lastIndex
    return from === 0 ? this.#entries.slice() : this.#entries.slice(from)
  }

  /** The report that the host gives back once all that was taken until now is on disk. */
  startWrite(hardTerm: number): Persisted {
    const term = this.term(this.#handed) ?? 0
    return { type: 'persisted', write: ++this.#write, index: this.#handed, term, hardTerm }
  }

  /** Believes a report, as far as it is about this log. */
  confirm(report: Persisted): void {
    if (!this.isCurrent(report)) return
    this.#snapshot = null
    if (report.index <= this.#persisted) return
    this.#persisted = report.index
    if (report.index < this.#offset) return
    const gone = this.#entries.splice(0, report.index + 1 - this.#offset)
    for (const entry of gone) this.#bytes -= entryBytes(entry)
    this.#offset = report.index + 1
  }

  isCurrent(report: Persisted): boolean {
    return report.write > this.#barrier && this.matches(report.index, report.term)
  }

  #inMemory(lo: number, hi: number, bytesMax: number): readonly Entry[] {
    const from = lo - this.#offset
    const end = Math.min(hi + 1 - this.#offset, this.#entries.length)
    let bytes = 0
    let to = from
    while (to < end && (to === from || bytes + entryBytes(this.#entries[to]!) <= bytesMax)) {
      bytes += entryBytes(this.#entries[to]!)
      to++
    }
    return this.#entries.slice(from, to)
  }

  #truncate(index: number): void {
    assert(index > this.commit, `Cannot replace entry ${index}: entries up to ${this.commit} are committed`)
    const keep = Math.max(0, index - this.#offset)
    for (let at = keep; at < this.#entries.length; at++) this.#bytes -= entryBytes(this.#entries[at]!)
    this.#entries.length = Math.min(keep, this.#entries.length)
    this.#offset = Math.min(this.#offset, index)
    if (index > this.#handed) return
    this.#handed = index - 1
    this.#persisted = Math.min(this.#persisted, index - 1)
    this.#barrier = this.#write
  }
}
