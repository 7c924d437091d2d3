import { BrokerError } from '../../base/errors.ts'
import type { Write } from '../engine/engine.ts'
import type { Run } from './entry.ts'
import { holds, type Interval, type Intervals, intersect, join, NO_INTERVALS, without } from './intervals.ts'
import { answersKey, encodeMark, type Mark, markKey } from './schema.ts'

/** How answers are kept on disk, so that a repetition after a restart gets the real one. */
export interface AnswerCodec {
  encode(responses: readonly unknown[]): Uint8Array
  decode(bytes: Uint8Array): unknown[]
}

export interface StreamLimits {
  /** Most answers kept for each stream; the oldest give way. Default 65,536: what a client may have under way. */
  answersMax: number
  /** Beyond this many streams, those idle for `idleMsMax` are forgotten. Default 256. */
  streamsMax: number
  /** Far above any client's deadline: nothing of such a stream can still be on its way. Default one hour. */
  idleMsMax: number
}

export const STREAM_LIMITS: StreamLimits = { answersMax: 65_536, streamsMax: 256, idleMsMax: 3_600_000 }

/** In the place of an answer: the command was applied before, and its answer is no longer kept. */
export const LOST = Symbol('lost answer')

/** Answers of consecutive numbers. */
export interface Answers {
  first: number
  responses: readonly unknown[]
}

interface Stream {
  /** Of the mark's record. */
  readonly key: Uint8Array
  mark: Mark
  answers: Answers[]
  count: number
}

/** What to do with a run: how many of its commands were applied before, or why none may be. */
export type Admission = { repeated: number; error: null } | { repeated: 0; error: BrokerError }

/**
 * Which commands of which client a range has applied: a part of its applied state, the same on every replica.
 *
 * A stream's mark is the highest number applied. A command above it whose predecessor is applied is fresh; one at or
 * below it is a repetition, and gets the answer of the first time; anything else would leave a gap and is refused.
 *
 * After a split both children know what was applied before, and a client's commands of one stream go on to both, each
 * number to one of them. Those that are the other one's are left open below the mark. So a merge is the union: what
 * either side has applied is applied, whatever else has happened to the boundaries, and the sides cannot be mixed up.
 */
export class Streams {
  readonly #service: string
  readonly #range: string
  readonly #codec: AnswerCodec | null
  readonly #limits: StreamLimits
  readonly #streams = new Map<string, Stream>()

  /** Without a codec, answers are kept in memory only. */
  constructor(owner: { service: string; range: string }, codec: AnswerCodec | null, limits: StreamLimits) {
    this.#service = owner.service
    this.#range = owner.range
    this.#codec = codec
    this.#limits = limits
  }

  get size(): number {
    return this.#streams.size
  }

  /** For a start from disk. */
  load(stream: string, mark: Mark): void {
    this.#streams.set(stream, { key: this.#key(stream), mark, answers: [], count: 0 })
  }

