import type { Clock } from '../../base/clock.ts'
import { DOUBT_MS, type Doubt } from './doubt.ts'
import type { Hosted } from './hosted.ts'

export interface GroupTimeOptions {
  clock: Clock
  /** All replicas here. */
  replicas(): Iterable<Hosted>
  wake(host: Hosted): void
  doubt: Doubt
  /** Sends what was asked. */
  flush(): void
}

/** Raft's unit of time. */
const TICK_MS = 100

/** Time for the groups: none passes for who is alone, or sleeps. */
export class GroupTime {
  readonly #options: GroupTimeOptions
  #stopTicks: (() => void) | null = null
  #stopDoubt: (() => void) | null = null

  constructor(options: GroupTimeOptions) {
    this.#options = options
  }

  /** This replica was looked at: it may need time. */
  start({ group }: Hosted): void {
    if (group.alone) return
    this.#doubt()
    if (!group.quiescent) this.#stopTicks ??= this.#options.clock.after(TICK_MS, () => this.#tick())
  }

  stop(): void {
    this.#stopTicks?.()
    this.#stopDoubt?.()
  }

  #tick(): void {
    this.#stopTicks = null
    for (const host of this.#options.replicas()) {
      if (host.group.alone || host.group.quiescent) continue
      host.group.step({ type: 'tick' })
      this.#options.wake(host)
    }
  }

  #doubt(): void {
    this.#stopDoubt ??= this.#options.clock.after(DOUBT_MS, () => {
      this.#stopDoubt = null
      const { doubt, replicas, flush } = this.#options
      const any = doubt.ask(replicas())
      flush()
      if (any) this.#doubt()
    })
  }
}
