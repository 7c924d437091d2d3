/**
 * Publishes of one client on their way in: topic, permission, receive maximum, and the answers in their order.
 *
 * Hot path: a QoS 0 PUBLISH to plain local subscribers takes no allocation here; consecutive ones with the same targets
 * go on as one range of bytes (0.07 instead of 0.19 us a message, bench: `pairs`, `fan-out`).
 */
import { isUtf8 } from 'node:buffer'
import { IdSet } from '../../base/id-set.ts'
import type { QoS } from '../../base/message.ts'
import type { Permissions } from '../../plugin/index.ts'
import { type FrameReader, PACKET, type ProtocolVersion, PublishView, parsePublish, REASON } from '../codec/index.ts'
import { deliverLocal, sendQos0 } from '../routing/deliver.ts'
import type { Fanout } from '../routing/fanout.ts'
import { Publication } from '../routing/publication.ts'
import { equalBytes, type TopicSlot } from '../routing/topic-cache.ts'
import { AckOrder } from '../session/ack-order.ts'
import { InboundAliases } from '../session/topic-alias.ts'
import { publishReason } from '../session/words.ts'
import type { Connection } from './connection.ts'
import type { FrontEnd } from './front-end.ts'
import { PublishGate } from './publish-gate.ts'

/** A run of packets for another node, at most: it fits in a frame beside others. */
const FAR_RUN_BYTES_MAX = 16 * 1024

// One of each serves all connections: packets are handled one at a time, to the end.
const view = new PublishView()
const publication = new Publication()

export class Intake {
  readonly #connection: Connection
  readonly #front: FrontEnd
  readonly #acks: AckOrder
  /** QoS 2 packet ids of a transient session, between PUBLISH and PUBREL. */
  readonly received = new IdSet()
  /** QoS 2 packet ids between the PUBREC of this connection and PUBREL. */
  readonly #recorded = new IdSet()
  /** Publishes whose outcome is not known yet. */
  unanswered = 0
  readonly #aliases: InboundAliases<TopicSlot> | null
  #gate: PublishGate | null = null
  /** Of the permissions that {@link PublishGate} was made for. */
  #generation = 0
  #lastSlot: TopicSlot | null = null
  readonly #receiveMaximum: number

  // Consecutive QoS 0 packets that go to the same subscribers unchanged: [start, end) of one buffer.
  #runFanout: Fanout | null = null
  #runSlot: TopicSlot | null = null
  #runBuffer: Buffer | null = null
  #runStart = 0
  #runEnd = 0
  #runCount = 0

  /** For a session that was just opened. */
  constructor(connection: Connection) {
    this.#connection = connection
    this.#front = connection.front
    this.#acks = new AckOrder((type, packetId, reason) => this.#answer(type, packetId, reason))
    const agreement = connection.session.agreement!
    this.#receiveMaximum = agreement.version === 5 ? agreement.receiveMaximum : this.#front.limits.inFlight3Max
    this.#aliases = agreement.topicAliasMax > 0 ? new InboundAliases(agreement.topicAliasMax) : null
    this.permissionsChanged(connection.session.identity!.permissions)
  }

  permissionsChanged(permissions: Permissions): void {
    this.#generation = this.#front.auth.generation
    this.#gate = permissions.all ? null : new PublishGate(permissions)
  }

