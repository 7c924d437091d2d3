import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import { compareBytes, within } from '../engine/bytes.ts'
import type { Batch, Bounds } from '../engine/engine.ts'
import { afterPrefix, appliedKey, configKey, decodeApplied, decodeDescriptor, descriptorKey } from '../range/schema.ts'
import type {
  Checksum,
  FamilyWrite,
  SnapshotCancel,
  SnapshotChunk,
  SnapshotEnd,
  SnapshotLimits,
  SnapshotMessage,
  SnapshotOffer,
} from './contract.ts'
import { type Pair, Unpacker } from './pairs.ts'
import { emptyRange, isLast, isMarker, markerKey, recordsPrefix } from './schema.ts'
import { checksumOfLast, checksumOfOffer } from './wire.ts'

export interface ReceiverOptions {
  /** Taken: it is wanted, and no other local replica covers any of its keys. */
  offer: SnapshotOffer
  /** What this replica has covered until now, also by a marker that is found here; it is emptied too. */
  boundaries: readonly Bounds[]
  /** The host's own part of the first batch: the log is emptied; term and vote stay, with commit 0. */
  firstWrites: readonly FamilyWrite[]
  /** The host's own part of the last batch: term and vote, commit and begin of the log at the snapshot's place. */
  lastWrites: readonly FamilyWrite[]
  limits: SnapshotLimits
  checksum: Checksum
  nowMs: number
}

/**
 * The receiving side of one snapshot: what comes in, as batches that the host writes one after the other.
 *
 *     marker and deletions, synced -> a batch for each chunk -> the records that make it valid, no marker, synced
 *
 * Until the last has landed the range is worth nothing, and says so by its marker; the host serves and votes with it no
 * more than a replica that is down. After any failure it starts that replica as one that was emptied.
 */
export class SnapshotReceiver {
  /** `installed`: start the replica from its disk. `failed`: start it emptied. */
  outcome: 'installed' | 'failed' | null = null
  /** Why it failed. */
  reason = ''
  readonly #options: ReceiverOptions
  readonly #unpacker: Unpacker
  readonly #bounds: Bounds
  readonly #recordBounds: Bounds
  /** Arrived, checked, and not handed out to be written. */
  #batches: Batch[]
  #underWay = false
  #arrived = 0
  #landed = -1
  #sum: number
  #end: SnapshotEnd | null = null
  #answers: SnapshotMessage[] = []
  #writes: FamilyWrite[] = []
  #before: { data: Uint8Array | null; record: Uint8Array | null } = { data: null, record: null }
  #heardMs: number

  constructor(options: ReceiverOptions) {
    const { offer, boundaries, firstWrites, limits, nowMs } = options
    const { descriptor, snapshot, to } = offer
    const { start, end } = descriptor
    this.#options = options
    this.#sum = checksumOfOffer(offer, options.checksum)
    this.#unpacker = new Unpacker(limits)
    this.#bounds = { start, end }
    const prefix = recordsPrefix(descriptor.service, descriptor.id)
    this.#recordBounds = { start: prefix, end: afterPrefix(prefix) }
    const marker = { replica: to, snapshot, boundaries: [...boundaries, { start, end }] }
    this.#batches = [{ writes: [...emptyRange(descriptor, marker), ...firstWrites], sync: true }]
    // That somebody is there the sender hears before the disk is done.
    this.#answers.push({ type: 'credit', stream: offer.stream, upTo: 0 })
    this.#heardMs = nowMs
  }

  /** Nothing is under way: with an outcome, the replica may be started. */
  get idle(): boolean {
    return !this.#underWay
  }

  receive(message: SnapshotChunk | SnapshotEnd | SnapshotCancel, nowMs: number): void {
    if (this.outcome !== null) return
    this.#heardMs = nowMs
    if (message.type === 'cancel') this.#fail(`the sender gave up: ${message.reason}`)
    else {
      const wrong = message.type === 'chunk' ? this.#takeChunk(message) : this.#takeEnd(message)
      if (wrong !== null) this.cancel(wrong)
    }
  }

