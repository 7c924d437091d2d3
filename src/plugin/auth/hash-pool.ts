import type { Clock } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'

export interface HashPoolOptions {
  clock: Clock
  /** Hashes at a time: each takes a thread of libuv's pool, which file access shares, and the hash's memory. */
  runningMax: number
  /** Hashes that may wait. */
  waitingMax: number
  /** A hash that waited longer is not begun: its client has been answered, or has gone. */
  waitMsMax: number
}

interface Job {
  sinceMs: number
  start(): void
  refuse(): void
}

/**
 * Bounds the work of password hashes, and shares it among owners (tenants) in turn.
 *
 * When the queue is full, whoever has most waiting loses: a newcomer of that owner, or else that owner's latest. So
 * one tenant's storm of logins costs the others one turn each.
 */
export class HashPool {
  running = 0
  waiting = 0
  doneTotal = 0
  refusedTotal = 0
  readonly #options: HashPoolOptions
  /** By owner, in the order in which they get their turn; no list is empty. */
  readonly #queues = new Map<string, Job[]>()

  constructor(options: HashPoolOptions) {
    this.#options = options
  }

  /** Rejects with OVERLOADED where the bounds do not allow the work. */
  run<Result>(owner: string, work: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        this.running--
        this.doneTotal++
        this.#next()
      }
      this.#admit(owner, {
        sinceMs: this.#options.clock.monotonic(),
        start: () => {
          this.running++
          work().then(resolve, reject).finally(finish)
        },
        refuse: () => {
          this.refusedTotal++
          reject(new BrokerError('OVERLOADED', 'Cannot check a password: too many wait already; try again later'))
        },
      })
    })
  }

  #admit(owner: string, job: Job): void {
    if (this.running < this.#options.runningMax) {
      job.start()
      return
    }
    if (this.waiting >= this.#options.waitingMax && !this.#makeRoom(owner)) {
      job.refuse()
      return
    }
    const queue = this.#queues.get(owner)
    if (queue) queue.push(job)
    else this.#queues.set(owner, [job])
    this.waiting++
  }

  /** Takes the latest job of the owner with most waiting; false where that is `owner` itself. */
  #makeRoom(owner: string): boolean {
    let longest = owner
    let length = this.#queues.get(owner)?.length ?? 0
    for (const [other, queue] of this.#queues) {
      if (queue.length > length + (longest === owner ? 1 : 0)) {
        longest = other
        length = queue.length
      }
    }
    if (longest === owner) return false
    this.#take(longest, 'latest').refuse()
    return true
  }

  #next(): void {
    while (this.running < this.#options.runningMax && this.waiting > 0) {
      const owner = this.#queues.keys().next().value!
      const job = this.#take(owner, 'first')
      const waitedMs = this.#options.clock.monotonic() - job.sinceMs
      if (waitedMs > this.#options.waitMsMax) job.refuse()
      else job.start()
    }
  }

  /** An owner whose first job was taken goes to the end of the turn. */
  #take(owner: string, which: 'first' | 'latest'): Job {
    const queue = this.#queues.get(owner)!
    const job = which === 'first' ? queue.shift()! : queue.pop()!
    this.waiting--
    if (which === 'first' || queue.length === 0) this.#queues.delete(owner)
    if (which === 'first' && queue.length > 0) this.#queues.set(owner, queue)
    return job
  }
}