  onPublish(reader: FrameReader): void {
    const version = this.#connection.version
    const failure = parsePublish(view, reader.buffer, reader.first, reader.start, reader.body, reader.end, version)
    if (failure !== 0) return this.#connection.fail(failure, 'PUBLISH is malformed')
    this.#front.counters.published[view.qos]!++
    const slot = view.topicAlias === 0 ? this.#findSlot() : this.#resolveAlias()
    if (slot === null) return
    if (!this.#isAcceptable()) return
    if (view.qos > 0 && this.#isOverReceiveMaximum(view.packetId)) return
    if (this.#generation !== this.#front.auth.generation) {
      this.permissionsChanged(this.#connection.session.identity!.permissions)
    }
    if (this.#gate !== null) {
      const allowed = this.#gate.check(slot.entry.topic, view.qos as QoS, view.retain)
      if (allowed !== true) return this.#unsure(slot, allowed)
    }
    if (view.qos === 0 && !view.retain) this.#publishQos0(slot, version)
    else this.#publish(slot)
  }

  /** The way of most messages. */
  #publishQos0(slot: TopicSlot, version: ProtocolVersion): void {
    const fanout = this.#front.router.fanout(slot.entry)
    if (fanout.transientOnly && fanout.special.length === 0) {
      const others = version === 5 ? fanout.plain3 : fanout.plain5
      const size = view.end - view.frameStart
      const far = fanout.remotes.length > 0
      // What expires may wait on a link: it does not travel as it came.
      const asIs = view.topicAlias === 0 && (!far || view.messageExpirySeconds < 0)
      if (others.length === 0 && asIs && size <= fanout.packetBytesMax) {
        const joins = this.#runFanout === fanout && this.#runEnd === view.frameStart && this.#runBuffer === view.buffer
        if (joins && !(far && view.end - this.#runStart > FAR_RUN_BYTES_MAX)) {
          this.#runEnd = view.end
          this.#runCount++
        } else {
          this.endRun()
          this.#beginRun(slot, fanout)
        }
        return
      }
    }
    this.endRun()
    this.#fill(slot)
    if (fanout.transientOnly) {
      this.#front.counters.delivered += fanout.targets.length
      this.#front.router.deliverTransient(publication, fanout)
    } else this.#front.router.publish(this.#connection.tenant, publication, slot.entry, null, ignore)
  }

  #beginRun(slot: TopicSlot, fanout: Fanout): void {
    this.#runSlot = slot
    this.#runFanout = fanout
    this.#runBuffer = view.buffer
    this.#runStart = view.frameStart
    this.#runEnd = view.end
    this.#runCount = 1
  }

  /** Sends what {@link onPublish} gathered. Called at the end of a read and before any other packet is handled. */
  endRun(): void {
    const fanout = this.#runFanout
    if (fanout === null) return
    this.#runFanout = null
    const subscribers = this.#connection.version === 5 ? fanout.plain5 : fanout.plain3
    const buffer = this.#runBuffer!
    const size = this.#runEnd - this.#runStart
    const count = this.#runCount
    this.#front.counters.delivered += count * subscribers.length
    for (let i = 0; i < subscribers.length; i++) {
      const subscriber = subscribers[i]!
      sendQos0(subscriber, buffer, this.#runStart, size, count)
      if (subscriber.streaming)
        subscriber.noteLive(this.#runSlot!.entry.topic, this.#front.hlc.next(this.#front.clock.now()))
    }
    if (fanout.remotes.length > 0) this.#sendRun(fanout, buffer)
    this.#runBuffer = null
  }

  #sendRun(fanout: Fanout, buffer: Buffer): void {
    const { clientId, version } = this.#connection
    const { hlc, clock } = this.#front
    const timestamp = hlc.next(clock.now())
    const packets = { version, buffer, start: this.#runStart, end: this.#runEnd, count: this.#runCount }
    for (const route of fanout.remotes) route.sendPackets(clientId, timestamp, packets)
  }

  /** QoS 1 and 2, and everything with RETAIN. */
  #publish(slot: TopicSlot): void {
    this.endRun()
    const { qos, packetId } = view
    const { router } = this.#front
    if (qos > 0 && !router.isSure(this.#connection.tenant)) return this.#awaitRoutes(slot)
    if (qos === 2 && !this.#isNewQos2(slot, packetId)) return
    this.#fill(slot)
    const fanout = router.fanout(slot.entry)
    const type = qos === 1 ? PACKET.PUBACK : PACKET.PUBREC
    if (fanout.localOnly && !view.retain) {
      this.#front.counters.delivered += fanout.targets.length
      deliverLocal(publication, fanout)
      this.#acks.ready(type, packetId, fanout.empty ? REASON.NO_MATCHING_SUBSCRIBERS : 0)
      return
    }
    if (qos === 0) return router.publish(this.#connection.tenant, publication, slot.entry, null, ignore)
    const settle = this.expectAnswer(type, packetId)
    router.publish(this.#connection.tenant, publication, slot.entry, null, settle)
  }

  /** Keeps the place of an answer; call back once with the outcome. Also used by the persistent QoS 2 path. */
  expectAnswer(type: number, packetId: number): (error: Error | null, matched: number) => void {
    const ticket = this.#acks.open(type, packetId)
    this.unanswered++
    return (error, matched) => {
      this.unanswered--
      const reason = error === null ? (matched === 0 ? REASON.NO_MATCHING_SUBSCRIBERS : 0) : reasonOf(error)
      if (type === PACKET.PUBREC && reason >= 0x80) this.received.delete(packetId)
      if (error !== null) this.#connection.control.publishFailed(error)
      this.#acks.settle(ticket, reason)
    }
  }

  /** True for a QoS 2 packet id that a transient session may route now. */
  #isNewQos2(slot: TopicSlot, packetId: number): boolean {
    if (this.#connection.control.owner !== null && this.#connection.control.persistent) {
      this.#fill(slot)
      this.#connection.control.receiveQos2(packetId, publication.message())
      return false
    }
    if (this.received.has(packetId)) {
      this.#acks.ready(PACKET.PUBREC, packetId, 0) // [MQTT-4.3.3-10]: answered again, not routed again
      return false
    }
    this.received.add(packetId)
    return true
  }

  /** PUBREL came: the packet id is free again. False where it was not in use. */
  released(packetId: number): boolean {
    this.#recorded.delete(packetId)
    return this.received.delete(packetId)
  }

  #answer(type: number, packetId: number, reasonCode: number): void {
    if (type === PACKET.PUBREC && reasonCode < 0x80) this.#recorded.add(packetId)
    this.#connection.writeAnswer(type, packetId, reasonCode)
  }

  /** Counts what the client has to count (MQTT 5.0 4.9): from PUBLISH to PUBACK, a failed PUBREC, or PUBREL. */
  #isOverReceiveMaximum(packetId: number): boolean {
    const underWay = this.#acks.waiting + this.#recorded.size
    if (underWay < this.#receiveMaximum || this.#recorded.has(packetId)) return false
    if (this.#connection.version < 5) {
      // 3.x has no receive maximum: the client is read no further until answers went out.
      this.#connection.control.whenAnswered()
      return false
    }
    this.#connection.fail(
      REASON.RECEIVE_MAXIMUM_EXCEEDED,
      'More publishes under way than the announced receive maximum',
    )
    return true
  }

  #fill(slot: TopicSlot): void {
    const { hlc, clock } = this.#front
    publication.fromView(
      view,
      this.#connection.version,
      slot.entry.topic,
      this.#connection.clientId,
      hlc.next(clock.now()),
    )
    if (view.topicStart === view.topicEnd) publication.setTopicBytes(slot.bytes)
  }

  /** Finds routes by the topic's bytes; null where the packet was refused. */
  #findSlot(): TopicSlot | null {
    const last = this.#lastSlot
    if (last?.entry.alive && equalBytes(last.bytes, view.buffer, view.topicStart, view.topicEnd)) return last
    const found = this.#front.router.find(this.#connection.tenant, view.buffer, view.topicStart, view.topicEnd)
    if (typeof found !== 'number') {
      this.#lastSlot = found
      return found
    }
    this.#refusePublish(found, 'The topic name is not valid')
    return null
  }

  #resolveAlias(): TopicSlot | null {
    const aliases = this.#aliases
    if (view.topicStart < view.topicEnd) {
      const slot = this.#findSlot()
      if (slot === null || aliases?.set(view.topicAlias, slot)) return slot
    } else {
      const known = aliases?.get(view.topicAlias)
      if (known !== undefined) return known.entry.alive ? known : this.#renew(known)
      if (view.topicAlias <= (this.#connection.session.agreement?.topicAliasMax ?? 0)) {
        this.#connection.fail(REASON.PROTOCOL_ERROR, 'A topic alias that was never set')
        return null
      }
    }
    this.#connection.fail(REASON.TOPIC_ALIAS_INVALID, 'The topic alias is over the announced maximum')
    return null
  }

  /** The routes behind an alias changed. */
  #renew(slot: TopicSlot): TopicSlot {
    const fresh = { ...slot, entry: this.#front.router.match(this.#connection.tenant, slot.entry.topic) }
    this.#aliases!.set(view.topicAlias, fresh)
    return fresh
  }

  /** The tenant's settings that concern single messages. */
  #isAcceptable(): boolean {
    const settings = this.#connection.session.settings!
    if (view.qos > settings.maximumQos) {
      this.#connection.fail(REASON.QOS_NOT_SUPPORTED, 'The QoS is over the announced maximum') // [MQTT-3.2.2-11]
      return false
    }
    if (view.retain && !settings.retainEnabled) {
      this.#connection.fail(REASON.RETAIN_NOT_SUPPORTED, 'RETAIN is not available') // [MQTT-3.2.2-14]
      return false
    }
    const checked = view.payloadFormat === 1 && settings.payloadFormatValidation
    // A payload may hold U+0000, which a string of the protocol may not (MQTT 5.0 3.3.2.3.2).
    if (!checked || isUtf8(view.buffer.subarray(view.payloadStart, view.end))) return true
    this.#refusePublish(REASON.PAYLOAD_FORMAT_INVALID, 'The payload is not UTF-8 as its format says')
    return false
  }

  /** The permission is not known to be granted: denied, or to be awaited. */
  #unsure(slot: TopicSlot, allowed: false | Promise<boolean>): void {
    if (allowed === false) return this.#deny(slot.entry.topic, view.qos as QoS, view.packetId)
    // The packet is kept while the answer is awaited; nothing overtakes it, because nothing is read.
    this.endRun()
    const { qos, packetId } = view
    this.#fill(slot)
    const message = publication.message()
    this.#connection.block()
    void allowed.then((granted) => {
      if (this.#connection.session.state === 'closed') return
      if (!granted) this.#deny(message.topic, qos as QoS, packetId)
      else this.#connection.control.publishLate(message, packetId, false)
      this.#connection.unblock()
    })
  }

  /** A subscription may have been answered that is not known here: the packet is kept as in {@link #unsure}. */
  #awaitRoutes(slot: TopicSlot): void {
    const { packetId } = view
    this.#fill(slot)
    const message = publication.message()
    this.#connection.block()
    this.#front.router.whenSure(this.#connection.tenant, message, (error) => {
      if (this.#connection.session.state === 'closed') return
      if (error === null) this.#connection.control.publishLate(message, packetId, true)
      else this.#refuseLate(message.qos, packetId, error)
      this.#connection.unblock()
    })
  }