  /** The next batch to be written; null while one is under way, or there is none. */
  next(nowMs: number): Batch | null {
    if (this.outcome === null && nowMs - this.#heardMs >= this.#options.limits.silenceMsMax) {
      if (this.#batches.length === 0 && !this.#underWay) this.cancel('nothing was heard')
    }
    if (this.outcome !== null || this.#underWay) return null
    const batch = this.#batches.shift() ?? null
    this.#underWay = batch !== null
    return batch
  }

  /** The batch handed out last is in the engine; a synced one is durable. */
  landed(nowMs: number): void {
    assert(this.#underWay, 'A batch lands that nobody was given')
    this.#underWay = false
    this.#heardMs = nowMs
    this.#landed++
    if (this.outcome !== null) return
    const { stream } = this.#options.offer
    if (this.#end !== null && this.#batches.length === 0) {
      this.outcome = 'installed'
      this.#answers.push({ type: 'done', stream, outcome: 'installed' })
    } else if (this.#end === null) {
      const upTo = this.#landed + this.#options.limits.windowChunks
      this.#answers.push({ type: 'credit', stream, upTo })
    }
  }

  /** What the sender is to be told next; null: nothing. */
  answer(): SnapshotMessage | null {
    return this.#answers.shift() ?? null
  }

  /** The host gives up, or what came is not what was sent. */
  cancel(reason: string): void {
    if (this.outcome !== null) return
    this.#answers.push({ type: 'cancel', stream: this.#options.offer.stream, reason })
    this.#fail(reason)
  }

  #fail(reason: string): void {
    this.outcome = 'failed'
    this.reason = reason
    this.#batches = []
  }

  /** Gives what is wrong. */
  #takeChunk({ number, bytes, checksum }: SnapshotChunk): string | null {
    const { limits } = this.#options
    if (this.#end !== null) return `chunk ${number} comes after the end`
    if (number !== this.#arrived + 1) return `chunk ${number} does not follow on chunk ${this.#arrived}`
    if (number > this.#landed + limits.windowChunks) return `chunk ${number} was not granted`
    if (bytes.length === 0 || bytes.length > limits.chunkBytes) return `chunk ${number} has ${bytes.length} bytes`
    this.#sum = this.#options.checksum(bytes, this.#sum)
    if (this.#sum !== checksum) return `chunk ${number} is damaged`
    this.#arrived++
    let outside: string | null = null
    this.#writes = []
    const wrong = this.#unpacker.push(bytes, (pair) => {
      outside ??= this.#takePair(pair)
    })
    this.#batches.push({ writes: this.#writes, sync: false })
    return wrong ?? outside
  }

  #takePair({ of, key, value }: Pair): string | null {
    const { service } = this.#options.offer.descriptor
    if (!within(key, of === 'data' ? this.#bounds : this.#recordBounds)) return `a key of ${of} is not of this range`
    const before = this.#before[of]
    if (before !== null && compareBytes(before, key) >= 0) return `a key of ${of} comes after a later one`
    if (of === 'record' && (isLast(key, service) || isMarker(key, service))) return 'a record comes before its time'
    this.#before[of] = key
    this.#writes.push({ family: of === 'data' ? service : 'meta', write: { type: 'put', key, value } })
    return null
  }

  #takeEnd(end: SnapshotEnd): string | null {
    if (this.#end !== null) return 'it ends twice'
    if (end.chunks !== this.#arrived) return `not all of ${end.chunks} chunks came`
    if (end.checksum !== checksumOfLast(end.last, this.#sum, this.#options.checksum)) return 'its end is damaged'
    if (!this.#unpacker.whole) return 'it ends within a pair'
    const wrong = this.#checkLast(end)
    if (wrong !== null) return wrong
    this.#end = end
    const { service, id } = this.#options.offer.descriptor
    const writes: FamilyWrite[] = [
      ...end.last.map(({ key, value }): FamilyWrite => ({ family: 'meta', write: { type: 'put', key, value } })),
      ...this.#options.lastWrites,
      { family: 'meta', write: { type: 'delete', key: markerKey(service, id) } },
    ]
    this.#batches.push({ writes, sync: true })
    return null
  }

  /** The records that make a range are of this one, whole, and of the snapshot's place. */
  #checkLast({ last }: SnapshotEnd): string | null {
    const { limits, offer } = this.#options
    const { service, id } = offer.descriptor
    const bytes = last.reduce((sum, { key, value }) => sum + key.length + value.length, 0)
    if (bytes > limits.lastBytesMax) return `the last records have ${bytes} bytes`
    const find = (key: Uint8Array) => last.find((record) => compareBytes(record.key, key) === 0)?.value
    const descriptor = find(descriptorKey(service, id))
    const applied = find(appliedKey(service, id))
    if (descriptor === undefined || applied === undefined) return 'the descriptor or the applied state is missing'
    const known = 2 + (find(configKey(service, id)) === undefined ? 0 : 1)
    if (last.length !== known) return 'a record among the last is not known here'
    return this.#checkPlace(descriptor, applied)
  }

  #checkPlace(descriptor: Uint8Array, applied: Uint8Array): string | null {
    const { offer } = this.#options
    try {
      const read = decodeDescriptor(descriptor)
      const { index } = decodeApplied(applied)
      const { id, service, start, end } = offer.descriptor
      const same = read.id === id && read.service === service && isSame(read.start, start) && isSame(read.end, end)
      if (!same) return 'the descriptor is another one than was offered'
      return index === offer.snapshot.index ? null : `the state is at ${index}, not at ${offer.snapshot.index}`
    } catch (error) {
      if (error instanceof BrokerError) return 'the last records cannot be read'
      throw error
    }
  }
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : compareBytes(a, b) === 0
}
