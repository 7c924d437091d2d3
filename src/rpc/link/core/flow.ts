import { Buffer } from 'node:buffer'
import { assert } from '../../../base/assert.ts'
import type { LinkMeters } from './meters.ts'
import type { LinkOptions } from './options.ts'
import { FRAME_HEADER_BYTES, type FramePacket, stampFrame } from './packet.ts'

/** A frame on its way out. `packet` begins with room for the header. */
export interface OutFrame {
  packet: Buffer
  messages: number
  /** When its first message was queued, monotonic milliseconds. */
  queuedMs: number
}

interface KeptFrame extends OutFrame {
  /** Body bytes of the session up to and with this frame. */
  end: number
}

export type Verdict = 'deliver' | 'nothing' | 'violation'

/**
 * One end of a session: numbers what goes out and keeps it until it is acknowledged; drops by number what came before;
 * grants and obeys credit. It outlives its connections: each one resumes where the last one was broken.
 */
export class Flow {
  /** False: what was consumed gives the peer no new credit, because answers to it would find no room. */
  granting = true
  readonly #options: LinkOptions
  readonly #meters: LinkMeters
  /** Frames `#first` and following: not acknowledged, then not sent. */
  readonly #kept: KeptFrame[] = []
  #head = 0
  #first = 1
  /** Last number written to the current connection. */
  #written = 0
  /** Last number written to any connection. */
  #writtenMax = 0
  #queuedEnd = 0
  #ackedEnd = 0
  #peerCredit = 0
  #attached = false
  #seen = 0
  #receivedEnd = 0
  #consumedEnd = 0
  #credit: number
  /** What the peer was told last. */
  readonly #told = { end: 0, credit: 0 }
  #ackDueMs = Number.POSITIVE_INFINITY
  #ackNow = false
  #heardMs = 0
  #pinged = false

  constructor(options: LinkOptions, meters: LinkMeters) {
    assert(options.windowBytes >= 2 * options.frameBytesMax, 'A window holds two frames at least')
    this.#options = options
    this.#meters = meters
    this.#credit = options.windowBytes
  }

  /** Last number received. */
  get seen(): number {
    return this.#seen
  }

  get credit(): number {
    return this.#credit
  }

  /** Body bytes that are kept. */
  get bufferedBytes(): number {
    return this.#queuedEnd - this.#ackedEnd
  }

  /** Frames that are kept, oldest first. */
  kept(): readonly OutFrame[] {
    return this.#kept.slice(this.#head)
  }

  push(frame: OutFrame): void {
    this.#queuedEnd += frame.packet.length - FRAME_HEADER_BYTES
    this.#kept.push({ packet: frame.packet, messages: frame.messages, queuedMs: frame.queuedMs, end: this.#queuedEnd })
  }

