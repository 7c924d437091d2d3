import type { BrokerError } from '../../base/errors.ts'
import type { StoreOptions } from './options.ts'
import { judgePressure, PRESSURE_LIMITS } from './pressure.ts'

const WATCH_MS = 1_000

/** Looks at the disk once a second: whether there is room for more. */
export class SpaceWatch {
  /** Why nothing that takes space is accepted; null while it is. */
  refusal: BrokerError | null = null
  readonly #options: StoreOptions
  #stopTimer: (() => void) | null = null

  constructor(options: StoreOptions) {
    this.#options = options
    if (options.engine.stats().pressure !== undefined) this.#look()
  }

  stop(): void {
    this.#stopTimer?.()
  }

  #look(): void {
    const { engine, pressureLimits, log, clock } = this.#options
    const before = this.refusal
    this.refusal = judgePressure(engine.stats(), before, { ...PRESSURE_LIMITS, ...pressureLimits })
    if (this.refusal !== null && before === null) log.warn({ err: this.refusal }, 'Little space')
    if (this.refusal === null && before !== null) log.info({}, 'The disk has room again')
    this.#stopTimer = clock.after(WATCH_MS, () => this.#look())
  }
}
