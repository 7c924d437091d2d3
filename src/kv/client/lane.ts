import { assert } from '../../base/assert.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Run } from '../range/entry.ts'
import type { LOST } from '../range/streams.ts'
import type { Done } from './client.ts'

/** One command under way. */
export interface Call<Command, Response> {
  readonly key: Uint8Array
  readonly command: Command
  readonly done: Done<Response>
  /** The caller's own number for it: see {@link Done}. */
  readonly tag: number
  readonly bytes: number
  /** Monotonic, in whole milliseconds: a number that takes no memory of its own. */
  readonly deadlineMs: number
  number: number
  /** The answer came before that of an earlier call, and waits for it. */
  answered: boolean
  response: Response | typeof LOST | null
}

/** A batch ready to go. */
export interface Shipment<Command> {
  run: Run
  keys: Uint8Array[]
  commands: Command[]
  bytes: number
}

export interface LaneLimits {
  batchCommandsMax: number
  batchBytesMax: number
}

/**
 * The numbered stream of a client to one range: the calls without an answer, by rising number.
 *
 * `sent` of them went out in the current attempt. After any doubt a new attempt begins with the first of them
 * (go-back-N): the range knows by the numbers which it has applied. Pure bookkeeping; the client decides when.
 *
 * Where a split or merge moves calls they keep their numbers, in a lane of their own that takes no new ones: each number
 * of a stream is one call's for ever, wherever it goes.
 */
export class Lane<Command, Response> {
  descriptor: RangeDescriptor
  stream: string
  /** Number of the attempt: errors of an earlier one say nothing about this one. */
  attempt = 0
  /** Failures in a row. */
  failures = 0
  lastError: Error | null = null
  /** True while a retry waits for its time. */
  waiting = false
  /** This attempt has waited: where its error names another leader, that one is asked at once. */
  waited = false
  /** In the client's list of lanes to flush. */
  dirty = false
  /** When the last progress was made, or the wait for it began. Monotonic, in milliseconds. */
  progressMs = 0
  /** When the last answer came, or the first of the calls that wait for one, ms. */
  answeredMs = 0
  bytes = 0
  /** Lanes that only finish what they hold: the older goes first. 0 = it takes new calls. */
  age = 0
  /** Done with. */
  closed = false
  /** Lanes with calls of the same stream, this one too; null: there is no other. */
  #family: Set<Lane<Command, Response>> | null = null
  #next = 1
  #answered = 0
  /** Those before the head are taken: null, so that they are not held on to. */
  #calls: (Call<Command, Response> | null)[] = []
  #head = 0
  #sent = 0

  constructor(descriptor: RangeDescriptor, stream: string) {
    this.descriptor = descriptor
    this.stream = stream
  }

  /** A lane for calls of this one that are another range's now: it knows what this range's marks say. */
  fork(descriptor: RangeDescriptor, age: number): Lane<Command, Response> {
    const fork = new Lane<Command, Response>(descriptor, this.stream)
    fork.#answered = this.#answered
    fork.age = age
    this.#family ??= new Set([this])
    this.#family.add(fork)
    fork.#family = this.#family
    return fork
  }

  /** It has nothing left to do. */
  close(): void {
    this.closed = true
    this.#leaveFamily()
  }

  get length(): number {
    return this.#calls.length - this.#head
  }

  get unsent(): number {
    return this.length - this.#sent
  }

  /** Of the calls whose answers were handed out the last one's number: the range has applied it for sure. */
  get answered(): number {
    return this.#answered
  }

  get sent(): number {
    return this.#sent
  }

  push(call: Call<Command, Response>): void {
    call.number = this.#next++
    this.adopt(call)
  }

