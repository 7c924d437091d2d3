/**
 * One client's connection: cuts bytes into packets, sends messages on their way, gives everything else to the session.
 *
 * Hot path: the frame loop runs for every packet; publishes go to {@link Intake}, control packets the slow way through
 * {@link Control} (bench: `pairs`).
 */
import type { TenantId } from '../../base/ids.ts'
import {
  ACK_BYTES_MAX,
  AckView,
  decodePacket,
  FRAME_MORE,
  FRAME_READY,
  FRAME_TOO_LARGE,
  FrameReader,
  isPingreq,
  PACKET,
  type ProtocolVersion,
  parseAck,
  REASON,
  writeAck,
  writePingresp,
} from '../codec/index.ts'
import type { ConnectionInfo, Transport } from '../listener/index.ts'
import type { Publication } from '../routing/publication.ts'
import type { LocalTarget, Subscriber } from '../routing/subscriber.ts'
import type { DropReason, Outbound } from '../session/outbound.ts'
import { Session } from '../session/session.ts'
import { Control } from './control.ts'
import type { FrontEnd } from './front-end.ts'
import { Intake } from './intake.ts'
import { Output } from './output.ts'

/** Packets between two looks at the clock. */
const PACKETS_PER_LOOK = 64

const ackView = new AckView()

export class Connection implements Subscriber {
  version: ProtocolVersion = 4
  clientId = ''
  tenant = '' as TenantId
  readonly output: Output
  clientPacketBytesMax = Number.POSITIVE_INFINITY
  readonly outputBytesMax: number
  individual = false
  streaming = false
  readonly front: FrontEnd
  readonly session: Session
  readonly control: Control
  /** Set while the session is open. */
  outbound: Outbound | null = null
  readonly transport: Transport
  readonly #reader: FrameReader
  #intake: Intake | null = null
  #open = false
  /** Reasons not to read on: an answer is awaited, or the turn is over. */
  #blocks = 0
  #parsing = false
  #subscribing = 0
  /** True once the first byte came. */
  #spoken = false
  #publishWaits = false

  constructor(front: FrontEnd, transport: Transport, info: ConnectionInfo) {
    this.front = front
    this.transport = transport
    this.output = new Output(transport, front.flush)
    this.outputBytesMax = front.limits.outputBytesMax
    this.session = new Session(info.acceptedAtMs, front.limits)
    this.#reader = new FrameReader(front.limits.packetBytesMax)
    this.control = new Control(this, info)
    transport.onData = (chunk) => this.#onData(chunk)
    transport.onDrain = () => this.drained()
    transport.onClose = () => this.control.end({ type: 'closed' })
  }

  /** Bytes of memory held for this client: input not handled yet, output not sent yet. */
  get heldBytes(): number {
    return this.#reader.bufferedBytes + this.output.waitingBytes + (this.outbound?.queuedBytes ?? 0)
  }

  /**
   * When the session must hear of the time, on the monotonic clock. What a client sends while it is not read cannot be
   * heard: keep-alive then starts anew.
   */
  get deadlineMs(): number {
    return this.#open && this.#blocks > 0 ? Number.POSITIVE_INFINITY : this.session.deadlineMs
  }

  /** The session is open: messages may flow. */
  opened(outbound: Outbound): void {
    const agreement = this.session.agreement!
    this.version = agreement.version
    this.outbound = outbound
    this.clientPacketBytesMax = agreement.clientPacketBytesMax
    this.individual = agreement.clientTopicAliasMax > 0
    this.#reader.setPacketBytesMax(agreement.packetBytesMax)
    this.#intake = new Intake(this)
    this.#open = true
  }

  /** Publishes of an open session. */
  get intake(): Intake {
    return this.#intake!
  }

  /** Publishes that are not answered yet. */
  get unanswered(): number {
    return this.#intake?.unanswered ?? 0
  }

  /** The transport took bytes. It may do so without a word, so this is called now and then as well. */
  drained(): void {
    this.output.drained()
    this.control.drained()
  }

  /** No packet is handled from here on. */
  closed(): void {
    this.#open = false
    this.#blocks = 1
    this.output.close()
  }

