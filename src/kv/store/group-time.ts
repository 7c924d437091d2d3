import type { Clock } from '../../base/clock.ts'
import { Audit, type AuditOptions } from './audit.ts'
import { Doubt } from './doubt.ts'
import type { Hosted } from './hosted.ts'

export interface GroupTimeOptions extends AuditOptions {
  clock: Clock
  /** All replicas here. */
  replicas(): Iterable<Hosted>
  /** Those with a state. */
  hosts(): Parameters<Audit['round']>[0]
  wake(host: Hosted): void
  /** Sends what was asked. */
  flush(): void
}

/** Raft's unit of time. */
const TICK_MS = 100
/** How often what is slow and rare is looked after, in ms. */
const ROUND_MS = 10_000

/** Time for the groups: none passes for who is alone, or sleeps. */
export class GroupTime {
  readonly #options: GroupTimeOptions
  #stopTicks: (() => void) | null = null
  readonly #doubt: Doubt
  readonly #audit: Audit
  #stopRound: (() => void) | null = null

  constructor(options: GroupTimeOptions) {
    this.#options = options
    this.#doubt = new Doubt(options)
    this.#audit = new Audit(options)
  }

  /** This replica was looked at: it may need time. */
  start({ group }: Hosted): void {
    if (group.alone) return
    this.#round()
    if (!group.quiescent) this.#stopTicks ??= this.#options.clock.after(TICK_MS, () => this.#tick())
  }

  stop(): void {
    this.#stopTicks?.()
    this.#stopRound?.()
  }

  #tick(): void {
    this.#stopTicks = null
    for (const host of this.#options.replicas()) {
      if (host.group.alone || host.group.quiescent) continue
      host.group.step({ type: 'tick' })
      this.#options.wake(host)
    }
  }

  #round(): void {
    this.#stopRound ??= this.#options.clock.after(ROUND_MS, () => {
      this.#stopRound = null
      const { replicas, hosts, flush } = this.#options
      this.#audit.round(hosts())
      const any = this.#doubt.ask(replicas())
      flush()
      if (any) this.#round()
    })
  }
}
