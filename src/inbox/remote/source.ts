import type { Clock } from '../../base/clock.ts'
import type { HostId } from '../../base/ids.ts'
import { within } from '../../kv/engine/bytes.ts'
import type { RangeDescriptor } from '../../kv/range/coprocessor.ts'
import type { Peers, StreamSink } from '../../rpc/index.ts'
import type { Effect } from '../store/command.ts'
import { FEED, WATCH } from './channels.ts'
import { type Letter, NewsWriter, type PassLetter, readLetters } from './letters.ts'

export interface FeedSourceOptions {
  peers: Peers
  clock: Clock
  /** The ranges that this node's store leads. */
  led: () => readonly RangeDescriptor[]
  /** A QoS 0 message came for a session that is thought to be here. */
  passed: (letter: PassLetter) => void
}

/** What is told of what was applied. */
export type Told = Extract<Effect, { type: 'grown' | 'assigned' | 'attached' | 'ended' }>

/** What one node wants to hear of one inbox. */
interface Watch {
  name: string
  key: Uint8Array
  /** Of a member of the group whose inbox it is; '' = the session's own queue. */
  connection: string
  upTo: number
  stream: Stream
}

/** Bytes that are gathered before they leave: a chunk. */
const CHUNK_BYTES = 256 * 1024
/** A node that takes nothing for so long is told that the stream ended. */
const HELD_BYTES_MAX = 16 * 1024 * 1024
/** A stream that has nothing to say says so. Also how often it is looked at who leads. */
const BEAT_MS = 1_000
/** Watches of one node: more are refused. */
const WATCHES_MAX = 1_000_000

/**
 * Tells other nodes what happens to the inboxes of their sessions, for the ranges that this node leads. Whoever watches
 * asks what is there after it is told that it is watching; so nothing is missed, and what finds no room is told as
 * `watching` once more.
 *
 * Hot path: an entry for a session elsewhere is encoded once into the chunk of the turn.
 */
export class FeedSource {
  /** Entries pushed to other nodes; letters that could not be read. */
  pushed = 0
  malformed = 0
  readonly #options: FeedSourceOptions
  readonly #streams = new Map<HostId, Stream>()
  readonly #watches = new Map<string, Watch[]>()
  /** Of ranges that are watched. */
  readonly #ranges = new Set<string>()
  #count = 0
  #stopBeat: (() => void) | null = null

  constructor(options: FeedSourceOptions) {
    this.#options = options
    const { peers } = options
    peers.handleStreams(FEED, (number, sink) => this.#opened(number, sink))
    peers.handleMessages(WATCH, { received: (from, bytes) => this.#received(from, bytes) })
  }

  /** Inboxes that other nodes hear of. */
  get watched(): number {
    return this.#count
  }

  /** Something was applied. */
  tell(effect: Told): void {
    const watches = this.#watches.get(effect.name)
    if (watches === undefined) return
    for (const watch of watches) {
      if (effect.type === 'assigned' ? effect.connection !== watch.connection : watch.connection !== '') continue
      if (watch.stream.tell(watch, effect)) this.pushed++
    }
  }

  /** An entry was applied here as by one that follows. */
  follows(range: RangeDescriptor): void {
    if (this.#ranges.delete(range.id)) this.#lose((key) => within(key, range))
  }

  split(parent: RangeDescriptor, child: RangeDescriptor): void {
    if (this.#ranges.has(parent.id)) this.#ranges.add(child.id)
  }

  merged(left: RangeDescriptor, right: RangeDescriptor): void {
    if (this.#ranges.delete(right.id)) this.#ranges.add(left.id)
  }

  stop(): void {
    this.#stopBeat?.()
    for (const stream of [...this.#streams.values()]) this.#end(stream)
  }

  #opened(number: number, sink: StreamSink<Uint8Array>): void {
    const before = this.#streams.get(sink.from)
    if (before !== undefined) this.#end(before)
    const stream = new Stream(number, sink, this.#options.peers)
    this.#streams.set(sink.from, stream)
    sink.onCancel = () => this.#end(stream)
    sink.onReady = () => stream.ready()
    this.#stopBeat ??= this.#options.clock.after(BEAT_MS, () => this.#beat())
  }

  #received(from: HostId, bytes: Uint8Array): void {
    let read: { stream: number; letters: Letter[] }
    try {
      read = readLetters(bytes)
    } catch {
      this.malformed++
      return
    }
    const stream = this.#streams.get(from)
    const current = stream?.number === read.stream ? stream : null
    let led: readonly RangeDescriptor[] | null = null
    for (const letter of read.letters) {
      if (letter.type === 'pass') this.#pass(letter)
      else if (current === null) continue
      else if (letter.type === 'watch') this.#watch(current, letter, (led ??= this.#options.led()))
      else if (letter.type === 'unwatch') this.#unwatch(current, letter)
      else this.#limit(current, letter)
    }
  }

  #pass(letter: PassLetter): void {
    try {
      this.#options.passed(letter)
    } catch {
      this.malformed++
    }
  }

  #watch(stream: Stream, { name, connection }: Letter & { type: 'watch' }, led: readonly RangeDescriptor[]): void {
    const key = Buffer.from(name, 'latin1')
    const range = led.find((each) => within(key, each))
    if (range === undefined || stream.watches.size >= WATCHES_MAX) return stream.say('lost', name, connection)
    this.#unwatch(stream, { name, connection })
    const watch: Watch = { name, key, connection, upTo: 0, stream }
    const known = this.#watches.get(name)
    if (known === undefined) this.#watches.set(name, [watch])
    else known.push(watch)
    stream.watches.add(watch)
    this.#ranges.add(range.id)
    this.#count++
    stream.say('watching', name, connection)
  }

  #unwatch(stream: Stream, { name, connection }: { name: string; connection: string }): void {
    const watch = this.#find(stream, name, connection)
    if (watch !== undefined) this.#remove(watch)
  }

  #limit(stream: Stream, { name, upTo }: Letter & { type: 'limit' }): void {
    const watch = this.#find(stream, name, '')
    if (watch !== undefined) watch.upTo = upTo
  }

  #find(stream: Stream, name: string, connection: string): Watch | undefined {
    return this.#watches.get(name)?.find((each) => each.stream === stream && each.connection === connection)
  }

  #remove(watch: Watch): void {
    const { name, stream } = watch
    const rest = this.#watches.get(name)!.filter((each) => each !== watch)
    if (rest.length === 0) this.#watches.delete(name)
    else this.#watches.set(name, rest)
    stream.forget(watch)
    this.#count--
  }

  #lose(concerns: (key: Uint8Array) => boolean): void {
    for (const { watches } of this.#streams.values()) {
      for (const watch of [...watches]) {
        if (!concerns(watch.key)) continue
        this.#remove(watch)
        watch.stream.say('lost', watch.name, watch.connection)
      }
    }
  }

