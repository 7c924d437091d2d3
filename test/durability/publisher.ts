import type { Packet } from 'mqtt-packet'
import type { Publish } from './checker.ts'
import { Peer, type PeerOptions, payloadOf, reasonOf } from './peer.ts'

export interface PublisherOptions extends PeerOptions {
  topics: readonly string[]
  /** Most publishes without an end at a time. */
  window: number
  /** Of all its publishes. Default either, by chance. */
  qos?: 1 | 2
}

interface Flight {
  packetId: number
  publish: Publish
  /** PUBREC came, PUBCOMP did not. */
  released: boolean
}

/**
 * Publishes with QoS 1 and 2 from a persistent session. After a reconnect everything without an end goes out again in
 * its order [MQTT-4.4.0-1]: PUBLISH with DUP, or PUBREL.
 */
export class Publisher extends Peer {
  /** Publishes that may still begin. */
  budget = 0
  acknowledged = 0
  readonly #options: PublisherOptions
  /** By packet id, in the order of their first sending. */
  readonly #flights = new Map<number, Flight>()
  #number = 0
  #packetId = 0

  constructor(options: PublisherOptions) {
    super(options)
    this.#options = options
  }

  /** Everything that was begun has ended. */
  get idle(): boolean {
    return this.budget === 0 && this.#flights.size === 0
  }

  /** Lets `count` more publishes begin. */
  produce(count: number): void {
    this.budget += count
    this.#pump()
  }

  /** One publish to each topic with each QoS: what comes after all others of its stream. */
  produceLast(): void {
    const { topics, qos } = this.#options
    const all = qos === undefined ? ([1, 2] as const) : [qos]
    for (const topic of topics) for (const each of all) this.#begin(topic, each)
  }

  protected override connected(): void {
    for (const flight of this.#flights.values()) {
      if (flight.released) this.#sendRelease(flight)
      else this.#sendPublish(flight)
    }
    this.#pump()
  }

  protected override forgotten(): void {
    this.#flights.clear()
  }

  protected override received(packet: Packet): void {
    const flight = this.#flights.get(packet.messageId ?? 0)
    if (flight === undefined) {
      // PUBREL may have gone out twice, over two connections, and its PUBCOMP come for the second one only.
      this.notice('protocol', `${packet.cmd} for packet id ${packet.messageId}, which is not in use`)
      return
    }
    const { publish } = flight
    const expected = publish.qos === 1 ? ['puback'] : flight.released ? ['pubrec', 'pubcomp'] : ['pubrec']
    if (!expected.includes(packet.cmd)) {
      this.notice('protocol', `${packet.cmd} for ${publish.id}, ${expected.join(' or ')} was due`)
      return
    }
    if (packet.cmd === 'pubcomp') this.#end(flight)
    else this.#acknowledge(flight, reasonOf(packet))
    this.#pump()
  }

  #acknowledge(flight: Flight, reasonCode: number): void {
    const { publish } = flight
    if (publish.answeredMs === null) {
      publish.answeredMs = this.around.now()
      publish.outcome = reasonCode < 0x80 ? 'ok' : 'failed'
      if (publish.outcome === 'ok') this.acknowledged++
    }
    if (publish.qos === 1 || reasonCode >= 0x80) return this.#end(flight)
    flight.released = true
    this.#sendRelease(flight)
  }

  #end(flight: Flight): void {
    this.#flights.delete(flight.packetId)
  }

  #pump(): void {
    const { topics, window, qos } = this.#options
    const { random } = this.around
    while (this.online && this.budget > 0 && this.#flights.size < window) {
      this.budget--
      this.#begin(topics[random.below(topics.length)]!, qos ?? (random.below(2) === 0 ? 1 : 2))
    }
  }

  #begin(topic: string, qos: 1 | 2): void {
    const number = ++this.#number
    const publish: Publish = {
      id: `${this.clientId}-${number}`,
      publisher: this.clientId,
      ...{ topic, qos, number, sends: 0 },
      sentMs: this.around.now(),
      answeredMs: null,
      outcome: 'unknown',
    }
    this.around.history.publishes.push(publish)
    const flight: Flight = { packetId: this.#freePacketId(), publish, released: false }
    this.#flights.set(flight.packetId, flight)
    if (this.online) this.#sendPublish(flight)
  }

  #sendPublish({ packetId, publish }: Flight): void {
    const { topic, qos, id } = publish
    const dup = publish.sends++ > 0
    this.send({ cmd: 'publish', topic, qos, dup, retain: false, messageId: packetId, payload: payloadOf(id) })
  }

  #sendRelease({ packetId }: Flight): void {
    this.send({ cmd: 'pubrel', messageId: packetId })
  }

  #freePacketId(): number {
    do this.#packetId = (this.#packetId % 65_535) + 1
    while (this.#flights.has(this.#packetId))
    return this.#packetId
  }
}