  /** A new connection, and what the peer said about the session. False where that cannot be. */
  attach(seen: number, credit: number, nowMs: number): boolean {
    if (seen < this.#first - 1 || !this.#trim(seen)) return false
    this.#written = seen
    this.#peerCredit = Math.max(this.#peerCredit, credit)
    this.#attached = true
    this.#heardMs = nowMs
    this.#pinged = false
    // What the last connection had to say about receipts went into the handshake.
    this.#markTold()
    return true
  }

  detach(): void {
    this.#attached = false
    this.#ackDueMs = Number.POSITIVE_INFINITY
    this.#ackNow = false
  }

  receive(frame: FramePacket, nowMs: number): Verdict {
    this.#heardMs = nowMs
    this.#pinged = false
    if (!this.#trim(frame.ack)) return 'violation'
    this.#peerCredit = Math.max(this.#peerCredit, frame.credit)
    if (frame.ping) this.#ackNow = true
    if (frame.number === 0) return 'nothing'
    if (frame.number <= this.#seen) {
      this.#meters.framesDuplicate++
      return 'nothing'
    }
    const end = this.#receivedEnd + frame.body.length
    if (frame.number !== this.#seen + 1 || end > this.#credit) return 'violation'
    this.#seen = frame.number
    this.#receivedEnd = end
    this.#meters.framesReceived++
    this.#meters.bytesReceived += frame.body.length
    if (end - this.#told.end >= this.#options.windowBytes / 4) this.#ackNow = true
    else if (this.#ackDueMs === Number.POSITIVE_INFINITY) this.#ackDueMs = nowMs + this.#options.ackDelayMs
    return 'deliver'
  }

  /** So many bytes of received bodies are dealt with: the peer may send as many more. */
  consumed(bytes: number, nowMs: number): void {
    this.#consumedEnd += bytes
    assert(this.#consumedEnd <= this.#receivedEnd, 'More was consumed than received')
    this.#grant(nowMs)
  }

  /** Puts what may be written to the connection now into `writes`. */
  take(writes: Buffer[], nowMs: number, ping = false): void {
    if (!this.#attached) return
    this.#grant(nowMs)
    for (;;) {
      const frame = this.#kept[this.#head + this.#written + 1 - this.#first]
      if (frame === undefined || frame.end > this.#peerCredit) break
      this.#written++
      this.#stamp(frame.packet, this.#written, false)
      writes.push(frame.packet)
      this.#countWritten(frame, nowMs)
    }
    if (!ping && !this.#ackNow && nowMs < this.#ackDueMs) return
    const packet = Buffer.alloc(FRAME_HEADER_BYTES)
    this.#stamp(packet, 0, ping)
    writes.push(packet)
    this.#meters.acksAlone++
  }

  /** What time alone brings about: `ping` = ask for a sign of life (the initiator does), `broken` = too long silent. */
  check(nowMs: number): 'fine' | 'ping' | 'broken' {
    const { keepaliveMs, silenceMsMax } = this.#options
    const plannedMs = this.#heardMs + (this.#pinged ? silenceMsMax : keepaliveMs)
    if (nowMs - plannedMs > keepaliveMs) {
      // This process slept: what the peer said meanwhile has not been read yet, and timers come before sockets.
      this.#heardMs = nowMs - keepaliveMs
      this.#pinged = false
    }
    const silentMs = nowMs - this.#heardMs
    if (silentMs >= silenceMsMax) return 'broken'
    if (silentMs < keepaliveMs || this.#pinged) return 'fine'
    this.#pinged = true
    return 'ping'
  }

  /** When {@link take} or {@link check} should be called at the latest. */
  get wakeAtMs(): number {
    if (!this.#attached) return Number.POSITIVE_INFINITY
    const { keepaliveMs, silenceMsMax } = this.#options
    return Math.min(this.#ackDueMs, this.#heardMs + (this.#pinged ? silenceMsMax : keepaliveMs))
  }

  #grant(nowMs: number): void {
    if (!this.granting) return
    this.#credit = this.#consumedEnd + this.#options.windowBytes
    if (!this.#attached) return
    // A peer that is nearly out of credit must hear of the new one at once, also when the bytes were acknowledged.
    if (this.#credit - this.#told.credit >= this.#options.windowBytes / 4) this.#ackNow = true
    else if (this.#credit > this.#told.credit && this.#ackDueMs === Number.POSITIVE_INFINITY) {
      this.#ackDueMs = nowMs + this.#options.ackDelayMs
    }
  }

  #stamp(packet: Buffer, number: number, ping: boolean): void {
    const bodyBytes = packet.length - FRAME_HEADER_BYTES
    stampFrame(packet, 0, { number, ack: this.#seen, credit: this.#credit, ping, bodyBytes })
    this.#markTold()
  }

  #markTold(): void {
    this.#told.end = this.#receivedEnd
    this.#told.credit = this.#credit
    this.#ackNow = false
    this.#ackDueMs = Number.POSITIVE_INFINITY
  }

  #countWritten(frame: KeptFrame, nowMs: number): void {
    const meters = this.#meters
    meters.framesSent++
    meters.bytesSent += frame.packet.length
    if (this.#written <= this.#writtenMax) {
      meters.framesResent++
      return
    }
    this.#writtenMax = this.#written
    meters.queueSeconds.observe((nowMs - frame.queuedMs) / 1_000)
  }

  /** The peer has everything up to `number`. */
  #trim(number: number): boolean {
    if (number > this.#writtenMax) return false
    while (this.#first <= number) {
      const frame = this.#kept[this.#head]!
      this.#ackedEnd = frame.end
      this.#kept[this.#head++] = RELEASED
      this.#first++
    }
    if (this.#head > 64 && this.#head * 2 > this.#kept.length) {
      this.#kept.splice(0, this.#head)
      this.#head = 0
    }
    return true
  }
}

const RELEASED: KeptFrame = { packet: Buffer.alloc(0), messages: 0, queuedMs: 0, end: 0 }
