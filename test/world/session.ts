import type { Ledger, Publish } from './ledger.ts'
import { HOLDS } from './promises.ts'

/** A publish of this client that is not done: its packet id, and whether its PUBREC came. */
export interface Outgoing {
  id: number
  publish: Publish
  state: 'sent' | 'recorded'
}

/** What a client sees of one message that came. */
export interface Incoming {
  id: number
  qos: number
  dup: boolean
  retain: boolean
  publish: Publish
}

interface Seen {
  id: number
  /** The connection on which it came last. */
  link: number
  count: number
}

/**
 * What a client keeps of a session, as MQTT 4.1 has it, and what it has seen in it: here it shows whether messages come
 * once, in order, under their packet ids.
 */
export class SessionState {
  readonly outgoing: Outgoing[] = []
  /** QoS 2 between PUBLISH and PUBREL, by packet id. */
  readonly incoming = new Map<number, Publish>()
  /** QoS 1 that came and was not acknowledged. */
  readonly unacknowledged = new Map<number, Publish>()
  readonly #seen = new Map<number, Seen>()
  readonly #last = new Map<string, number>()
  /** The last message that came as such, by topic. */
  readonly #live = new Map<string, Publish>()
  readonly #name: string
  readonly #ledger: Ledger
  #lastId = 0

  constructor(name: string, ledger: Ledger) {
    this.#name = name
    this.#ledger = ledger
  }

  /** Its messages so far, by number. */
  get seen(): ReadonlyMap<number, { count: number }> {
    return this.#seen
  }

  nextId(): number {
    do this.#lastId = (this.#lastId % 60_000) + 1
    while (this.outgoing.some(({ id }) => id === this.#lastId))
    return this.#lastId
  }

  /**
   * A message came. `persistent`: the session outlives connections. `shared`: by a group, whose messages come and go
   * between members. `sinceMs`: when it subscribed to it.
   */
  received(message: Incoming, link: number, how: { persistent: boolean; shared: boolean; sinceMs: number }): void {
    const { persistent, shared, sinceMs } = how
    const { id, qos, publish, dup } = message
    if (qos > 0) this.#checkId(message)
    if (qos === 2) {
      // A repetition within the exchange is no message.
      if (this.incoming.has(id)) return
      this.incoming.set(id, publish)
    }
    // A group's message that was not acknowledged goes to others, and its id with it.
    if (qos === 1 && !shared) this.unacknowledged.set(id, publish)
    // What is retained is there beside the messages that come.
    if (message.retain) return this.#checkRetained(publish)
    this.#live.set(publish.topic, publish)
    const before = this.#seen.get(publish.number)
    if (before !== undefined && !shared) {
      if (qos === 2) this.#fail(`M2: message ${publish.number} comes twice at QoS 2`)
      // Who publishes again makes a second message of it.
      const once = publish.attempts === 1 && persistent && qos === 1
      if (once && before.link === link) this.#fail(`M9: message ${publish.number} comes again on one connection`)
      if (once && (!dup || before.id !== id)) {
        this.#fail(`M9: message ${publish.number} came as ${before.id} and again as ${id}, DUP ${dup}`)
      }
    }
    // What was sent before there was a subscription comes as it was sent again.
    const first = publish.attempts === 1 || publish.sentMs > sinceMs
    if (before === undefined && !shared && first) this.#checkOrder(publish)
    this.#note(message, link)
  }

  /** M5: what is retained and older than what came is not sent any more. */
  #checkRetained({ number, topic, answeredMs }: Publish): void {
    const live = this.#live.get(topic)
    if (live === undefined || this.#ledger.skewed || answeredMs > live.sentMs) return
    this.#fail(`M5: message ${number}, retained on ${topic}, comes after ${live.number}, which is newer`)
  }

  #note({ id, publish }: Incoming, link: number): void {
    const count = (this.#seen.get(publish.number)?.count ?? 0) + 1
    this.#seen.set(publish.number, { id, link, count })
  }

  #checkId({ id, publish, qos }: Incoming): void {
    const other = this.incoming.get(id) ?? this.unacknowledged.get(id)
    if (other === undefined) return
    if (other !== publish) {
      const as = this.incoming.has(id) ? 2 : 1
      this.#fail(`M9: packet id ${id} of message ${other.number} at QoS ${as} is used for ${publish.number}`)
    }
    if (qos === 1 && this.incoming.has(id)) this.#fail(`M9: message ${publish.number} changes its QoS`)
  }

  #checkOrder({ publisher, topic, qos, number, will }: Publish): void {
    if (will) return
    const stream = `${publisher} ${topic} ${qos}`
    const last = this.#last.get(stream)
    if (last !== undefined && last > number) {
      if (!HOLDS.orderWhenMoved && this.#moved(number, last)) return this.#ledger.noteLate()
      this.#fail(`M3: message ${number} of ${publisher} on ${topic}, QoS ${qos}, comes after ${last}`)
    }
    this.#last.set(stream, number)
  }

  /** Its publisher sent it to another node than the later one. */
  #moved(number: number, last: number): boolean {
    const { publishes } = this.#ledger
    const [earlier, later] = [publishes[number]!, publishes[last]!]
    return [...earlier.nodes].some((node) => !later.nodes.has(node))
  }

  #fail(reason: string): never {
    return this.#ledger.fail(`${reason} (${this.#name})`)
  }
}