  /** Stops reading until {@link unblock}: an answer must come first. */
  block(): void {
    if (this.#blocks++ === 0) this.transport.pause()
  }

  unblock(): void {
    if (this.session.state === 'closed' || --this.#blocks > 0) return
    this.session.heardAtMs = this.front.clock.monotonic()
    this.transport.resume()
    if (!this.#parsing) this.#parse()
  }

  /** A SUBSCRIBE is under way: the client's own publishes wait for it, so that they find its subscriptions. */
  subscribeBegan(): void {
    this.#subscribing++
  }

  subscribeEnded(): void {
    this.#subscribing--
    if (this.#subscribing > 0 || !this.#publishWaits) return
    this.#publishWaits = false
    this.unblock()
  }

  /** True while nothing is read: its silence is ours. */
  get blocked(): boolean {
    return this.#blocks > 0
  }

  /** The turn gives time again. */
  resume(): void {
    this.unblock()
  }

  // --- subscriber

  deliver(message: Publication, target: LocalTarget): void {
    if (this.streaming) this.noteLive(message.topic, message.timestamp)
    this.outbound?.deliver(message, target)
  }

  noteLive(topic: string, timestamp: number): void {
    this.control.retained?.noteLive(topic, timestamp)
  }

  dropped(count: number, reason: DropReason): void {
    this.front.counters.dropped[reason] += count
    this.front.events.drop(reason, this.tenant, this.clientId, '', 0, count)
  }

  credit(): number {
    if (this.outbound === null || this.output.waitingBytes > this.outputBytesMax / 2) return 0
    return this.outbound.room
  }

  // --- input

  #onData(chunk: Buffer): void {
    this.front.counters.bytesReceived += chunk.length
    const nowMs = this.front.clock.monotonic()
    this.session.heardAtMs = nowMs
    const { lease } = this.front.inbox
    // This process may have stood still: whoever must not act any more is closed first.
    if (nowMs >= lease.untilMs) lease.look(nowMs)
    if (!this.#spoken && !this.#mayBeConnect(chunk)) return
    this.#reader.push(chunk)
    if (this.#blocks > 0) return this.#reader.retain()
    const turn = this.front.turn
    turn.begin()
    if (turn.congested) {
      this.#reader.retain()
      this.block()
      turn.later(this)
      return
    }
    this.#parse()
    this.front.flush.readEnded()
  }

  /** Whoever does not begin with a CONNECT speaks something else, such as HTTP, and waits for no packet to end. */
  #mayBeConnect(chunk: Buffer): boolean {
    this.#spoken = true
    if (chunk.length === 0 || chunk[0]! >> 4 === PACKET.CONNECT) return true
    this.fail(REASON.PROTOCOL_ERROR, 'The first packet is no CONNECT') // [MQTT-3.1.0-1]
    return false
  }

  #parse(): void {
    const reader = this.#reader
    const turn = this.front.turn
    turn.begin()
    this.#parsing = true
    let count = 0
    for (;;) {
      if (this.#blocks > 0) break
      const status = reader.next()
      if (status !== FRAME_READY) {
        if (status !== FRAME_MORE) this.#malformed(status === FRAME_TOO_LARGE)
        break
      }
      if (reader.first >> 4 === PACKET.PUBLISH && this.#open) {
        if (this.#subscribing > 0) {
          this.#publishWaits = true
          reader.unread()
          this.block()
          break
        }
        this.#intake!.onPublish(reader)
      } else this.#onOther(reader)
      if ((++count & (PACKETS_PER_LOOK - 1)) === 0 && turn.exhausted() && reader.pending()) {
        this.block()
        turn.later(this)
      }
    }
    this.#parsing = false
    this.#intake?.endRun()
    if (this.#blocks > 0) reader.retain()
    this.front.flush.relieve()
  }

  #onOther(reader: FrameReader): void {
    this.#intake?.endRun()
    const type = reader.first >> 4
    if (this.#open) {
      if (type >= PACKET.PUBACK && type <= PACKET.PUBCOMP) return this.#onAck(reader)
      // A length in more bytes than needed is for the decoder to refuse [MQTT-1.5.5-1].
      if (reader.body - reader.start === 2 && isPingreq(reader.first, reader.body, reader.end)) {
        this.front.events.report('client.pinged', this.tenant, this.clientId, 0, {})
        const at = this.output.reserve(2)
        writePingresp(this.output.buffer!, at)
        return
      }
    }
    const { buffer, first, body, end } = reader
    const packet = decodePacket(buffer, first, body, end, this.version, 'from-client')
    if (packet.type === 'error') return this.control.decodeFailed(packet)
    this.control.onPacket(packet)
  }

  #onAck(reader: FrameReader): void {
    const failure = parseAck(ackView, reader.buffer, reader.first, reader.body, reader.end, this.version)
    if (failure !== 0) return this.fail(failure, 'An acknowledgement is malformed')
    const { type, packetId } = ackView
    const failed = ackView.reasonCode >= 0x80
    const outbound = this.outbound!
    if (type === PACKET.PUBACK) outbound.onPuback(packetId)
    else if (type === PACKET.PUBCOMP) outbound.onPubcomp(packetId)
    else if (type === PACKET.PUBREC) {
      // [MQTT-4.3.3-4]: an unknown PUBREC is answered, so that the exchange ends at the client too.
      const unknown = !outbound.onPubrec(packetId, failed) && !failed
      if (unknown) this.writeAck(PACKET.PUBREL, packetId, REASON.PACKET_IDENTIFIER_NOT_FOUND)
    } else if (this.control.persistent) {
      this.#intake!.released(packetId)
      this.control.releaseQos2(packetId)
    } else {
      const known = this.#intake!.released(packetId)
      this.writeAck(PACKET.PUBCOMP, packetId, known ? 0 : REASON.PACKET_IDENTIFIER_NOT_FOUND)
    }
  }

  /** The answer to a publish, in its turn. */
  writeAnswer(type: number, packetId: number, reasonCode: number): void {
    if (this.session.state === 'closed') return this.control.answered()
    if (this.version < 5 && reasonCode >= 0x80 && reasonCode !== REASON.NOT_AUTHORIZED) {
      // 3.x cannot say no: without its answer the client sends again after it has connected again.
      return this.control.end({ type: 'end', reasonCode, reason: 'A publish was not accepted' })
    }
    this.writeAck(type, packetId, reasonCode)
    this.control.answered()
  }

  writeAck(type: number, packetId: number, reasonCode: number): void {
    const at = this.output.reserve(ACK_BYTES_MAX)
    const end = writeAck(this.output.buffer!, at, type, packetId, reasonCode, this.version)
    this.output.shrink(at + ACK_BYTES_MAX - end)
  }

  #malformed(tooLarge: boolean): void {
    if (tooLarge) this.fail(REASON.PACKET_TOO_LARGE, 'The packet is larger than the announced maximum')
    else this.fail(REASON.MALFORMED_PACKET, 'The remaining length is malformed')
  }

  /** The client broke a rule. */
  fail(reasonCode: number, reason: string): void {
    this.#intake?.endRun()
    this.front.counters.malformed++
    this.control.end({ type: 'end', reasonCode, reason })
  }
}