  #end(stream: Stream): void {
    for (const watch of [...stream.watches]) this.#remove(watch)
    if (this.#streams.get(stream.sink.from) === stream) this.#streams.delete(stream.sink.from)
    stream.end()
  }

  #beat(): void {
    this.#stopBeat = null
    if (this.#count > 0) {
      const led = this.#options.led()
      const ids = new Set(led.map(({ id }) => id))
      if ([...this.#ranges].some((id) => !ids.has(id))) {
        this.#lose((key) => !led.some((range) => within(key, range)))
        for (const id of [...this.#ranges]) if (!ids.has(id)) this.#ranges.delete(id)
      }
    }
    for (const stream of this.#streams.values()) stream.beat()
    if (this.#streams.size > 0) this.#stopBeat = this.#options.clock.after(BEAT_MS, () => this.#beat())
  }
}

/** The way to one node. While it takes nothing more, it is only kept of which inboxes there is news. */
class Stream {
  readonly number: number
  readonly sink: StreamSink<Uint8Array>
  readonly watches = new Set<Watch>()
  readonly #peers: Peers
  readonly #writer = new NewsWriter()
  /** Of entries that are not pushed: the last one of each. */
  readonly #tails = new Map<string, number>()
  readonly #missed = new Set<Watch>()
  #stalled = false
  #planned = false
  #ended = false
  #spoke = false

  constructor(number: number, sink: StreamSink<Uint8Array>, peers: Peers) {
    this.number = number
    this.sink = sink
    this.#peers = peers
  }

  say(type: 'watching' | 'lost', name: string, connection: string): void {
    this.#writer.watch(type, name, connection)
    this.#wrote()
  }

  /** True where an entry is on its way by that. */
  tell(watch: Watch, effect: Told): boolean {
    if (this.#stalled) {
      this.#missed.add(watch)
      return false
    }
    const pushed = this.#write(watch, effect)
    this.#wrote()
    return pushed
  }

  forget(watch: Watch): void {
    this.watches.delete(watch)
    this.#missed.delete(watch)
  }

  /** There is room again. */
  ready(): void {
    if (!this.#stalled) return
    this.#stalled = false
    const missed = [...this.#missed]
    this.#missed.clear()
    for (const { name, connection } of missed) this.say('watching', name, connection)
    this.#flush()
  }

  beat(): void {
    if (!this.#spoke && !this.#stalled) this.#send()
    this.#spoke = false
  }

  end(): void {
    this.#ended = true
    this.sink.end()
  }

  #write({ upTo }: Watch, effect: Told): boolean {
    const writer = this.#writer
    const { name } = effect
    switch (effect.type) {
      case 'grown': {
        const { sequence } = effect.entry
        if (sequence > upTo) {
          this.#tails.set(name, sequence)
          return false
        }
        writer.grown(name, effect.entry)
        return true
      }
      case 'assigned':
        writer.assigned(name, effect.member, effect.connection, effect.entry)
        return true
      case 'attached':
        writer.attached(name, effect.incarnation, effect.connection)
        return false
      default:
        writer.ended(name, effect.incarnation, effect.reason)
        return false
    }
  }

  #wrote(): void {
    if (this.#writer.length > HELD_BYTES_MAX) this.end()
    if (this.#writer.length >= CHUNK_BYTES) this.#flush()
    if (this.#planned || this.#stalled) return
    this.#planned = true
    this.#peers.beforeFrames(() => {
      this.#planned = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#ended || this.#stalled) return
    for (const [name, sequence] of this.#tails) this.#writer.tail(name, sequence)
    this.#tails.clear()
    if (this.#writer.length > 0) this.#send()
  }

  /** What finds no room is kept as it is, and no more comes to it but who is lost and who is to ask. */
  #send(): void {
    if (this.#ended) return
    if (!this.sink.ready) {
      this.#stalled = true
      return
    }
    this.#spoke = true
    this.sink.write(this.#writer.finish())
  }
}
