import type { UnderlayCounters } from './counters.ts'
import type { Answer, Datagram, Exchange, SwimEvent } from './effects.ts'
import type { GossipQueue } from './gossip-queue.ts'
import type { Address } from './host.ts'
import type { Message } from './message.ts'
import { encodeMessage, joinPacket } from './wire.ts'

/** What waits for the host to be sent and told. Every datagram is filled up with gossip. */
export class Outbox {
  datagrams: Datagram[] = []
  exchanges: Exchange[] = []
  answers: Answer[] = []
  events: SwimEvent[] = []
  /** How often one rumour is told: follows the number of hosts. */
  retransmits = 0
  readonly #header: Uint8Array
  readonly #bytesMax: number
  readonly #gossip: GossipQueue
  readonly #counters: UnderlayCounters

  constructor(header: Uint8Array, bytesMax: number, gossip: GossipQueue, counters: UnderlayCounters) {
    this.#header = header
    this.#bytesMax = bytesMax
    this.#gossip = gossip
    this.#counters = counters
  }

  /** True where a datagram can hold it. */
  fits(message: Uint8Array): boolean {
    return this.#header.length + message.length <= this.#bytesMax
  }

  /** As one datagram, or several where one does not hold them all. */
  send(to: Address, ...messages: (Message | Uint8Array)[]): void {
    let packed: Uint8Array[] = []
    let room = this.#bytesMax - this.#header.length
    for (const message of messages) {
      const bytes = message instanceof Uint8Array ? message : encodeMessage(message)
      if (bytes.length > room && packed.length > 0) {
        this.#push(to, packed)
        packed = []
        room = this.#bytesMax - this.#header.length
      }
      packed.push(bytes)
      room -= bytes.length
    }
    for (const rumour of this.#gossip.take(room, this.retransmits)) {
      // What is said anyway is not said twice.
      if (!packed.some((message) => equalBytes(message, rumour))) packed.push(rumour)
    }
    if (packed.length > 0) this.#push(to, packed)
  }

  /** Nothing but gossip; false where there is none. */
  sendGossip(to: Address): boolean {
    const packed = this.#gossip.take(this.#bytesMax - this.#header.length, this.retransmits)
    if (packed.length === 0) return false
    this.#push(to, packed)
    return true
  }

  /** Opens an exchange over TCP, and gives its number. */
  exchange(to: Address, timeoutMs: number, messages: readonly (Message | Uint8Array)[], answered = true): number {
    // Never twice, also where this machine followed another one of the same host.
    const exchange = ++this.#counters.exchangesOpened
    const bytes = this.#frame(messages)
    this.exchanges.push({ exchange, to, bytes, answered, timeoutMs })
    this.#counters.exchangeBytesSent += bytes.length
    return exchange
  }

  answer(request: number, messages: readonly Message[]): void {
    const bytes = messages.length === 0 ? null : this.#frame(messages)
    this.answers.push({ request, bytes })
    this.#counters.exchangeBytesSent += bytes?.length ?? 0
  }

  #frame(messages: readonly (Message | Uint8Array)[]): Uint8Array {
    return joinPacket(
      this.#header,
      messages.map((message) => (message instanceof Uint8Array ? message : encodeMessage(message))),
    )
  }

  #push(to: Address, messages: readonly Uint8Array[]): void {
    const bytes = joinPacket(this.#header, messages)
    this.datagrams.push({ to, bytes })
    this.#counters.datagramsSent++
    this.#counters.datagramBytesSent += bytes.length
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}
