/**
 * Publishers and subscribers under steady load.
 *
 * Closed loop: a publisher has at most `inFlight` messages that its subscriber has not received, and at
 * QoS > 0 that the broker has not acknowledged. Both ends live here, so that QoS 0 needs no acks either.
 * Open loop: message i is due at start + i / rate whatever the broker does, and its latency counts from then
 * (Tene, "How NOT to Measure Latency": no coordinated omission).
 * Hot path: `onPublish` and `pump`.
 */
import type { Measured, Qos } from '../spec.ts'
import { PUBACK, PUBCOMP, PUBREC, PUBREL, type PublishRing, STAMP_BYTES } from './codec.ts'
import { clockMicros } from './latency.ts'
import { Link, type LinkOptions } from './link.ts'
import type { Meter } from './meter.ts'
import type { CopyCounter, Tracker } from './tracker.ts'

/** What all publishers and subscribers of a run share. */
export class Flow {
  readonly meter: Meter
  readonly publishers: Publisher[] = []
  /** Publishers that may send again after the chunk under way. */
  readonly #ready: Publisher[] = []
  /** False: nobody sends. */
  running = false
  /** Messages of another run or another client. */
  strange = 0
  /** QoS > 0 publishes that the broker refused. */
  refused = 0

  constructor(meter: Meter) {
    this.meter = meter
  }

  settle(publisher: Publisher, subscriber: number, count: number): void {
    const settled = publisher.copies === null ? count : publisher.copies.settle(subscriber, count)
    if (settled === 0) return
    publisher.settled += settled
    if (publisher.ready) return
    publisher.ready = true
    this.#ready.push(publisher)
  }

  pumpReady(): void {
    const ready = this.#ready
    for (let i = 0; i < ready.length; i++) {
      ready[i]!.ready = false
      ready[i]!.pump()
    }
    ready.length = 0
  }
}

export interface PublisherOptions {
  ring: PublishRing
  qos: Qos
  inFlight: number
  onePerSegment: boolean
  /** Publishes in all; Infinity for as long as the flow runs. */
  limit: number
  /** Whether a message stays in flight until its subscriber has it. */
  untilReceived: boolean
  /** Messages leave by `sendAt` only. */
  openLoop: boolean
  /** With several subscribers, when a message has reached all of them. */
  copies: CopyCounter | null
  /** Acks are what is counted and timed, not arrivals. */
  timeAcks?: boolean
}

export class Publisher extends Link {
  sent = 0
  settled = 0
  acked = 0
  ready = false
  readonly copies: CopyCounter | null
  readonly #flow: Flow
  readonly #how: PublisherOptions
  #slot = 0
  #packetId = 1
  /** When each packet id was sent, or should have been; null where acks are not timed. */
  readonly #sentAt: Uint32Array | null
  /** Open loop: intended times of messages that wait for the ack window. */
  readonly #due: number[] = []

  constructor(link: LinkOptions, flow: Flow, how: PublisherOptions) {
    super(link)
    this.copies = how.copies
    this.#flow = flow
    this.#how = how
    this.#sentAt = how.timeAcks ? new Uint32Array(65_536) : null
  }

  get done(): boolean {
    const { qos, untilReceived, limit } = this.#how
    if (limit !== Number.POSITIVE_INFINITY && this.sent < limit) return false
    return (qos === 0 || this.acked >= this.sent) && (!untilReceived || this.settled >= this.sent)
  }

  override onAck(type: number, packetId: number, failed: boolean): void {
    if (failed) this.#flow.refused++
    if (type === PUBACK || type === PUBCOMP || (type === PUBREC && failed)) {
      this.acked++
      if (this.#sentAt !== null) this.#timeAck(this.#sentAt[packetId]!)
    } else if (type === PUBREC) this.appendAck(PUBREL, packetId)
  }

  #timeAck(sentAt: number): void {
    const { meter } = this.#flow
    meter.received++
    meter.latency.record(sentAt, this.now)
    meter.recent?.record(sentAt, this.now)
  }

  protected override onChunkEnd(): void {
    this.pump()
  }

