import type { CommandBatch } from '../client/transport.ts'
import type { Range } from '../range/range.ts'
import type { Group } from './group.ts'

/** Timed work is late by this at most: asking for it takes a look at the disk, which not every entry is worth. */
const ASK_MS = 20

/** What a range's service has to do at its time, while this replica leads. */
export class TimedWork<Command> {
  /** When it is due, ms since 1970; Infinity = none known. */
  dueMs = Number.POSITIVE_INFINITY
  readonly #range: Range<Command, unknown, never, unknown, unknown>
  readonly #group: Group
  /** The service named a time that is past, and had nothing to do. */
  #idle = false
  #askedMs = Number.NEGATIVE_INFINITY
  /** It was proposed: there may be more of it. */
  #underWay = false

  constructor(range: Range<Command, unknown, never, unknown, unknown>, group: Group) {
    this.#range = range
    this.#group = group
  }

  /** Also where the clock was set back since the service was asked: what it said may mean another time now. */
  isDue(nowMs: number): boolean {
    return this.dueMs <= nowMs || nowMs < this.#askedMs
  }

  /** Asks the service when it is due next. */
  schedule(nowMs: number): void {
    this.#askedMs = nowMs
    const dueMs = this.#group.leads ? this.#range.nextDueMs() : null
    this.dueMs = dueMs ?? Number.POSITIVE_INFINITY
    // Where the service names a time that is past but has nothing to do, it is not asked in a circle.
    if (this.#idle && this.dueMs <= nowMs) this.dueMs = nowMs + 1_000
    this.#idle = false
  }

  /** An entry may have brought some: the service is asked, but not for every entry. */
  scheduleSoon(nowMs: number): void {
    const asks = this.#underWay || Math.abs(nowMs - this.#askedMs) >= ASK_MS
    this.#underWay = false
    if (asks) this.schedule(nowMs)
    else if (this.#group.leads) this.dueMs = Math.min(this.dueMs, this.#askedMs + ASK_MS)
  }

  /** This replica leads no more. */
  stop(): void {
    this.dueMs = Number.POSITIVE_INFINITY
  }

  /** What is due now; null: nothing. */
  take(nowMs: number, commandsMax: number): CommandBatch<Command> | null {
    if (!this.isDue(nowMs)) return null
    const commands = this.#range.due(nowMs, commandsMax)
    this.dueMs = Number.POSITIVE_INFINITY
    if (commands.length === 0) {
      this.#idle = true
      this.schedule(nowMs)
      return null
    }
    this.#underWay = true
    const run = { stream: '', previous: 0, first: 0, count: commands.length, answered: 0 }
    // As applied: what it is due by was read so, and it is checked so.
    const { id, epoch } = this.#range.latest
    return { range: id, epochVersion: epoch.version, run, keys: [], commands, bytes: 0 }
  }
}
