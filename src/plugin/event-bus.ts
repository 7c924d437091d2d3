import type { Clock } from '../base/clock.ts'
import { BrokerError } from '../base/errors.ts'
import type { TenantId } from '../base/ids.ts'
import type { Logger } from '../base/logging.ts'
import type { QoS } from '../base/message.ts'
import type { MetricSink, MetricSource } from '../base/metrics.ts'
import type { BrokerEvent, EventPlugin } from './contract.ts'
import { DropCounters } from './drop-counters.ts'
import { type DropReason, EVENTS, type EventDetail, type EventType, isEventType } from './events.ts'

export interface EventBusOptions {
  clock: Clock
  logger: Logger
  drops?: DropCounters
}

/** MQTT 5 reason codes of drops; the rest has none of its own. */
const DROP_REASON_CODES: { readonly [Reason in DropReason]?: number } = {
  'too-large': 0x95,
  'not-authorized': 0x87,
  quota: 0x97,
  rate: 0x96,
  overload: 0x97,
  unavailable: 0x88,
  unroutable: 0x83,
}

/**
 * Brings events to whoever wants them.
 *
 * Ask {@link enabled} before making a detail: one lookup, and nothing else happens while nobody listens. A listener
 * that throws is counted and logged; it disturbs neither the broker nor the other listeners.
 */
export class EventBus implements MetricSource {
  readonly drops: DropCounters
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #byType = new Map<EventType, readonly EventPlugin[]>()
  readonly #failures = new Map<string, number>()

  constructor(options: EventBusOptions) {
    this.#clock = options.clock
    this.#logger = options.logger
    this.drops = options.drops ?? new DropCounters()
    for (const type of Object.keys(EVENTS) as EventType[]) this.#byType.set(type, [])
  }

  /** Adds a listener; the returned function takes it away again. */
  add(plugin: EventPlugin): () => void {
    const types = plugin.types ?? Object.keys(EVENTS)
    for (const type of types) {
      if (isEventType(type)) continue
      const message = `Cannot use event plugin "${plugin.name}": it wants events of type "${type}", which do not exist`
      throw new BrokerError('PLUGIN_FAILED', message)
    }
    for (const type of types as EventType[]) this.#byType.set(type, [...this.#byType.get(type)!, plugin])
    return () => {
      for (const [type, plugins] of this.#byType) {
        this.#byType.set(
          type,
          plugins.filter((other) => other !== plugin),
        )
      }
    }
  }

  /** True when somebody listens. */
  enabled(type: EventType): boolean {
    return this.#byType.get(type)!.length > 0
  }

  report<Type extends EventType>(
    type: Type,
    tenant: TenantId,
    clientId: string,
    reasonCode: number,
    detail: EventDetail<Type>,
  ): void {
    const plugins = this.#byType.get(type)!
    if (plugins.length === 0) return
    const event: BrokerEvent = {
      type,
      tenant,
      clientId,
      timeMs: this.#clock.now(),
      reasonCode,
      detail: detail as BrokerEvent['detail'],
    }
    for (const plugin of plugins) this.#give(plugin, event)
  }

  /**
   * Counts messages that are given up, and reports them as `message.dropped` where somebody listens. Every place
   * that gives up a message calls this, so it takes no detail object. `clientId` is the receiver's, or the
   * publisher's where nobody at all gets it.
   */
  drop(reason: DropReason, tenant: TenantId, clientId: string, topic: string, qos: QoS, count = 1): void {
    this.drops.add(tenant, reason, count)
    if (this.#byType.get('message.dropped')!.length === 0) return
    this.report('message.dropped', tenant, clientId, DROP_REASON_CODES[reason] ?? 0, { reason, topic, qos, count })
  }

  collect(sink: MetricSink): void {
    this.drops.collect(sink)
    for (const [plugin, count] of this.#failures) {
      sink.counter('flockmq_event_plugin_failures_total', 'Events that a plugin threw at.', count, { plugin })
    }
  }

  #give(plugin: EventPlugin, event: BrokerEvent): void {
    try {
      plugin.report(event)
    } catch (error) {
      const count = (this.#failures.get(plugin.name) ?? 0) + 1
      this.#failures.set(plugin.name, count)
      // One line for every power of two: a broken plugin throws at every event.
      if ((count & (count - 1)) !== 0) return
      this.#logger.warn({ plugin: plugin.name, type: event.type, count, err: error }, 'An event plugin threw')
    }
  }
}
