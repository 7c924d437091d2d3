import type {
  IConnackPacket,
  IConnectPacket,
  IPublishPacket,
  ISubackPacket,
  IUnsubackPacket,
  Packet,
  QoS,
} from 'mqtt-packet'
import { GROUP, type Ledger, matches, type Publish, payloadOf } from './ledger.ts'
import { Link } from './link.ts'
import type { Machine } from './node.ts'
import { type Outgoing, SessionState } from './session.ts'
import type { BrokerWorld } from './world.ts'

export interface DeviceOptions {
  tenant: string
  id: string
  version: 4 | 5
  /** Its session outlives its connections. */
  persistent: boolean
  /** Messages in flight that it takes. */
  receiveMaximum: number
  keepAliveSeconds: number
}

/** A filter of the session, as the broker confirmed it. */
export interface Subscription {
  readonly filter: string
  qos: QoS
  /** When its SUBACK came; infinite before. */
  sinceMs: number
  /** When an UNSUBSCRIBE went out, or the session was given up: nothing can be asked of it from then on. */
  untilMs: number
}

export interface WillPlan {
  publish: Publish
  delaySeconds: number
}

/** Publishes under way at a time. */
const OUTGOING_MAX = 12

/**
 * A client that keeps to MQTT, whatever happens to its connections: it sends again what was not answered, acknowledges
 * what comes, and notices what the broker may not do.
 */
export class Device {
  readonly it: BrokerWorld
  readonly ledger: Ledger
  readonly tenant: string
  readonly id: string
  readonly version: 4 | 5
  readonly persistent: boolean
  readonly receiveMaximum: number
  readonly keepAliveSeconds: number
  session: SessionState
  /** All sessions that it had, the last one last. */
  readonly sessions: SessionState[]
  /** Of the session of now, and those that ended. */
  readonly subscriptions: Subscription[] = []
  readonly links: Link[] = []
  readonly wills = new Map<Link, WillPlan>()
  /** The last connection that was accepted, as its client knows. */
  current: Link | null = null
  /** The last one whose CONNACK left the broker. */
  #owner: Link | null = null
  /** The broker has a session that this client has not given up. */
  #established = false
  #pings: () => void = () => {}
  readonly #pending = new Map<number, { link: Link; filter: string; qos: QoS | null }>()
  onConnected: (link: Link) => void = () => {}
  onLost: (link: Link) => void = () => {}
  onMessage: (publish: Publish, packet: IPublishPacket, link: Link) => void = () => {}

  constructor(it: BrokerWorld, ledger: Ledger, options: DeviceOptions) {
    const { tenant, id, version, persistent, receiveMaximum, keepAliveSeconds } = options
    this.it = it
    this.ledger = ledger
    this.tenant = tenant
    this.id = id
    this.version = version
    this.persistent = persistent
    this.receiveMaximum = version === 5 ? receiveMaximum : 65_535
    this.keepAliveSeconds = keepAliveSeconds
    this.session = new SessionState(this.name, ledger)
    this.sessions = [this.session]
  }

  get name(): string {
    return `${this.tenant}/${this.id}`
  }

  get connected(): boolean {
    return this.current?.state === 'open'
  }

  /** A SUBSCRIBE or UNSUBSCRIBE of its own is not answered. */
  get changing(): boolean {
    return this.#pending.size > 0
  }

  /** Nothing of its own is under way. */
  get idle(): boolean {
    const { outgoing, incoming, unacknowledged } = this.session
    return outgoing.length + incoming.size + unacknowledged.size + this.#pending.size === 0
  }

  fail(reason: string): never {
    return this.ledger.fail(reason)
  }

  // --- what it does

