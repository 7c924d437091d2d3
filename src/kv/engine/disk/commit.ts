import type { Clock } from '../../../base/clock.ts'
import { BrokerError } from '../../../base/errors.ts'
import type { HealthReason } from '../../../base/health.ts'
import type { Batch } from '../engine.ts'
import { type Group, GroupPool } from './group.ts'
import type { Share } from './shared.ts'
import type { Landed, Writer } from './writer.ts'

export interface GroupCommitOptions {
  writer: Writer
  clock: Clock
  /** Number of the last batch in the database. */
  number: number
  /** A write that takes longer is reported by {@link GroupCommit.health}. Default 10,000 ms. */
  hangMs?: number | undefined
  /** Where values of many keys are stored once: see `shared.ts`. */
  share?: Share
  /** These batches are about to land. */
  begin?: (batches: readonly Batch[]) => void
  /** They have landed: from now on reads see them. */
  landed?: (group: Group) => void
  /** The disk failed: what is on it is unknown, so the process must end. Called once. */
  fatal?: ((error: Error) => void) | undefined
}

/** Bytes of one group; what comes beyond begins the next one. */
const GROUP_BYTES_MAX = 16 * 1024 * 1024

/**
 * Group commit: while a group of batches is on its way to the disk the next one gathers, so that a slow disk makes larger
 * groups: one atomic write and one fdatasync for each. A batch is readable only when it is as durable as it asked for.
 * Callers bound what they have under way; this takes it all.
 */
export class GroupCommit {
  readonly #options: GroupCommitOptions
  readonly #pool = new GroupPool()
  /** Gathering, the last one; those before it are full. */
  #queue: Group[] = []
  #underWay: Group | null = null
  #sentMs = 0
  #scheduled = false
  /** Waits for a moment without a group under way. */
  #calls: (() => void)[] = []
  #number: number
  #durable: number
  #batches = 0
  #syncs = 0
  #failure: Error | null = null
  #closing = false
  #idle: (() => void) | null = null

  constructor(options: GroupCommitOptions) {
    this.#options = options
    this.#number = options.number
    this.#durable = options.number
  }

  /** Number of the last durable batch. */
  get durable(): number {
    return this.#durable
  }

  /** Number of the last batch that reads see. */
  get landed(): number {
    return this.#number
  }

  /** Whether the disk or the writer failed. */
  get failed(): boolean {
    return this.#failure !== null
  }

  /** Since the start. */
  get counts(): { batches: number; syncs: number } {
    return { batches: this.#batches, syncs: this.#syncs }
  }

  /** How long the oldest write has been under way. */
  get oldestWriteMs(): number {
    return this.#underWay === null ? 0 : this.#options.clock.monotonic() - this.#sentMs
  }

  write(batch: Batch): Promise<void> {
    return this.#add((group) => group.add(batch, this.#options.share))
  }

  /** Deletes keys of the engine's own, durable with the next synced batch. */
  removeOwn(keys: readonly Uint8Array[]): Promise<void> {
    return this.#add((group) => group.addOwnDeletes(keys))
  }

  #add(fill: (group: Group) => void): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    if (this.#closing) return Promise.reject(new BrokerError('CLOSED', 'Cannot write: the engine is closed'))
    return new Promise((resolve, reject) => {
      let group = this.#queue.at(-1)
      if (group === undefined || group.used >= GROUP_BYTES_MAX) {
        group = this.#pool.take()
        this.#queue.push(group)
      }
      fill(group)
      group.waiters.push({ resolve, reject })
      this.#schedule()
    })
  }

  /** Runs `work` when no batch is under way: all that it reads belongs to the state of batch {@link landed}. */
  between<Result>(work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const call = () => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      }
      if (this.#underWay === null) call()
      else this.#calls.push(call)
    })
  }

  /** What keeps writes from being done. */
  health(): HealthReason[] {
    if (this.#failure !== null) return [{ part: 'disk', message: this.#failure.message }]
    const { hangMs = 10_000 } = this.#options
    const waitMs = this.oldestWriteMs
    if (waitMs < hangMs) return []
    return [{ part: 'disk', message: `A write has been waiting for the disk for ${Math.round(waitMs / 1_000)} s` }]
  }

  /** Takes no more batches; resolves when none is under way. */
  async close(): Promise<void> {
    this.#closing = true
    if (this.#underWay !== null || this.#queue.length > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
  }

  /** The disk or the writer failed: nothing that is under way or comes is done. */
  fail(cause: Error): void {
    if (this.#failure !== null) return
    this.#failure = new BrokerError('STORAGE_FAILED', `Cannot write to the database: ${cause.message}`, { cause })
    const failed = [...(this.#underWay === null ? [] : [this.#underWay]), ...this.#queue.splice(0)]
    this.#underWay = null
    for (const call of this.#calls.splice(0)) call()
    for (const { waiters } of failed) for (const { reject } of waiters) reject(this.#failure)
    this.#idle?.()
    this.#options.fatal?.(this.#failure)
  }

  /** What one turn of the event loop writes, and all that follows at once from what has landed, becomes one group. */
  #schedule(): void {
    if (this.#scheduled || this.#underWay !== null) return
    this.#scheduled = true
    process.nextTick(() => this.#send())
  }

  #send(): void {
    this.#scheduled = false
    if (this.#underWay !== null) return
    const group = this.#queue.shift()
    if (group === undefined) {
      this.#idle?.()
      return
    }
    this.#underWay = group
    this.#sentMs = this.#options.clock.monotonic()
    this.#options.begin?.(group.batches)
    this.#options.writer.land(group, this.#number + 1).then(
      (landed) => this.#landed(group, landed),
      (error: Error) => this.fail(error),
    )
  }

  #landed(group: Group, { durable, syncs, buffer }: Landed): void {
    this.#underWay = null
    this.#number += group.batches.length
    this.#batches += group.batches.length
    this.#durable = durable
    this.#syncs = syncs
    this.#pool.giveBack(buffer)
    this.#options.landed?.(group)
    for (const call of this.#calls.splice(0)) call()
    for (const { resolve } of group.waiters) resolve()
    this.#schedule()
  }
}