  /** Takes over a numbered call: of a greater number than those here. */
  adopt(call: Call<Command, Response>): void {
    const last = this.#calls[this.#calls.length - 1] ?? null
    assert(last === null || last.number < call.number, 'Calls of a lane have rising numbers')
    this.#calls.push(call)
    this.bytes += call.bytes
    if (call.number >= this.#next) this.#next = call.number + 1
  }

  /** The next batch of consecutive numbers; null where all is sent. */
  ship(limits: LaneLimits): Shipment<Command> | null {
    const calls = this.#calls
    let at = this.#head + this.#sent
    while (at < calls.length && calls[at]!.answered) at++
    if (at === calls.length) {
      this.#sent = this.length
      return null
    }
    const first = calls[at]!.number
    const previous = at === this.#head ? this.#answered : calls[at - 1]!.number
    const shipment: Shipment<Command> = {
      run: { stream: this.stream, previous, first, count: 0, answered: this.#answered },
      keys: [],
      commands: [],
      bytes: 0,
    }
    for (; at < calls.length && shipment.commands.length < limits.batchCommandsMax; at++) {
      const call = calls[at]!
      if (call.number !== first + shipment.commands.length || call.answered) break
      if (shipment.bytes > 0 && shipment.bytes + call.bytes > limits.batchBytesMax) break
      shipment.keys.push(call.key)
      shipment.commands.push(call.command)
      shipment.bytes += call.bytes
    }
    shipment.run.count = shipment.commands.length
    if (this.#family !== null) this.#tellApart(shipment.run, this.#family)
    this.#sent = at - this.#head
    return shipment
  }

  /** Begins again with the first call. */
  rewind(): void {
    this.attempt++
    this.#sent = 0
  }

  /** A new stream with numbers from 1: for a range that has forgotten this one. */
  renew(stream: string): void {
    this.#leaveFamily()
    this.stream = stream
    this.#answered = 0
    this.#next = 1
    for (let at = this.#head; at < this.#calls.length; at++) this.#calls[at]!.number = this.#next++
    this.rewind()
  }

  /** Takes the answers of a run; calls that are no longer here are passed over. */
  answer(run: Run, responses: readonly (Response | typeof LOST)[]): void {
    const calls = this.#calls
    const end = run.first + run.count
    for (let at = this.#indexOf(run.first); at < calls.length; at++) {
      const call = calls[at]!
      if (call.number >= end) return
      if (call.answered) continue
      call.answered = true
      call.response = responses[call.number - run.first]!
    }
  }

  /** Takes the first call, where its answer is here. */
  shiftAnswered(): Call<Command, Response> | null {
    const call = this.#calls[this.#head] ?? null
    if (call === null || !call.answered) return null
    this.#calls[this.#head++] = null
    if (this.#sent > 0) this.#sent--
    this.bytes -= call.bytes
    this.#answered = call.number
    if (this.#head === this.#calls.length) {
      this.#calls = []
      this.#head = 0
    } else if (this.#head > 1024 && this.#head * 2 > this.#calls.length) {
      this.#calls.splice(0, this.#head)
      this.#head = 0
    }
    return call
  }

  /** Takes out the calls that `leaves` names. */
  extract(leaves: (call: Call<Command, Response>) => boolean): Call<Command, Response>[] {
    const taken: Call<Command, Response>[] = []
    const kept: Call<Command, Response>[] = []
    let sent = this.#sent
    for (let at = this.#head; at < this.#calls.length; at++) {
      const call = this.#calls[at]!
      if (!leaves(call)) {
        kept.push(call)
        continue
      }
      taken.push(call)
      this.bytes -= call.bytes
      if (at < this.#head + this.#sent) sent--
    }
    if (taken.length === 0) return taken
    this.#calls = kept
    this.#head = 0
    this.#sent = sent
    return taken
  }

  /** Whether any call's deadline has passed. */
  overdue(nowMs: number): boolean {
    for (let at = this.#head; at < this.#calls.length; at++) {
      const call = this.#calls[at]!
      if (call.deadlineMs <= nowMs && !call.answered) return true
    }
    return false
  }

  /** What is on its way to other ranges under the same stream is neither given up nor answered. */
  #tellApart(run: Run, family: ReadonlySet<Lane<Command, Response>>): void {
    const apart: [number, number][] = []
    for (const lane of family) {
      if (lane === this || lane.length === 0) continue
      run.answered = Math.min(run.answered, lane.#calls[lane.#head]!.number - 1)
      for (let at = lane.#indexOf(run.previous + 1); at < lane.#calls.length; at++) {
        const { number } = lane.#calls[at]!
        if (number >= run.first) break
        apart.push([number, number])
      }
    }
    if (apart.length > 0) run.apart = apart.sort((a, b) => a[0] - b[0])
  }

  #leaveFamily(): void {
    const family = this.#family
    this.#family = null
    if (family === null) return
    family.delete(this)
    if (family.size === 1) for (const last of family) last.#family = null
  }

  /** Index of the first call with a number >= `number`. */
  #indexOf(number: number): number {
    const calls = this.#calls
    let low = this.#head
    if (low < calls.length && calls[low]!.number >= number) return low
    let high = calls.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (calls[middle]!.number < number) low = middle + 1
      else high = middle
    }
    return low
  }
}
