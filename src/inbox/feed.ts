/**
 * Pushes one session's queue to its owner.
 *
 * Hot path: an entry that was just applied on this node goes to the sink as the object that the coprocessor made,
 * without being read from storage; acknowledgements are numbers in an array until the next trim, which takes them all
 * (bench: `persistent`, online).
 */
import { Fifo } from '../base/fifo.ts'
import { type Message, remainingExpirySeconds } from '../base/message.ts'
import type { Feed, FeedEntry, FeedOptions, FeedSink, InsertTarget, Owner } from './contract.ts'
import { conflict } from './errors.ts'
import type { FeedHost } from './feed-host.ts'
import type { WatchingFeed } from './remote/watches.ts'
import type { Answer, Effect, Response, TrimCommand } from './store/command.ts'
import { decodeEntry, packetIdOf, RELEASED_VALUE, SEQUENCES_MAX } from './store/entry.ts'
import { lookaheadOf } from './store/session.ts'

type Grown = Extract<Effect, { type: 'grown' }>

/** Entries of one read. */
const PAGE_ENTRIES = 256
const PAGE_BYTES = 1024 * 1024
/** Entries that arrived while there was no credit, kept so that they need not be read. */
const AHEAD_ENTRIES = 1_024
/** Entries that another node may push beyond those that were sent. */
const PUSHED_ENTRIES = 512

export class QueueFeed implements Feed, WatchingFeed {
  readonly owner: Owner
  readonly key: Uint8Array
  readonly name: string
  readonly watchedAs = ''
  remote = false
  readonly #host: FeedHost
  readonly #options: FeedOptions
  readonly #sink: FeedSink
  #state: 'opening' | 'open' | 'closed' = 'opening'
  #lookahead = 1
  #queuesQos0 = false
  /** The next sequence to be pushed, and the last one known to be there. */
  #next = 1
  #tail = 0
  /** As committed: see `Tally`. */
  #window = 0
  #floor = 1
  #sentUpTo = 0
  readonly #ahead = new Fifo<Grown>()
  #reading = false
  /** What was said last to who pushes from elsewhere. */
  #allowed = 0
  /** Bytes of the entries pushed and not acknowledged, by sequence, rising. */
  readonly #outstanding = new Map<number, number>()
  #outstandingBytes = 0
  #acknowledged: number[] = []
  #acknowledgedBytes = 0
  #trim: TrimCommand | null = null
  #trimFailed = false
  #trims = 0
  #batch: FeedEntry[] = []

  constructor(host: FeedHost, key: Uint8Array, name: string, owner: Owner, options: FeedOptions, sink: FeedSink) {
    this.#host = host
    this.key = key
    this.name = name
    this.owner = owner
    this.#options = options
    this.#sink = sink
  }

  /** True where a QoS 0 message may pass what is stored: none of its kind waits before it. */
  get passes(): boolean {
    return this.#state === 'open' && (!this.#queuesQos0 || this.#next > this.#tail)
  }

  open(): void {
    this.#host.listen(this)
  }

  /** Also where effects may have been missed: asks what is there. */
  heard(): void {
    if (this.#state === 'closed') return
    this.#allowed = 0
    const { incarnation, connection } = this.owner
    this.#host.ranges.query(this.key, { type: 'open', key: this.key, incarnation, connection }).then(
      (answer) => this.#opened(answer),
      (error: unknown) => this.#host.retry(this, () => this.heard(), error),
    )
  }

  acknowledge(sequence: number): void {
    const bytes = this.#outstanding.get(sequence)
    if (bytes === undefined) return
    this.#outstanding.delete(sequence)
    this.#outstandingBytes -= bytes
    this.#noteDone(sequence, bytes)
    if (this.#state === 'open') this.#host.wake(this)
  }

  received(sequence: number, _packetId: number, done: (error: Error | null) => void): void {
    const { incarnation, connection } = this.owner
    const command = { type: 'received', key: this.key, incarnation, connection, sequence } as const
    this.#host.ranges.mutateWith(this.key, command, (error, response) => {
      if (error === null && response === 'conflict') {
        this.lost('taken-over')
        return done(conflict(this.owner))
      }
      const bytes = error === null ? this.#outstanding.get(sequence) : undefined
      if (bytes !== undefined) {
        this.#outstanding.set(sequence, RELEASED_VALUE.length)
        this.#outstandingBytes += RELEASED_VALUE.length - bytes
      }
      done(error)
    })
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#end()
    // The trim under way, if there is one, is applied first: both go by the same key.
    if (this.#acknowledged.length > 0) this.#sendTrim()
  }

