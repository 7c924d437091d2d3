import { Fifo } from '../../base/fifo.ts'
import type { Entry, ProgressState } from './contract.ts'
import { entryBytes } from './log.ts'

/** Appends sent to one replica and not answered, bounded by count and bytes. */
export class Inflights {
  readonly #countMax: number
  readonly #bytesMax: number
  #sent = new Fifo<{ lastIndex: number; bytes: number }>()
  #bytes = 0

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax
    this.#bytesMax = bytesMax
  }

  get count(): number {
    return this.#sent.length
  }

  get bytes(): number {
    return this.#bytes
  }

  isFull(): boolean {
    return this.#sent.length >= this.#countMax || this.#bytes >= this.#bytesMax
  }

  add(lastIndex: number, bytes: number): void {
    this.#sent.push({ lastIndex, bytes })
    this.#bytes += bytes
  }

  /** What ends at `index` or before has arrived. */
  free(index: number): void {
    for (let first = this.#sent.peek(); first !== undefined && first.lastIndex <= index; first = this.#sent.peek()) {
      this.#sent.shift()
      this.#bytes -= first.bytes
    }
  }

  clear(): void {
    this.#sent = new Fifo()
    this.#bytes = 0
  }
}

/**
 * What the leader knows of one replica.
 *
 *     probe      unknown where its log agrees: one append at a time, then wait for the answer or a heartbeat's
 *     replicate  its log agrees: a pipeline of appends, `next` runs ahead of `match`
 *     snapshot   what it needs is compacted away: nothing is sent until the snapshot arrived or failed
 */
export class Progress {
  state: ProgressState = 'probe'
  /** Its log is known to be the leader's, on its disk, up to here. */
  match = 0
  next: number
  /** When it was last heard, in the leader's ticks. */
  heardTick: number
  /** The last read round that it answered. */
  round = 0
  /** Index of the snapshot under way. */
  snapshotIndex = 0
  /** Commit index that it was last sent. */
  sentCommit = 0
  /** In state probe: one append is out. In replicate: an append is due, even an empty one, to find out what is lost. */
  waiting = false
  due = false
  /** It denies what it had. */
  lost = false
  readonly inflights: Inflights

  constructor(next: number, nowTick: number, inflights: Inflights) {
    this.next = next
    this.heardTick = nowTick
    this.inflights = inflights
  }

  /** Whether an append may go out. */
  hasRoom(): boolean {
    if (this.state === 'replicate') return !this.inflights.isFull()
    return this.state === 'probe' && !this.waiting
  }

  sent(entries: readonly Entry[], commit: number): void {
    this.due = false
    this.sentCommit = commit
    if (this.state === 'probe') {
      this.waiting = true
      return
    }
    const last = entries.at(-1)
    if (last === undefined) return
    this.next = last.index + 1
    this.inflights.add(
      last.index,
      entries.reduce((bytes, entry) => bytes + entryBytes(entry), 0),
    )
  }

  /** It has everything up to `index`. False where that is no news. */
  accepted(index: number, firstIndex: number): boolean {
    const news = index > this.match
    if (news) this.match = index
    this.next = Math.max(this.next, index + 1)
    this.waiting = false
    if (index >= this.match) this.lost = false
    if (this.state === 'replicate') this.inflights.free(index)
    else if (this.state === 'probe' || this.match >= firstIndex - 1) this.#replicate()
    return news
  }

  /**
   * It refused an append after `index`; the logs agree at `hint` at best. A refusal of what has arrived since, or of
   * another place than the one that is probed, is old. One that leads nowhere new is not answered at once.
   */
  refused(index: number, hint: number): void {
    if (this.state === 'replicate') {
      if (index > this.match) this.probe()
    } else if (this.state === 'probe' && this.next - 1 === index) {
      const next = Math.max(Math.min(index, hint + 1), this.match + 1)
      this.lost = next === this.next
      this.waiting = this.lost
      this.next = next
    }
  }

  /**
   * It has nothing of what it had: it was emptied for a snapshot that did not get to its end. All of that is on a
   * majority without it; it begins anew, as a newcomer.
   */
  emptied(): void {
    this.match = 0
    this.lost = false
    if (this.state !== 'snapshot') this.probe()
  }

  /** Begins anew where its log is known to agree. */
  probe(): void {
    this.next = Math.max(this.match, this.state === 'snapshot' ? this.snapshotIndex : 0) + 1
    this.state = 'probe'
    this.snapshotIndex = 0
    this.waiting = false
    this.inflights.clear()
  }

  startSnapshot(index: number): void {
    this.state = 'snapshot'
    this.snapshotIndex = index
    this.inflights.clear()
  }

  #replicate(): void {
    this.state = 'replicate'
    this.next = this.match + 1
    this.snapshotIndex = 0
  }
}