  #refuseLate(qos: QoS, packetId: number, error: Error): void {
    const known = qos === 2 && this.received.has(packetId) // [MQTT-4.3.3-10]: it was routed before
    if (known) this.#acks.ready(PACKET.PUBREC, packetId, 0)
    else this.expectAnswer(qos === 1 ? PACKET.PUBACK : PACKET.PUBREC, packetId)(error, 0)
  }

  #deny(topic: string, qos: QoS, packetId: number): void {
    this.#front.events.report(
      'publish.denied',
      this.#connection.tenant,
      this.#connection.clientId,
      REASON.NOT_AUTHORIZED,
      { topic, qos },
    )
    this.#front.events.drop('not-authorized', this.#connection.tenant, this.#connection.clientId, topic, qos)
    // MQTT 3.1.1 3.3.5: a 3.x publisher gets its ordinary answer.
    if (qos > 0) this.#acks.ready(qos === 1 ? PACKET.PUBACK : PACKET.PUBREC, packetId, REASON.NOT_AUTHORIZED)
  }

  /** A PUBLISH that is well formed and not acceptable: QoS 1 and 2 are answered, QoS 0 ends the connection. */
  #refusePublish(reasonCode: number, reason: string): void {
    const answerable = reasonCode === REASON.TOPIC_NAME_INVALID || reasonCode === REASON.PAYLOAD_FORMAT_INVALID
    if (view.qos === 0 || !answerable || this.#connection.version < 5) return this.#connection.fail(reasonCode, reason)
    this.endRun()
    this.#acks.ready(view.qos === 1 ? PACKET.PUBACK : PACKET.PUBREC, view.packetId, reasonCode)
  }
}

function ignore(): void {}

function reasonOf(error: Error): number {
  const known = 'reasonCode' in error && typeof error.reasonCode === 'number'
  return known ? publishReason(error.reasonCode as number) : REASON.UNSPECIFIED_ERROR
}
