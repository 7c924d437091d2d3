import type { IConnectPacket, Packet } from 'mqtt-packet'
import type { Publish, Session } from '../durability/checker.ts'
import { idOf, Peer, type PeerOptions, payloadOf } from '../durability/peer.ts'
import { Subscriber, type SubscriberOptions } from '../durability/subscriber.ts'

/** A message on a connection that its client had left before for another one. */
export interface Overheard {
  session: string
  id: string
  /** CONNACK of the connection that counts. */
  sinceMs: number
  atMs: number
}

export interface ListenerOptions extends SubscriberOptions {
  overheard: Overheard[]
}

/** A persistent session that changes nodes, and at times leaves a connection open behind it. */
export class Listener extends Subscriber {
  readonly #overheard: Overheard[]
  #sinceMs = Number.POSITIVE_INFINITY

  constructor(options: ListenerOptions) {
    super(options)
    this.#overheard = options.overheard
  }

  protected override connected(): void {
    this.#sinceMs = this.around.now()
    super.connected()
  }

  protected override disconnected(): void {
    this.#sinceMs = Number.POSITIVE_INFINITY
  }

  protected override overheard(packet: Packet): void {
    if (packet.cmd !== 'publish') return
    const { clientId: session } = this
    this.#overheard.push({ session, id: idOf(packet), sinceMs: this.#sinceMs, atMs: this.around.now() })
  }
}

/**
 * A subscriber whose session ends with its connection: each connection has an account of its own, and what was sent
 * while something failed is not due to it.
 */
export class Passer extends Subscriber {
  protected override get account(): string {
    return `${this.clientId}/${this.connection}`
  }

  protected override get terms(): Pick<Session, 'dueMs'> {
    return { dueMs: Number.POSITIVE_INFINITY }
  }

  /** From now on everything is due, for as long as the connection lasts. */
  expect(): void {
    this.#setDue(this.around.now())
  }

  protected override disconnected(): void {
    this.#setDue(Number.POSITIVE_INFINITY)
  }

  #setDue(fromMs: number): void {
    const session = this.around.history.sessions.find(({ name }) => name === this.account)
    if (session !== undefined) session.dueMs = fromMs
  }
}

/** Its session ends with its connection, and so does its life: each connection has a will, which the watcher is to get. */
export class Mortal extends Peer {
  #will: Publish | null = null
  #polite = false
  /** Ids of wills of connections that ended with a DISCONNECT while nothing failed. */
  readonly cancelled = new Set<string>()
  /** Ids of all wills. */
  readonly wills: string[] = []

  constructor(options: PeerOptions) {
    super({ ...options, transient: true })
  }

  protected override get introduction(): Partial<IConnectPacket> {
    const number = this.connection
    const id = `${this.clientId}-${number}`
    const topic = `w/${id}`
    this.#will = { id, publisher: this.clientId, topic, qos: 2, number, sends: 1, sentMs: this.around.now() } as Publish
    Object.assign(this.#will, { answeredMs: null, outcome: 'unknown' })
    this.wills.push(id)
    this.around.history.publishes.push(this.#will)
    return { will: { topic, payload: Buffer.from(payloadOf(id)), qos: 2, retain: false } }
  }

  /** Says good-bye while nothing fails: there is no will. */
  override part(): void {
    if (this.online) this.cancelled.add(this.#will!.id)
    this.#polite = true
    super.part()
  }

  /** Says good-bye; whether the node hears it, nobody knows. */
  quit(): void {
    this.#polite = true
    this.leave(true)
  }

  protected override connected(): void {
    this.#polite = false
  }

  /** Accepted once, and not said good-bye: the will is due. */
  protected override disconnected(): void {
    if (this.#polite) return
    const nowMs = this.around.now()
    Object.assign(this.#will!, { outcome: 'ok', sentMs: nowMs, answeredMs: nowMs })
  }

  protected override received(packet: Packet): void {
    this.notice('protocol', `an unasked ${packet.cmd}`)
  }

  protected override forgotten(): void {}
}