  /** Sends what the window allows, and what was appended before. */
  pump(): void {
    if (this.#how.openLoop) this.#sendDue()
    else if (this.#flow.running) this.#send(this.#room(), clockMicros())
    this.flush()
  }

  /** Open loop: messages that should leave at `intended`. */
  sendAt(intended: number, count = 1): void {
    for (let i = 0; i < count; i++) this.#due.push(intended)
    this.#sendDue()
    this.flush()
  }

  #sendDue(): void {
    const due = this.#due
    let i = 0
    while (i < due.length && this.#ackRoom() > 0) this.#send(1, due[i++]!)
    due.splice(0, i)
  }

  #send(count: number, now: number): void {
    if (count <= 0) return
    const { ring, onePerSegment } = this.#how
    let rest = count
    while (rest > 0) {
      const slot = this.#slot
      const some = onePerSegment ? 1 : Math.min(rest, ring.slots - slot)
      if (this.#sentAt !== null) this.#noteSent(this.#sentAt, some, now)
      this.#packetId = ring.stamp(slot, some, this.sent, now, this.#packetId)
      this.append(ring.bytes, ring.starts[slot]!, ring.starts[slot + some]!)
      if (onePerSegment) this.flush()
      this.sent += some
      this.#slot = slot + some === ring.slots ? 0 : slot + some
      rest -= some
    }
    this.#flow.meter.sent += count
  }

  #noteSent(sentAt: Uint32Array, count: number, now: number): void {
    for (let i = 0, id = this.#packetId; i < count; i++, id = id === 65535 ? 1 : id + 1) sentAt[id] = now
  }

  #room(): number {
    const { inFlight, untilReceived, limit } = this.#how
    let room = Math.min(this.#ackRoom(), limit - this.sent)
    if (untilReceived) room = Math.min(room, inFlight - (this.sent - this.settled))
    return room
  }

  #ackRoom(): number {
    const { qos, inFlight, openLoop } = this.#how
    // The open loop is bounded by the protocol alone, but where acks are what counts: what waits for room counts from when
    // it was due all the same.
    const window = openLoop && this.#sentAt === null ? 65535 : inFlight
    if (qos === 0) return window
    return Math.min(window, this.receiveMaximum) - (this.sent - this.acked)
  }
}

export class Subscriber extends Link {
  /** One per publisher. */
  readonly trackers: readonly Tracker[]
  readonly #flow: Flow
  readonly #index: number

  constructor(link: LinkOptions, flow: Flow, index: number, trackers: readonly Tracker[]) {
    super(link)
    this.#flow = flow
    this.#index = index
    this.trackers = trackers
  }

  override onPublish(head: number, packetId: number, payload: number, end: number): void {
    const flow = this.#flow
    const view = this.view
    if ((head & 6) !== 0) this.appendAck((head & 4) === 0 ? PUBACK : PUBREC, packetId)
    const publisher = end - payload >= STAMP_BYTES ? view.getUint32(payload, true) : this.trackers.length
    if (publisher >= this.trackers.length) {
      flow.strange++
      return
    }
    flow.meter.received++
    const settled = this.trackers[publisher]!.accept(view.getUint32(payload + 4, true), this.#index)
    const sender = flow.publishers[publisher]
    if (settled > 0 && sender !== undefined) flow.settle(sender, this.#index, settled)
    flow.meter.latency.record(view.getUint32(payload + 8, true), this.now)
  }

  override onAck(type: number, packetId: number): void {
    if (type === PUBREL) this.appendAck(PUBCOMP, packetId)
  }

  protected override onChunkEnd(): void {
    this.flush()
    this.#flow.pumpReady()
  }
}

/** Sleep between two looks at the schedule and the sockets, in milliseconds. */
const TICK_MS = 0.2
const tick = new Int32Array(new SharedArrayBuffer(4))

export interface Schedule {
  /** Messages a second. */
  rate: number
  /** Messages that a publisher sends at once. Default 1. */
  burst?: number
  /** It gets there in so many seconds: a broker that was just started is not what is measured. Default 0. */
  rampSeconds?: number
  /**
   * Between two looks; a timer is up to 1 ms late. `sleep`: for a fifth of a millisecond, where the broker needs this core
   * too. Default `spin`.
   */
  pause?: 'spin' | 'sleep'
}

/** Sends messages in turn over the publishers until stopped. */
export function runSchedule(flow: Flow, { rate, burst = 1, rampSeconds = 0, pause = 'spin' }: Schedule): void {
  const began = performance.now()
  const zero = clockMicros()
  /** Messages of the ramp; from then on one is due every 1 / rate seconds. */
  const rampCount = (rate * rampSeconds) / 2
  const dueBy = (seconds: number) =>
    seconds < rampSeconds ? (rampCount * seconds ** 2) / rampSeconds ** 2 : rampCount + rate * (seconds - rampSeconds)
  const secondsOf = (count: number) =>
    count < rampCount ? rampSeconds * Math.sqrt(count / rampCount) : rampSeconds + (count - rampCount) / rate
  let next = 0
  const turn = () => {
    if (!flow.running) return
    const now = clockMicros()
    const due = dueBy((performance.now() - began) / 1000)
    for (; next * burst <= due; next++) {
      const intended = (zero + secondsOf(next * burst) * 1_000_000) >>> 0
      flow.meter.lateness.record(intended, now)
      flow.publishers[next % flow.publishers.length]!.sendAt(intended, burst)
    }
    if (pause === 'sleep') Atomics.wait(tick, 0, 0, TICK_MS)
    setImmediate(turn)
  }
  turn()
}

/** Totals over all streams of a run. */
export function account(
  publishers: readonly Publisher[],
  trackers: readonly (readonly Tracker[])[],
): Pick<Measured, 'sent' | 'lost' | 'duplicated' | 'outOfOrder'> {
  const total = { sent: 0, lost: 0, duplicated: 0, outOfOrder: 0 }
  for (const publisher of publishers) total.sent += publisher.sent
  for (const streams of trackers) {
    streams.forEach((tracker, publisher) => {
      total.lost += tracker.lost(publishers[publisher]!.sent)
      total.duplicated += tracker.duplicated
      total.outOfOrder += tracker.outOfOrder
    })
  }
  return total
}
