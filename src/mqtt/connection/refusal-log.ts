import type { Clock } from '../../base/clock.ts'
import type { TenantId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'

/** Least time between two lines, in milliseconds. */
const QUIET_MS = 1_000

/** Publishes that were not accepted: one line a second says how many, since an overloaded node refuses thousands. */
export class RefusalLog {
  readonly #log: Logger
  readonly #clock: Clock
  #quietUntilMs = Number.NEGATIVE_INFINITY
  #unsaid = 0

  constructor(log: Logger, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  note(error: Error, tenant: TenantId): void {
    const nowMs = this.#clock.monotonic()
    if (nowMs < this.#quietUntilMs) {
      this.#unsaid++
      return
    }
    const more = this.#unsaid === 0 ? {} : { unsaid: this.#unsaid }
    this.#log.warn({ err: error, tenant, ...more }, 'A publish was not accepted')
    this.#quietUntilMs = nowMs + QUIET_MS
    this.#unsaid = 0
  }
}