  connect(machine: Machine, { cleanStart = false, will }: { cleanStart?: boolean; will?: WillPlan } = {}): Link | null {
    const link = new Link(this, machine, this.links.length + 1, cleanStart)
    this.links.push(link)
    if (cleanStart) this.#giveUp()
    if (will !== undefined) this.wills.set(link, will)
    const packet: IConnectPacket = {
      ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: this.version, clientId: this.id },
      // Before version 5 a session that ends with its connection is a clean one.
      clean: cleanStart || (this.version === 4 && !this.persistent),
      keepalive: this.keepAliveSeconds,
      username: `${this.tenant}/${this.id}`,
      ...(this.version === 5
        ? { properties: { sessionExpiryInterval: this.persistent ? 7_200 : 0, receiveMaximum: this.receiveMaximum } }
        : {}),
      ...(will === undefined ? {} : { will: willOf(will, this.version) }),
    }
    return link.open(packet) ? link : null
  }

  /** False where too much is under way. */
  publish(fields: Pick<Publish, 'topic' | 'qos' | 'retain'>): boolean {
    const { outgoing } = this.session
    if (!this.connected || outgoing.length >= OUTGOING_MAX) return false
    const publish = this.ledger.add({ ...fields, tenant: this.tenant, publisher: this.name, will: false })
    const id = fields.qos === 0 ? 0 : this.session.nextId()
    if (fields.qos > 0) outgoing.push({ id, publish, state: 'sent' })
    else publish.outcome = 'unknown'
    this.#send({ id, publish, state: 'sent' }, false)
    return true
  }

  /** @param retainHandling 0: what is retained comes */
  subscribe(filter: string, qos: QoS, retainHandling = 0): void {
    const { current } = this
    if (current === null || !this.connected) return
    const id = this.session.nextId()
    this.#pending.set(id, { link: current, filter, qos })
    const options = this.version === 5 ? { nl: false, rap: false, rh: retainHandling } : {}
    const subscriptions = [{ topic: filter, qos, ...options }]
    current.send({ cmd: 'subscribe', messageId: id, subscriptions } as Packet)
  }

  unsubscribe(filter: string): void {
    const { current } = this
    if (current === null || !this.connected) return
    for (const each of this.subscriptions) if (each.filter === filter) this.#over(each)
    const id = this.session.nextId()
    this.#pending.set(id, { link: current, filter, qos: null })
    current.send({ cmd: 'unsubscribe', messageId: id, unsubscriptions: [filter] } as Packet)
  }

  /** The filters that it has, or may have. */
  get filters(): string[] {
    return this.subscriptions.filter(({ untilMs }) => untilMs === Number.POSITIVE_INFINITY).map(({ filter }) => filter)
  }

  // --- from a connection

  /** Its CONNACK left the broker: from now on nobody else acts for this client (M4). */
  owned(link: Link): void {
    this.#owner = link
  }

  acts(link: Link, packet: Packet): void {
    const will = this.wills.get(link)?.publish
    if (will !== undefined && will.leftMs < this.ledger.nowMs) this.it.onLateAct(this, link, null, packet.cmd)
    if (this.#owner === link || this.#owner === null) return
    const { ownsSinceMs } = link
    // Who came later acts by right.
    if (ownsSinceMs === null || ownsSinceMs > this.#owner.ownsSinceMs!) return
    this.it.onLateAct(this, link, this.#owner, packet.cmd)
  }

  took(link: Link, packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        return this.#connected(link, packet)
      case 'publish':
        return this.#took(link, packet)
      case 'puback':
        return this.#answered(packet.messageId!, (packet.reasonCode ?? 0) < 0x80)
      case 'pubrec':
        return this.#recorded(link, packet.messageId!, (packet.reasonCode ?? 0) < 0x80)
      case 'pubrel':
        this.#released(packet.messageId!)
        link.send({ cmd: 'pubcomp', messageId: packet.messageId! } as Packet)
        return link.done(packet.messageId!)
      case 'pubcomp':
        return this.#remove(packet.messageId!)
      case 'suback':
        return this.#subscribed(packet)
      case 'unsuback':
        return this.#unsubscribed(packet)
      default:
    }
  }

  lost(link: Link): void {
    for (const [id, pending] of this.#pending) if (pending.link === link) this.#pending.delete(id)
    if (this.current === link) {
      this.current = null
      this.#pings()
      if (!this.#keeps(link)) this.#giveUp()
    }
    this.onLost(link)
  }

  #connected(link: Link, packet: IConnackPacket): void {
    const code = (this.version === 5 ? packet.reasonCode : packet.returnCode) ?? 0
    if (code !== 0) {
      this.it.count(`CONNACK ${code}`)
      return link.end('cut')
    }
    link.state = 'open'
    const older = this.current
    this.current = link
    this.#checkPresent(link, packet.sessionPresent)
    if (older !== null && older !== link && !this.#keeps(older)) {
      older.deaf = true
      this.#giveUp()
    }
    this.#established = this.#keeps(link)
    this.#ping(link)
    // [MQTT-4.4.0-1]
    for (const outgoing of this.session.outgoing) this.#send(outgoing, true)
    this.onConnected(link)
  }

  /** What the broker says of the session must be what it promised. */
  #checkPresent(link: Link, present: boolean): void {
    if (present && link.cleanStart) this.fail(`${link.name}: a session is present after a clean start`)
    if (present && !this.persistent) this.fail(`${link.name}: a session outlived its connection`)
    if (present) return
    if (this.#established && !link.cleanStart) this.fail(`M1: the session of ${link.name} is lost`)
    if (this.session.outgoing.length + this.session.incoming.size > 0) this.#giveUp()
  }

  #took(link: Link, packet: IPublishPacket): void {
    const { topic, qos, messageId = 0, dup, retain, payload } = packet
    const publish = this.ledger.read(this.tenant, topic, payload as Buffer)
    const how = { persistent: this.persistent, shared: topic.startsWith('s/'), sinceMs: this.#sinceMs(topic) }
    this.session.received({ id: messageId, qos, dup, retain, publish }, link.number, how)
    this.onMessage(publish, packet, link)
    if (qos === 1) {
      this.#later(link, () => {
        this.session.unacknowledged.delete(messageId)
        link.send({ cmd: 'puback', messageId } as Packet)
        link.done(messageId)
      })
    } else if (qos === 2) this.#later(link, () => link.send({ cmd: 'pubrec', messageId } as Packet))
  }

  #sinceMs(topic: string): number {
    const found = this.subscriptions.filter(({ filter, untilMs }) => {
      return untilMs === Number.POSITIVE_INFINITY && matches(filter, topic)
    })
    return Math.max(...found.map(({ sinceMs }) => sinceMs), found.length === 0 ? Number.POSITIVE_INFINITY : 0)
  }

  /** Some answers take their time. */
  #later(link: Link, answer: () => void): void {
    const { world } = this.it
    const session = this.session
    const delayMs = world.random.below(8) === 0 ? world.random.below(400) : 0
    const run = () => {
      if (link.state === 'open' && !link.deaf && session === this.session) answer()
    }
    if (delayMs === 0) run()
    else world.clock.after(delayMs, run)
  }

  #answered(id: number, accepted: boolean): void {
    const found = this.session.outgoing.find((outgoing) => outgoing.id === id && outgoing.state === 'sent')
    if (found === undefined) return
    this.ledger.answered(found.publish, accepted)
    this.#remove(id)
  }

  #recorded(link: Link, id: number, accepted: boolean): void {
    const found = this.session.outgoing.find((outgoing) => outgoing.id === id)
    if (found !== undefined) this.ledger.answered(found.publish, accepted)
    if (!accepted) return this.#remove(id)
    if (found !== undefined) found.state = 'recorded'
    link.send({ cmd: 'pubrel', messageId: id } as Packet)
  }

  #released(id: number): void {
    const publish = this.session.incoming.get(id)
    this.session.incoming.delete(id)
    if (publish !== undefined && this.filters.includes(GROUP)) publish.member ??= this.name
  }

  #remove(id: number): void {
    const { outgoing } = this.session
    const at = outgoing.findIndex((each) => each.id === id)
    if (at >= 0) outgoing.splice(at, 1)
  }

  #subscribed({ messageId, granted }: ISubackPacket): void {
    const pending = this.#pending.get(messageId!)
    this.#pending.delete(messageId!)
    if (pending === undefined || pending.qos === null) return
    const code = granted[0] as number
    if (code > 2) return this.it.count(`SUBACK ${code}`)
    for (const each of this.subscriptions) if (each.filter === pending.filter) this.#over(each)
    const { filter } = pending
    const sinceMs = this.ledger.nowMs
    this.subscriptions.push({ filter, qos: code as QoS, sinceMs, untilMs: Number.POSITIVE_INFINITY })
  }

  #unsubscribed({ messageId }: IUnsubackPacket): void {
    this.#pending.delete(messageId!)
  }

  /** Whether the session outlives that connection: before version 5 a clean one does not. */
  #keeps({ cleanStart }: Link): boolean {
    return this.persistent && !(this.version === 4 && cleanStart)
  }

  #over(subscription: Subscription): void {
    subscription.untilMs = Math.min(subscription.untilMs, this.ledger.nowMs)
  }

  #send({ id, publish, state }: Outgoing, again: boolean): void {
    const link = this.current!
    if (state === 'recorded') return link.send({ cmd: 'pubrel', messageId: id } as Packet)
    publish.attempts++
    publish.nodes.add(link.machine.name)
    const { topic, qos, retain } = publish
    link.send({
      ...{ cmd: 'publish', topic, qos, retain, dup: again, payload: payloadOf(publish) },
      ...(qos > 0 ? { messageId: id } : {}),
    } as Packet)
  }

  /** Nothing of this session is asked for any more. */
  #giveUp(): void {
    this.#established = false
    for (const { publish } of this.session.outgoing) if (publish.outcome === 'open') publish.outcome = 'unknown'
    for (const each of this.subscriptions) this.#over(each)
    this.session = new SessionState(this.name, this.ledger)
    this.sessions.push(this.session)
  }

  #ping(link: Link): void {
    this.#pings()
    if (this.keepAliveSeconds === 0) return
    this.#pings = this.it.world.clock.after(this.keepAliveSeconds * 400, () => {
      if (this.current !== link || link.state !== 'open') return
      link.send({ cmd: 'pingreq' })
      this.#ping(link)
    })
  }
}

function willOf({ publish, delaySeconds }: WillPlan, version: 4 | 5): NonNullable<IConnectPacket['will']> {
  const { topic, qos, retain } = publish
  const payload = payloadOf(publish)
  return { topic, payload, qos, retain, ...(version === 5 ? { properties: { willDelayInterval: delaySeconds } } : {}) }
}
