import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logging.ts'
import type { BrokerEvent, EventPlugin } from './contract.ts'
import type { DropCounters } from './drop-counters.ts'
import { EVENTS, type EventLevel, type EventType } from './events.ts'

export interface EventLogOptions {
  logger: Logger
  clock: Clock
  /** The least important level that is written. */
  level: EventLevel
  /** Lines of one type in one period; the others are counted, and their number is written at its end. */
  linesMax: number
  periodMs: number
}

interface Window {
  written: number
  suppressed: number
}

const LEVELS: readonly EventLevel[] = ['debug', 'info', 'warn']

/**
 * Writes events to the log, few of each type, so that a storm of refused clients fills no disk.
 * It needs no event for dropped messages: it reads their counters once a period and writes one line for each that rose.
 */
export class EventLog implements EventPlugin {
  readonly name = 'log'
  readonly types: readonly EventType[]
  readonly #options: EventLogOptions
  readonly #drops: DropCounters
  readonly #windows = new Map<string, Window>()
  readonly #dropsWritten = new Map<string, number>()
  #cancel: (() => void) | null = null

  constructor(options: EventLogOptions, drops: DropCounters) {
    this.#options = options
    this.#drops = drops
    const least = LEVELS.indexOf(options.level)
    const types = Object.keys(EVENTS) as EventType[]
    this.types = types.filter((type) => type !== 'message.dropped' && LEVELS.indexOf(EVENTS[type].level) >= least)
  }

  start(): void {
    this.#cancel = this.#options.clock.after(this.#options.periodMs, () => {
      this.#endPeriod()
      this.start()
    })
  }

  stop(): Promise<void> {
    this.#cancel?.()
    this.#cancel = null
    this.#endPeriod()
    return Promise.resolve()
  }

  report(event: BrokerEvent): void {
    let window = this.#windows.get(event.type)
    if (window === undefined) this.#windows.set(event.type, (window = { written: 0, suppressed: 0 }))
    if (window.written >= this.#options.linesMax) {
      window.suppressed++
      return
    }
    window.written++
    const { type, tenant, clientId, reasonCode, detail } = event
    this.#options.logger[EVENTS[type].level](
      { event: type, tenant, clientId, reasonCode, ...detail },
      EVENTS[type].sentence,
    )
  }

  #endPeriod(): void {
    for (const [type, window] of this.#windows) {
      if (window.suppressed === 0) continue
      this.#options.logger.info({ event: type, count: window.suppressed }, 'More events of this type were not written')
    }
    this.#windows.clear()
    this.#drops.forEach((tenant, reason, total) => {
      const key = `${reason}\0${tenant}`
      const count = total - (this.#dropsWritten.get(key) ?? 0)
      this.#dropsWritten.set(key, total)
      if (count === 0) return
      this.#options.logger.warn({ event: 'message.dropped', tenant, reason, count }, 'Messages were dropped')
    })
  }
}