  /** For a start from disk, by rising number. */
  loadAnswers(stream: string, first: number, bytes: Uint8Array): void {
    const known = this.#streams.get(stream)
    if (known === undefined || this.#codec === null) return
    const responses = this.#codec.decode(bytes)
    known.answers.push({ first, responses })
    known.count += responses.length
  }

  /** Decides about a run, and moves the mark over its fresh part. */
  admit(run: Run, nowMs: number, writes: Write[]): Admission {
    const known = this.#streams.get(run.stream)
    const applied = known?.mark.number ?? 0
    // Refused, it leaves no trace: who starts again from disk would not have one either.
    if (run.previous > 0 && (known === undefined || !isApplied(known.mark, run.previous))) {
      const message = `Cannot apply command ${run.first} of stream "${run.stream}": ${run.previous} is missing, send again from ${applied + 1}`
      return { repeated: 0, error: new BrokerError('SEQUENCE_GAP', message, { hint: { applied } }) }
    }
    const stream = known ?? this.#open(run.stream, nowMs, writes)
    const { mark } = stream
    const repeated = countApplied(mark, run)
    if (repeated < run.count) stream.mark = advanced(mark, run, repeated, nowMs)
    return { repeated, error: null }
  }

  /** Keeps the answers of a run's fresh part, and drops those that the client has. */
  record(run: Run, repeated: number, responses: readonly unknown[], writes: Write[]): void {
    const stream = this.#streams.get(run.stream)!
    const first = run.first + repeated
    insert(stream.answers, { first, responses })
    stream.count += responses.length
    writes.push({ type: 'put', key: stream.key, value: encodeMark(stream.mark) })
    if (this.#codec !== null) {
      const key = answersKey(this.#service, this.#range, run.stream, first)
      writes.push({ type: 'put', key, value: this.#codec.encode(responses) })
    }
    let drop = 0
    for (const each of stream.answers) {
      const had = each.first + each.responses.length - 1 <= run.answered
      if (!had && stream.count <= this.#limits.answersMax) break
      stream.count -= each.responses.length
      drop++
      if (this.#codec === null) continue
      writes.push({ type: 'delete', key: answersKey(this.#service, this.#range, run.stream, each.first) })
    }
    if (drop > 0) stream.answers.splice(0, drop)
  }

  /** The answers of the first `count` numbers of a run. */
  recall(run: Run, count: number): unknown[] {
    const responses = new Array<unknown>(count).fill(LOST)
    for (const each of this.#streams.get(run.stream)!.answers) {
      const from = Math.max(each.first, run.first)
      const to = Math.min(each.first + each.responses.length, run.first + count)
      for (let number = from; number < to; number++) {
        responses[number - run.first] = each.responses[number - each.first]
      }
    }
    return responses
  }

  /** Gives a split's child the same marks and answers. */
  copyTo(child: Streams, writes: Write[]): void {
    for (const [name, { mark, answers, count }] of this.#streams) {
      const key = child.#key(name)
      child.#streams.set(name, { key, mark, answers: answers.slice(), count })
      writes.push({ type: 'put', key, value: encodeMark(mark) })
      if (this.#codec === null) continue
      for (const { first, responses } of answers) {
        const record = answersKey(child.#service, child.#range, name, first)
        writes.push({ type: 'put', key: record, value: this.#codec.encode(responses) })
      }
    }
  }

  /** Takes over what the right side of a merge has applied. */
  absorb(right: Streams, writes: Write[]): void {
    for (const [name, { mark, answers }] of right.#streams) {
      const known = this.#streams.get(name)
      const stream: Stream = known ?? { key: this.#key(name), mark, answers: [], count: 0 }
      if (known === undefined) this.#streams.set(name, stream)
      stream.mark = united(stream.mark, mark)
      writes.push({ type: 'put', key: stream.key, value: encodeMark(stream.mark) })
      for (const { first, responses } of answers) {
        // Both have those from before a split that made them two.
        if (stream.answers.some((each) => each.first === first)) continue
        insert(stream.answers, { first, responses })
        stream.count += responses.length
        if (this.#codec === null) continue
        const record = answersKey(this.#service, this.#range, name, first)
        writes.push({ type: 'put', key: record, value: this.#codec.encode(responses) })
      }
    }
  }

  #open(name: string, nowMs: number, writes: Write[]): Stream {
    if (this.#streams.size >= this.#limits.streamsMax) this.#forgetIdle(nowMs, writes)
    const stream: Stream = { key: this.#key(name), mark: { number: 0, nowMs }, answers: [], count: 0 }
    this.#streams.set(name, stream)
    return stream
  }

  #forgetIdle(nowMs: number, writes: Write[]): void {
    for (const [name, { key, mark, answers }] of this.#streams) {
      if (nowMs - mark.nowMs < this.#limits.idleMsMax) continue
      this.#streams.delete(name)
      writes.push({ type: 'delete', key })
      for (const { first } of answers) {
        if (this.#codec === null) break
        writes.push({ type: 'delete', key: answersKey(this.#service, this.#range, name, first) })
      }
    }
  }

  #key(stream: string): Uint8Array {
    return markKey(this.#service, this.#range, stream)
  }
}

function isApplied({ number, open }: Mark, which: number): boolean {
  return which <= number && (open === undefined || !holds(open, which))
}

/** How many of a run's first commands were applied before: after one that was not, none was. */
function countApplied(mark: Mark, run: Run): number {
  if (mark.open === undefined) return Math.max(0, Math.min(run.count, mark.number - run.first + 1))
  let count = 0
  while (count < run.count && isApplied(mark, run.first + count)) count++
  return count
}

/** The mark after a run whose first `repeated` commands were applied before. */
function advanced(mark: Mark, run: Run, repeated: number, nowMs: number): Mark {
  const last = run.first + run.count - 1
  const number = Math.max(mark.number, last)
  if (mark.open === undefined && run.apart === undefined) return { number, nowMs }
  const from = repeated === 0 ? run.previous + 1 : run.first + repeated
  // Nothing between is still to come, but for what the client says.
  const apart = repeated === 0 ? intersect(run.apart ?? NO_INTERVALS, [[from, run.first - 1]]) : NO_INTERVALS
  const between = intersect(apart, notApplied(mark, number))
  const open = join(without(without(mark.open ?? NO_INTERVALS, from, last), 0, run.answered), between)
  return open.length === 0 ? { number, nowMs } : { number, nowMs, open }
}

function united(a: Mark, b: Mark): Mark {
  const number = Math.max(a.number, b.number)
  const open = intersect(notApplied(a, number), notApplied(b, number))
  const mark = { number, nowMs: Math.max(a.nowMs, b.nowMs) }
  return open.length === 0 ? mark : { ...mark, open }
}

/** Of the numbers up to `to`. */
function notApplied({ number, open = NO_INTERVALS }: Mark, to: number): Intervals {
  if (to <= number) return open
  const above: Interval = [number + 1, to]
  return join(open, [above])
}

/** By number; nearly always the last. */
function insert(answers: Answers[], added: Answers): void {
  let at = answers.length
  while (at > 0 && answers[at - 1]!.first > added.first) at--
  answers.splice(at, 0, added)
}
