import type { Clock } from '../base/clock.ts'
import type { TenantId } from '../base/ids.ts'
import type { Logger } from '../base/logging.ts'
import type { MetricSink, MetricSource } from '../base/metrics.ts'
import { CircuitBreaker } from './circuit-breaker.ts'
import type { EventBus } from './event-bus.ts'

export interface GuardOptions {
  clock: Clock
  logger: Logger
  events: EventBus
  /** How long an answer may take. */
  deadlineMs?: number
  /** Calls of one plugin that may be without an answer. */
  pendingMax?: number
  /** Failures in a row after which the plugin is left alone for {@link GuardOptions.openMs}. */
  failuresMax?: number
  openMs?: number
}

export type Failure = 'throw' | 'timeout' | 'shape' | 'overload' | 'circuit-open'

/** On whose behalf a plugin is asked, for the event that tells of a failure. */
export interface Asker {
  tenant: TenantId
  clientId: string
}

const DEADLINE_MS = 5_000
const PENDING_MAX = 10_000
const FAILURES_MAX = 20
const OPEN_MS = 5_000

/**
 * Stands between the broker and somebody else's code: a throw, a rejection, a late answer or one of the wrong shape
 * becomes the answer that the caller names for a failure. Nothing gets past it, and nothing waits longer than the deadline.
 */
export class PluginGuard implements MetricSource {
  readonly breaker: CircuitBreaker
  readonly #plugin: string
  readonly #options: GuardOptions
  readonly #failures = new Map<Failure, number>()
  #callsTotal = 0
  #pending = 0

  constructor(plugin: string, options: GuardOptions) {
    this.#plugin = plugin
    this.#options = options
    this.breaker = new CircuitBreaker(options.failuresMax ?? FAILURES_MAX, options.openMs ?? OPEN_MS)
  }

  /** The call's answer if it is given at once and `valid`, a promise of it if it is not given at once. */
  ask<Answer>(
    call: string,
    asker: Asker,
    ask: () => Answer | PromiseLike<Answer>,
    valid: (answer: Answer) => boolean,
    onFailure: (failure: Failure) => Answer,
  ): Answer | Promise<Answer> {
    const { clock } = this.#options
    this.#callsTotal++
    const fail = (failure: Failure, error?: unknown): Answer => {
      this.#count(failure, call, asker, error)
      return onFailure(failure)
    }
    if (this.#pending >= (this.#options.pendingMax ?? PENDING_MAX)) return fail('overload')
    if (!this.breaker.allows(clock.monotonic())) return fail('circuit-open')
    try {
      const answer = ask()
      if (isPromise(answer)) return this.#wait(answer, valid, fail)
      if (!valid(answer)) return fail('shape')
      this.breaker.succeeded()
      return answer
    } catch (error) {
      return fail('throw', error)
    }
  }

  /** The same for what must be answered at once. */
  askSync<Answer>(call: string, asker: Asker, ask: () => Answer, onFailure: Answer): Answer {
    this.#callsTotal++
    try {
      return ask()
    } catch (error) {
      this.#count('throw', call, asker, error)
      return onFailure
    }
  }

  collect(sink: MetricSink): void {
    const plugin = this.#plugin
    sink.counter('flockmq_plugin_calls_total', 'Questions to plugins.', this.#callsTotal, { plugin })
    sink.gauge('flockmq_plugin_pending', 'Questions to plugins without an answer yet.', this.#pending, { plugin })
    sink.gauge('flockmq_plugin_circuit_open', '1 while a plugin is left alone.', this.breaker.open ? 1 : 0, { plugin })
    for (const [reason, count] of this.#failures) {
      sink.counter('flockmq_plugin_failures_total', 'Questions without a valid answer.', count, { plugin, reason })
    }
  }

  #wait<Answer>(
    promise: PromiseLike<Answer>,
    valid: (answer: Answer) => boolean,
    fail: (failure: Failure, error?: unknown) => Answer,
  ): Promise<Answer> {
    this.#pending++
    return new Promise((resolve) => {
      let settled = false
      const settle = (answer: () => Answer): void => {
        if (settled) return
        settled = true
        this.#pending--
        cancel()
        resolve(answer())
      }
      const deadlineMs = this.#options.deadlineMs ?? DEADLINE_MS
      const cancel = this.#options.clock.after(deadlineMs, () => settle(() => fail('timeout')))
      promise.then(
        (answer) =>
          settle(() => {
            if (!valid(answer)) return fail('shape')
            this.breaker.succeeded()
            return answer
          }),
        (error: unknown) => settle(() => fail('throw', error)),
      )
    })
  }

  #count(reason: Failure, call: string, asker: Asker, error: unknown): void {
    const { clock, events, logger } = this.#options
    const count = (this.#failures.get(reason) ?? 0) + 1
    this.#failures.set(reason, count)
    if (reason === 'throw' || reason === 'timeout' || reason === 'shape') this.breaker.failed(clock.monotonic())
    const plugin = this.#plugin
    if (events.enabled('plugin.failed')) {
      const message = error instanceof Error ? error.message : ''
      events.report('plugin.failed', asker.tenant, asker.clientId, 0x88, { reason, plugin, call, message })
    }
    // The stack is for whoever wrote the plugin: once for every power of two.
    if (error !== undefined && (count & (count - 1)) === 0) {
      logger.warn({ plugin, call, count, err: error }, 'A plugin threw')
    }
  }
}

export function isPromise<Value>(value: Value | PromiseLike<Value>): value is PromiseLike<Value> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