  lost(reason: Parameters<FeedSink['lost']>[0]): void {
    if (this.#state === 'closed') return
    this.#end()
    this.#sink.lost(reason)
  }

  /** An entry was applied here. */
  grown(effect: Grown): void {
    const { sequence } = effect.entry
    if (sequence <= this.#tail) return
    this.#tail = sequence
    // Where one finds no room it is read later, also from between others.
    if (this.#ahead.length < AHEAD_ENTRIES && this.#host.reserve(effect.bytes)) this.#ahead.push(effect)
  }

  /** Entries up to here were applied elsewhere, and are not pushed. */
  tailIs(sequence: number): void {
    this.#tail = Math.max(this.#tail, sequence)
  }

  /** A QoS 0 message that is kept nowhere. */
  pass(message: Message, target: InsertTarget): void {
    const { retain, subscriptionIds } = target
    const entry = { sequence: 0, packetId: 0, dup: false, released: false, message, retain, subscriptionIds } as const
    this.#batch.push({ ...entry, qos: 0 })
    this.#host.wake(this)
  }

  /** Pushes what may be pushed. Never from inside a call of the owner. */
  run(): void {
    if (this.#state !== 'open') return
    this.#pump()
    this.#deliver()
    if (this.remote) this.#allow()
  }

  /** The lazy part: every 100 ms where there is something. */
  tick(): void {
    if (this.#trimFailed) {
      this.#trimFailed = false
      this.#submit(this.#trim!)
    } else if (this.#acknowledged.length > 0) this.#trimNow()
  }

  /** Of what another node pushes no more comes than is taken soon. */
  #allow(): void {
    const upTo = this.#next - 1 + PUSHED_ENTRIES
    if (upTo - this.#allowed < PUSHED_ENTRIES / 2) return
    this.#allowed = upTo
    this.#host.allow(this, upTo)
  }

  #opened(answer: Answer): void {
    if (this.#state === 'closed') return
    if (answer === null || typeof answer === 'string' || !('type' in answer) || answer.type !== 'feed') {
      return this.lost('taken-over')
    }
    this.#tail = Math.max(this.#tail, answer.tail)
    if (this.#state === 'open') return this.run()
    this.#state = 'open'
    this.#next = this.#floor = answer.head
    this.#window = answer.window
    this.#sentUpTo = answer.sentUpTo
    this.#queuesQos0 = answer.queueQos0
    this.#lookahead = lookaheadOf(answer.messagesMax, this.#options.credit)
    this.run()
  }

  #pump(): void {
    while (this.#next <= this.#tail && !this.#reading && this.#hasCredit()) {
      if (this.#next > this.#window) {
        this.#trimNow()
        break
      }
      const first = this.#ahead.peek()
      if (first === undefined || first.entry.sequence > this.#next) {
        this.#read(first === undefined ? this.#tail : first.entry.sequence - 1)
        break
      }
      this.#ahead.shift()
      this.#host.release(first.bytes)
      if (first.entry.sequence === this.#next) this.#push(first.entry, first.bytes)
    }
    // Well ahead of need, so that pushing never waits for it.
    if (this.#window - this.#next + 1 < this.#lookahead / 2) this.#trimNow()
  }

  #hasCredit(): boolean {
    const { credit, bytesMax } = this.#options
    if (this.#outstanding.size >= credit || this.#next - this.#floor > SEQUENCES_MAX) return false
    return this.#outstandingBytes < bytesMax || this.#outstanding.size === 0
  }

  #push(entry: FeedEntry, bytes: number): void {
    const { sequence, message } = entry
    this.#next = sequence + 1
    if (sequence > this.#sentUpTo && message !== null && message.expirySeconds >= 0 && this.#isExpired(message)) {
      this.#host.expired(this.owner, 1)
      return this.#noteDone(sequence, bytes)
    }
    this.#batch.push(entry)
    if (entry.qos === 0) return this.#noteDone(sequence, bytes)
    this.#outstanding.set(sequence, bytes)
    this.#outstandingBytes += bytes
  }

  #isExpired(message: Message): boolean {
    return remainingExpirySeconds(message, this.#host.nowMs()) === 0
  }

  #noteDone(sequence: number, bytes: number): void {
    this.#acknowledged.push(sequence)
    this.#acknowledgedBytes += bytes
    this.#host.tickLater(this)
  }

  #deliver(): void {
    if (this.#batch.length === 0) return
    const batch = this.#batch
    this.#batch = []
    this.#sink.entries(batch)
  }

  #read(last: number): void {
    this.#reading = true
    const { credit, bytesMax } = this.#options
    const query = {
      type: 'entries',
      key: this.key,
      incarnation: this.owner.incarnation,
      from: this.#next,
      to: Math.min(last, this.#window, this.#floor + SEQUENCES_MAX),
      limit: Math.min(PAGE_ENTRIES, credit - this.#outstanding.size),
      bytesMax: Math.min(PAGE_BYTES, bytesMax - this.#outstandingBytes),
    } as const
    this.#host.ranges.query(this.key, query).then(
      (answer) => this.#gotPage(answer),
      (error: unknown) => {
        this.#reading = false
        this.#host.retry(this, () => this.run(), error)
      },
    )
  }

  #gotPage(answer: Answer): void {
    this.#reading = false
    if (this.#state !== 'open' || answer === null || typeof answer === 'string') return
    if (!('type' in answer) || answer.type !== 'entries') return
    for (let i = 0; i < answer.sequences.length; i++) {
      const sequence = answer.sequences[i]!
      const value = answer.values[i]!
      const entry = decodeEntry(sequence, packetIdOf(sequence), sequence <= this.#sentUpTo, value)
      if (entry.qos === 0) entry.packetId = 0
      this.#push(entry, value.length)
    }
    this.#next = Math.max(this.#next, answer.examined + 1)
    this.run()
  }

  #trimNow(): void {
    if (this.#trim === null) this.#sendTrim()
  }

  #sendTrim(): void {
    const { incarnation, connection } = this.owner
    const acknowledged = this.#acknowledged
    const floor = this.#outstanding.size === 0 ? this.#next : this.#outstanding.keys().next().value!
    const command: TrimCommand = {
      type: 'trim',
      key: this.key,
      incarnation,
      connection,
      number: ++this.#trims,
      ranges: toRanges(acknowledged),
      messages: acknowledged.length,
      bytes: this.#acknowledgedBytes,
      floor,
      window: Math.max(this.#window, this.#next - 1 + this.#lookahead),
    }
    this.#acknowledged = []
    this.#acknowledgedBytes = 0
    this.#submit(command)
  }

  #submit(command: TrimCommand): void {
    this.#trim = command
    this.#host.ranges.mutateWith(this.key, command, (error, response) => this.#trimmed(command, error, response))
  }

  #trimmed(command: TrimCommand, error: Error | null, response: Response | null): void {
    if (this.#trim !== command) return
    if (error !== null && this.#state !== 'closed') {
      this.#trimFailed = true
      return this.#host.tickLater(this)
    }
    this.#trim = null
    if (this.#state === 'closed') return
    if (response === 'conflict') return this.lost('taken-over')
    if (typeof response === 'object' && response?.type === 'trimmed') {
      if (response.droppedTo > this.#window) this.#forget(response.droppedTo)
      this.#window = command.window
      this.#floor = command.floor
    }
    if (this.#acknowledged.length > 0) this.#host.tickLater(this)
    this.run()
  }

  #end(): void {
    this.#state = 'closed'
    this.#batch = []
    this.#forget(Number.POSITIVE_INFINITY)
    this.#host.closed(this)
  }

  /** Entries up to here gave way at the limit: those kept in memory may be among them, so all of these go. */
  #forget(droppedTo: number): void {
    for (let first = this.#ahead.peek(); first !== undefined && first.entry.sequence <= droppedTo; ) {
      this.#host.release(first.bytes)
      this.#ahead.shift()
      first = this.#ahead.peek()
    }
  }
}

/** Sequences as pairs of first and last. Sorts `sequences`. */
export function toRanges(sequences: number[]): number[] {
  const ranges: number[] = []
  let sorted = true
  for (let i = 1; i < sequences.length && sorted; i++) sorted = sequences[i - 1]! < sequences[i]!
  if (!sorted) sequences.sort((a, b) => a - b)
  for (const sequence of sequences) {
    if (ranges.length > 0 && ranges[ranges.length - 1] === sequence - 1) ranges[ranges.length - 1] = sequence
    else ranges.push(sequence, sequence)
  }
  return ranges
}
