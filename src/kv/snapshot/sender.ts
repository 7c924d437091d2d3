import { assert } from '../../base/assert.ts'
import type { Cursor } from '../engine/engine.ts'
import type {
  Checksum,
  SnapshotCancel,
  SnapshotCredit,
  SnapshotDone,
  SnapshotEnd,
  SnapshotLimits,
  SnapshotMessage,
  SnapshotOffer,
} from './contract.ts'
import { Packer, type Pair } from './pairs.ts'
import { isLast } from './schema.ts'
import type { TokenBucket } from './token-bucket.ts'
import { checksumOfLast, checksumOfOffer } from './wire.ts'

/**
 * One state of the range: cursors opened together, between two batches, within the range's boundary and over its own
 * records. The offer's snapshot is the place of exactly that state.
 */
export interface SnapshotSource {
  data: Cursor
  records: Cursor
}

export interface SenderOptions {
  offer: SnapshotOffer
  source: SnapshotSource
  /** Shared by all streams of the store. */
  bucket: TokenBucket
  limits: SnapshotLimits
  checksum: Checksum
  nowMs: number
}

/**
 * The sending side of one snapshot:
 *
 *     offer -> wait for credit -> chunks, as credit and bandwidth allow -> end -> wait for the outcome
 *
 * It reads a chunk at a time, when it may be sent; nothing is kept for a second try.
 */
export class SnapshotSender {
  /** What came of it; the host reports it to the leader's replica, and is done with this. */
  outcome: 'installed' | 'needless' | 'failed' | null = null
  /** Why it failed. */
  reason = ''
  readonly #offer: SnapshotOffer
  readonly #source: SnapshotSource
  readonly #bucket: TokenBucket
  readonly #limits: SnapshotLimits
  readonly #checksum: Checksum
  readonly #packer: Packer
  readonly #last: { key: Uint8Array; value: Uint8Array }[] = []
  #stage: 'offer' | 'chunks' | 'ended' = 'offer'
  #cancel: SnapshotCancel | null = null
  #sent = 0
  #credit = 0
  #sum: number
  #heardMs: number
  /** The receiver has said a word: it is there. */
  #answered = false
  #recordsDone = false

  constructor({ offer, source, bucket, limits, checksum, nowMs }: SenderOptions) {
    this.#offer = offer
    this.#source = source
    this.#bucket = bucket
    this.#limits = limits
    this.#checksum = checksum
    this.#sum = checksumOfOffer(offer, checksum)
    this.#heardMs = nowMs
    this.#packer = new Packer(() => this.#nextPair(), limits.chunkBytes)
  }

  receive(message: SnapshotCredit | SnapshotDone | SnapshotCancel, nowMs: number): void {
    if (this.outcome !== null) return
    this.#heardMs = nowMs
    this.#answered = true
    if (message.type === 'credit') this.#credit = Math.max(this.#credit, message.upTo)
    else if (message.type === 'cancel') this.#finish('failed', `the receiver gave up: ${message.reason}`)
    else if (message.outcome === 'installed' && this.#stage !== 'ended') this.cancel('it ended before its end')
    else this.#finish(message.outcome)
  }

  /** The host gives up: the leadership is lost, the range is gone, the connection is. */
  cancel(reason: string): void {
    if (this.outcome !== null) return
    this.#cancel = { type: 'cancel', stream: this.#offer.stream, reason }
    this.#finish('failed', reason)
  }

  /** The next message; null where there is none now. Ask again after {@link receive}, or {@link waitMs}. */
  next(nowMs: number): SnapshotMessage | null {
    if (this.outcome === null && nowMs - this.#heardMs >= this.#silenceMsMax) this.cancel('nothing was heard')
    const cancel = this.#cancel
    this.#cancel = null
    if (this.outcome !== null) return cancel
    if (this.#stage === 'offer') {
      this.#stage = 'chunks'
      return this.#offer
    }
    return this.#stage === 'chunks' && this.waitMs(nowMs) === 0 ? this.#nextChunk(nowMs) : null
  }

  /** How long until there may be a message without another one coming in: at most until the silence is too long. */
  waitMs(nowMs: number): number {
    const left = this.#silenceMsMax - (nowMs - this.#heardMs)
    // In whole ms: a timer for what is lost in rounding would ring for ever.
    const silenceMs = left <= 0 ? 0 : Math.ceil(left)
    if (this.#stage === 'offer') return 0
    if (this.#stage === 'ended' || this.#sent >= this.#credit) return silenceMs
    return Math.min(silenceMs, this.#bucket.waitMs(nowMs))
  }

  get #silenceMsMax(): number {
    return this.#answered ? this.#limits.silenceMsMax : this.#limits.answerMsMax
  }

  #nextChunk(nowMs: number): SnapshotMessage {
    const { stream } = this.#offer
    const bytes = this.#packer.chunk()
    if (bytes === null) {
      this.#stage = 'ended'
      const last = this.#last
      const checksum = checksumOfLast(last, this.#sum, this.#checksum)
      const end: SnapshotEnd = { type: 'end', stream, chunks: this.#sent, checksum, last }
      return end
    }
    this.#bucket.take(bytes.length, nowMs)
    this.#sum = this.#checksum(bytes, this.#sum)
    return { type: 'chunk', stream, number: ++this.#sent, bytes, checksum: this.#sum }
  }

  /** Records first, so that those of the last batch are known at the end. */
  #nextPair(): Pair | null {
    const { data, records } = this.#source
    while (!this.#recordsDone) {
      if (!records.next()) {
        this.#recordsDone = true
        records.close()
      } else if (!isLast(records.key, this.#offer.descriptor.service)) {
        return { of: 'record', key: records.key, value: records.value }
      } else this.#last.push({ key: records.key.slice(), value: records.value.slice() })
    }
    if (!data.next()) return null
    return { of: 'data', key: data.key, value: data.value }
  }

  #finish(outcome: 'installed' | 'needless' | 'failed', reason = ''): void {
    assert(this.outcome === null, 'A stream ends once')
    this.outcome = outcome
    this.reason = reason
    if (!this.#recordsDone) this.#source.records.close()
    this.#recordsDone = true
    this.#source.data.close()
  }
}
