import type { Clock, Random } from '../../base/clock.ts'
import { BrokerError, ERRORS } from '../../base/errors.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { QueryOptions } from './client.ts'
import type { Leaders } from './leaders.ts'
import { CUT_OFF_MS, overdueCode } from './overdue.ts'
import type { RangeTransport } from './transport.ts'

/** What queries need of the client they belong to. */
interface QueriesContext {
  locate(key: Uint8Array): RangeDescriptor | undefined
  learn(error: BrokerError | null): boolean
  leaders: Leaders
  now(): number
}

interface Pending<Query, Answer> {
  readonly key: Uint8Array
  readonly query: Query
  readonly linearizable: boolean
  readonly deadlineMs: number
  readonly bornMs: number
  attempt: number
  sentMs: number
  lastError: BrokerError | null
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

/** The reads under way: asked again, elsewhere where a hint says so, until an answer or the deadline. */
export class Queries<Query, Answer> {
  readonly #transport: RangeTransport<unknown, unknown, Query, Answer>
  readonly #clock: Clock
  readonly #random: Random
  readonly #limits: { deadlineMs: number; attemptMs: number; backoffMsMin: number; backoffMsMax: number }
  readonly #context: QueriesContext
  readonly #pending = new Set<Pending<Query, Answer>>()

  constructor(
    options: { transport: RangeTransport<never, unknown, Query, Answer>; clock: Clock; random: Random },
    limits: { deadlineMs: number; attemptMs: number; backoffMsMin: number; backoffMsMax: number },
    context: QueriesContext,
  ) {
    this.#transport = options.transport as RangeTransport<unknown, unknown, Query, Answer>
    this.#clock = options.clock
    this.#random = options.random
    this.#limits = limits
    this.#context = context
  }

  ask(key: Uint8Array, query: Query, options?: QueryOptions): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const pending: Pending<Query, Answer> = {
        ...{ key, query, resolve, reject, attempt: 0, sentMs: 0, lastError: null },
        bornMs: this.#context.now(),
        linearizable: options?.linearizable ?? true,
        deadlineMs: this.#context.now() + (options?.deadlineMs ?? this.#limits.deadlineMs),
      }
      this.#pending.add(pending)
      this.#send(pending)
    })
  }

  /** Looks at deadlines and silence; true while any query is under way. */
  tick(nowMs: number): boolean {
    for (const pending of [...this.#pending]) {
      const range = this.#context.locate(pending.key)
      const isCutOff = range !== undefined && this.isCutOff(range, nowMs - pending.bornMs)
      if (isCutOff || pending.deadlineMs <= nowMs) {
        const message = `Cannot read in time: ${pending.lastError?.message ?? 'no answer'}`
        const code = isCutOff ? 'NO_QUORUM' : overdueCode(pending.lastError)
        this.#reject(pending, new BrokerError(code, message, { cause: pending.lastError }))
      } else if (nowMs - pending.sentMs >= this.#limits.attemptMs) {
        this.#context.learn(null)
        if (range !== undefined) this.#context.leaders.doubt(range, null)
        this.#send(pending)
      }
    }
    return this.#pending.size > 0
  }

  /** The range has been silent for so long, and no majority of it can be reached. */
  isCutOff(range: RangeDescriptor, silentMs: number): boolean {
    return silentMs >= CUT_OFF_MS && this.#transport.reachesMajority?.(range) === false
  }

  close(error: Error): void {
    for (const pending of [...this.#pending]) this.#reject(pending, error)
  }

  #send(pending: Pending<Query, Answer>): void {
    const attempt = ++pending.attempt
    pending.sentMs = this.#context.now()
    const range = this.#context.locate(pending.key)
    if (range === undefined) {
      this.#failed(pending, new BrokerError('RANGE_NOT_FOUND', 'Cannot read: no range that holds the key is known'))
      return
    }
    const { key, query, linearizable } = pending
    const request = { range: range.id, epochVersion: range.epoch.version, key, query, linearizable }
    this.#transport.query(this.#context.leaders.of(range), request, (error, answer) => {
      if (!this.#pending.has(pending)) return
      if (error === null) {
        this.#pending.delete(pending)
        pending.resolve(answer as Answer)
      } else if (attempt === pending.attempt) this.#failed(pending, error)
    })
  }

  #failed(pending: Pending<Query, Answer>, error: BrokerError): void {
    if (ERRORS[error.code].retry === 'never') {
      this.#reject(pending, error)
      return
    }
    pending.lastError = error
    const learned = this.#context.learn(error)
    const range = this.#context.locate(pending.key)
    if (!learned && range !== undefined) this.#context.leaders.doubt(range, error)
    if (learned && pending.attempt <= 3) {
      this.#send(pending)
      return
    }
    const full = Math.min(this.#limits.backoffMsMax, this.#limits.backoffMsMin * 2 ** Math.min(pending.attempt, 20))
    const attempt = pending.attempt
    this.#clock.after(full * (0.5 + this.#random.float() / 2), () => {
      if (this.#pending.has(pending) && attempt === pending.attempt) this.#send(pending)
    })
  }

  #reject(pending: Pending<Query, Answer>, error: Error): void {
    this.#pending.delete(pending)
    pending.reject(error)
  }
}
