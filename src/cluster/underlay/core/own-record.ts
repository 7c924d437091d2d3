import type { HostId } from '../../../base/ids.ts'
import type { Context } from './context.ts'
import { type Address, type HostRecord, INCARNATION_MAX, type Metadata } from './host.ts'

/** One question to a double, so that an old packet of an earlier life is not taken for one. */
interface Challenge {
  seq: number
  address: Address
  atMs: number
}

/**
 * Our own record, which nobody else changes. Whatever is wrongly said of us is answered by a higher incarnation.
 *
 * A record of our id with another life is the trace of an earlier life of ours, or it belongs to a running process with
 * a copy of our data folder. The first cannot answer a ping, the second does, and then the later life yields.
 */
export class OwnRecord {
  record: HostRecord
  readonly #context: Context
  #challenge: Challenge | null = null
  #challengedAtMs = Number.NEGATIVE_INFINITY

  constructor(record: HostRecord, context: Context) {
    this.record = record
    this.#context = context
    context.gossip.put({ type: 'alive', record })
  }

  get id(): HostId {
    return this.record.id
  }

  change(address: Address, metadata: Metadata): void {
    this.record = { ...this.record, address, metadata }
    this.#raise(this.record.incarnation)
  }

  /**
   * An accusation, or a record of our id that is not ours. False where it is older than what we say now: then whoever
   * said so is told.
   */
  refute(incarnation: number, by: HostId): boolean {
    if (incarnation < this.record.incarnation) return false
    this.#raise(incarnation)
    this.#context.counters.refutations++
    this.#context.health.add(1)
    this.#context.outbox.events.push({ type: 'refuted', incarnation: this.record.incarnation, by })
    return true
  }

  /** Asks who is at an address that claims our id: at most once a second. */
  challenge(address: Address, now: number): void {
    if (address === this.record.address || now - this.#challengedAtMs < 1_000) return
    this.#challengedAtMs = now
    const seq = 1 + this.#context.random.below(2 ** 32 - 1)
    this.#challenge = { seq, address, atMs: now }
    this.#context.outbox.send(address, { type: 'ping', seq, target: this.record.id })
  }

  /** True where this ack proves a double: it answers what was asked within the last 5 s. */
  proves(seq: number, now: number): boolean {
    return this.#challenge !== null && this.#challenge.seq === seq && now - this.#challenge.atMs < 5_000
  }

  #raise(above: number): void {
    const incarnation = Math.min(INCARNATION_MAX, Math.max(above, this.record.incarnation) + 1)
    this.record = { ...this.record, incarnation }
    this.#context.gossip.put({ type: 'alive', record: this.record })
  }
}
