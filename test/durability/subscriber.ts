import type { IPublishPacket, Packet } from 'mqtt-packet'
import { parseSharedFilter } from '../../src/base/topic.ts'
import type { Session } from './checker.ts'
import { idOf, Peer, type PeerOptions, reasonOf } from './peer.ts'

export interface SubscriberOptions extends PeerOptions {
  filter: string
  qos: 1 | 2
  /** Answers wait up to this long, so that a kill finds messages on every step of their way, ms. */
  ackMsMax: number
  /** A SUBSCRIBE may be refused, as by a node without a majority: it is tried again with the next connection. */
  refusable?: boolean
}

const SUBSCRIBE_ID = 1

/** Takes messages into a persistent session, and keeps what a QoS 2 receiver must keep over connections. */
export class Subscriber extends Peer {
  readonly #options: SubscriberOptions
  /** QoS 2 packet ids before PUBREL, with the message that each came with [MQTT-4.3.3-10]. */
  readonly #received = new Map<number, string>()
  /** Ids of this connection that the broker counts against Receive Maximum. */
  readonly #open = new Set<number>()
  #answers: Packet[] = []
  #subscribed = false
  /** Ids of all messages that came. */
  readonly got = new Set<string>()

  constructor(options: SubscriberOptions) {
    super(options)
    this.#options = options
  }

  /** SUBACK came. */
  get subscribed(): boolean {
    return this.#subscribed
  }

  /** Under which its deliveries are kept. */
  protected get account(): string {
    return this.clientId
  }

  /** Of its account, beyond the SUBACK. */
  protected get terms(): Pick<Session, 'dueMs'> {
    return {}
  }

  protected override connected(): void {
    this.#open.clear()
    this.#answers = []
    if (this.#subscribed) return
    const { filter, qos } = this.#options
    this.send({ cmd: 'subscribe', messageId: SUBSCRIBE_ID, subscriptions: [{ topic: filter, qos }] })
  }

  protected override forgotten(): void {
    this.#received.clear()
    this.#subscribed = false
  }

  protected override received(packet: Packet): void {
    switch (packet.cmd) {
      case 'suback':
        return this.#admit(packet.granted as number[])
      case 'publish':
        return this.#take(packet)
      case 'pubrel':
        this.#received.delete(packet.messageId!)
        return this.#answer({ cmd: 'pubcomp', messageId: packet.messageId! })
      default:
        this.notice('protocol', `an unasked ${packet.cmd}, reason ${reasonOf(packet)}`)
    }
  }

  #admit(granted: readonly number[]): void {
    const { filter, qos, refusable } = this.#options
    if (refusable && granted[0]! >= 0x80) return this.drop()
    if (granted[0] !== qos) return this.notice('protocol', `"${filter}" was granted ${granted[0]}`)
    this.#subscribed = true
    const { sessions } = this.around.history
    // Who lost its session keeps its account: what it was promised before is due all the same.
    if (parseSharedFilter(filter) !== null || sessions.some(({ name }) => name === this.account)) return
    sessions.push({ name: this.account, filter, sinceMs: this.around.now(), ...this.terms })
  }

  #take(packet: IPublishPacket): void {
    const { qos, topic, dup, messageId: packetId = 0 } = packet
    const id = idOf(packet)
    if (qos > 0) this.#count(packetId, id)
    const known = qos === 2 ? this.#received.get(packetId) : undefined
    if (known !== undefined && known !== id) {
      this.notice('protocol', `packet id ${packetId} of ${known} came with ${id} before its PUBREL`)
    } else if (known !== undefined) {
      if (!dup) this.notice('protocol', `${id} was sent again without DUP, packet id ${packetId}`)
    } else {
      if (qos === 2) this.#received.set(packetId, id)
      this.got.add(id)
      const { account, connection } = this
      const atMs = this.around.now()
      this.around.history.deliveries.push({ session: account, id, topic, qos, dup, packetId, connection, atMs })
    }
    if (qos > 0) this.#answer({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId: packetId })
  }

  /** One message a packet id, and no more of them than this client takes at a time [MQTT-3.3.4-9]. */
  #count(packetId: number, id: string): void {
    if (this.#open.has(packetId)) this.notice('protocol', `${id} came with packet id ${packetId}, which is in use`)
    this.#open.add(packetId)
    if (this.#open.size > this.receiveMaximum) {
      this.notice('protocol', `${id} is one more than the Receive Maximum of ${this.receiveMaximum}`)
    }
  }

  /** Answers leave in the order of what they answer [MQTT-4.6.0-2]. */
  #answer(packet: Packet): void {
    this.#answers.push(packet)
    if (this.#answers.length > 1) return
    const { connection } = this
    this.around.later(this.around.random.float() * this.#options.ackMsMax, () => {
      if (this.connection !== connection || !this.online) return
      for (const answer of this.#answers.splice(0)) {
        if (answer.cmd !== 'pubrec') this.#open.delete(answer.messageId!)
        this.send(answer)
      }
    })
  }
}
