import { BrokerError } from '../../base/errors.ts'
import { Fifo } from '../../base/fifo.ts'
import type { BatchAnswer, CommandBatch } from '../client/transport.ts'
import type { Write } from '../engine/engine.ts'
import type { RangeDescriptor, RangeObserver } from '../range/coprocessor.ts'
import { decodeEntry, type Entry, encodeEntry, type Run } from '../range/entry.ts'
import type { Outcome, Range, RangeChild } from '../range/range.ts'
import type { StoreLimits } from './limits.ts'
import type { Service } from './service.ts'

type Proposal<Command, Response> =
  | { type: 'commands'; batch: CommandBatch<Command>; answer: BatchAnswer<Response> }
  | { type: 'split'; key: Uint8Array; child: string; answer: (error: Error | null) => void }

/** What the store's loop needs of a range, whatever its service: all types are inside. */
export interface Hosted {
  readonly descriptor: RangeDescriptor
  readonly halted: string | null
  readonly queued: number
  /** When timed work is due, ms since 1970; Infinity = none known. */
  readonly dueMs: number
  /** Applies one entry of what is queued; its writes go to `batch`. Null where there was nothing to apply. */
  turn(nowMs: number, batch: { data: Write[]; meta: Write[] }): Landing | null
  /** Ends all that is queued with this error. */
  abort(error: BrokerError): void
}

/** What follows once the writes of a turn are durable and readable. Each is called once, all `observe` first. */
export interface Landing {
  observe(): void
  answer(): void
  abort(error: BrokerError): void
}

const NO_ANSWER = () => {}

/** Timed work is late by this at most: asking for it takes a look at the disk, which not every entry is worth. */
const DUE_ASK_MS = 20

/** One range on this store: its queue, its machine, its observer. */
export class RangeHost<Command, Response, Query, Answer, Effect> implements Hosted {
  readonly range: Range<Command, Response, Query, Answer, Effect>
  dueMs = Number.POSITIVE_INFINITY
  readonly #service: Service<Command, Response, Query, Answer, Effect>
  readonly #observer: RangeObserver<Effect>
  readonly #limits: StoreLimits
  readonly #queue = new Fifo<Proposal<Command, Response>>()
  #commands = 0
  #bytes = 0

  constructor(
    service: Service<Command, Response, Query, Answer, Effect>,
    range: Range<Command, Response, Query, Answer, Effect>,
    limits: StoreLimits,
  ) {
    this.#service = service
    this.#observer = service.observer
    this.range = range
    this.#limits = limits
  }

  get descriptor(): RangeDescriptor {
    return this.range.descriptor
  }

  get halted(): string | null {
    return this.range.halted
  }

  get queued(): number {
    return this.#queue.length
  }

  /** Commands and bytes under way. */
  get load(): { commands: number; bytes: number } {
    return { commands: this.#commands, bytes: this.#bytes }
  }

  enqueue(batch: CommandBatch<Command>, answer: BatchAnswer<Response>): BrokerError | null {
    const error = this.range.check(batch.epochVersion, batch.keys)
    if (error !== null) return error
    const { commandsMax, bytesMax } = this.#limits
    const bytes = this.#bytes + batch.bytes
    if (this.#commands > 0 && (this.#commands + batch.run.count > commandsMax || bytes > bytesMax)) {
      const message = `Cannot take commands for range "${this.descriptor.id}": ${this.#commands} with ${this.#bytes} bytes are under way`
      return new BrokerError('OVERLOADED', message)
    }
    this.#commands += batch.run.count
    this.#bytes = bytes
    this.#queue.push({ type: 'commands', batch, answer })
    return null
  }

  enqueueSplit(key: Uint8Array, child: string, answer: (error: Error | null) => void): void {
    this.#queue.push({ type: 'split', key, child, answer })
  }

  turn(nowMs: number, batch: { data: Write[]; meta: Write[] }): Landing | null {
    if (this.dueMs <= nowMs) this.#enqueueDue(nowMs)
    const head = this.#queue.peek()
    if (head === undefined) return null
    const landing = head.type === 'split' ? this.#turnSplit(nowMs) : this.#turnCommands(nowMs)
    if (landing === null) return null
    for (const write of landing.outcome.writes) batch.data.push(write)
    for (const write of landing.outcome.metaWrites) batch.meta.push(write)
    return landing
  }

  abort(error: BrokerError): void {
    for (let proposal = this.#queue.shift(); proposal !== undefined; proposal = this.#queue.shift()) {
      proposal.answer(error, [])
    }
    this.#commands = 0
    this.#bytes = 0
  }

  /** Asks the service when timed work is due next. */
  scheduleDue(nowMs: number): void {
    this.#askedMs = nowMs
    const dueMs = this.range.nextDueMs()
    this.dueMs = dueMs ?? Number.POSITIVE_INFINITY
    // Where the service names a time that is past but has nothing to do, it is not asked in a circle.
    if (this.#idleDue && this.dueMs <= nowMs) this.dueMs = nowMs + 1_000
    this.#idleDue = false
  }
  #idleDue = false
  #askedMs = Number.NEGATIVE_INFINITY
  /** Timed work was proposed: there may be more of it. */
  #dueUnderWay = false

  /** An entry may have brought timed work: the service is asked, but not for every entry. */
  #scheduleDueSoon(nowMs: number): void {
    const asks = this.#dueUnderWay || Math.abs(nowMs - this.#askedMs) >= DUE_ASK_MS
    this.#dueUnderWay = false
    if (asks) this.scheduleDue(nowMs)
    else this.dueMs = Math.min(this.dueMs, this.#askedMs + DUE_ASK_MS)
  }

  #enqueueDue(nowMs: number): void {
    const commands = this.range.due(nowMs, this.#limits.dueMax)
    this.dueMs = Number.POSITIVE_INFINITY
    if (commands.length === 0) {
      this.#idleDue = true
      this.scheduleDue(nowMs)
      return
    }
    this.#dueUnderWay = true
    const run: Run = { stream: '', previous: 0, first: 0, count: commands.length, answered: 0 }
    const { id, epoch } = this.descriptor
    this.#commands += commands.length
    this.#queue.push({
      type: 'commands',
      batch: { range: id, epochVersion: epoch.version, run, keys: [], commands, bytes: 0 },
      answer: NO_ANSWER,
    })
  }

  #turnSplit(nowMs: number): RangeLanding<Command, Response, Query, Answer, Effect> | null {
    const proposal = this.#queue.shift()
    if (proposal?.type !== 'split') return null
    try {
      const entry = this.range.proposeSplit(proposal.key, proposal.child, nowMs)
      const outcome = this.range.apply(this.#asWritten(entry))
      return new RangeLanding(this, outcome, [], proposal.answer)
    } catch (error) {
      proposal.answer(error as Error)
      return null
    }
  }

  #turnCommands(nowMs: number): RangeLanding<Command, Response, Query, Answer, Effect> | null {
    const taken: { batch: CommandBatch<Command>; answer: BatchAnswer<Response> }[] = []
    let count = 0
    let bytes = 0
    for (let head = this.#queue.peek(); head?.type === 'commands'; head = this.#queue.peek()) {
      const { batch, answer } = head
      const full =
        count + batch.run.count > this.#limits.entryCommandsMax || bytes + batch.bytes > this.#limits.entryBytesMax
      if (full && count > 0) break
      this.#queue.shift()
      // It waited: the boundary may be another one by now, the range may be halted.
      const error = this.range.check(batch.epochVersion, batch.keys)
      if (error !== null) {
        this.release(batch)
        answer(error, [])
        continue
      }
      taken.push({ batch, answer })
      count += batch.run.count
      bytes += batch.bytes
    }
    if (taken.length === 0) return null
    const commands = taken.length === 1 ? taken[0]!.batch.commands : taken.flatMap(({ batch }) => batch.commands)
    const runs = taken.map(({ batch }) => batch.run)
    const entry = this.#asWritten(this.range.propose(runs, commands, nowMs))
    return new RangeLanding(this, this.range.apply(entry), taken, NO_ANSWER)
  }

  /** The entry as another replica would read it from the log, where that is to be proved; else as it is. */
  #asWritten(entry: Entry<Command>): Entry<Command> {
    if (!this.#service.decodeAlways) return entry
    const { coprocessor } = this.#service
    const bytes = encodeEntry(entry, (commands) => coprocessor.encode(commands))
    return decodeEntry(bytes.slice(), (payload) => coprocessor.decode(payload))
  }

  release(batch: CommandBatch<Command>): void {
    this.#commands -= batch.run.count
    this.#bytes -= batch.bytes
  }

  observe(outcome: Outcome<Response, Effect>): void {
    this.range.landed(outcome.index)
    const { index, nowMs, writes, effects } = outcome
    if (writes.length > 0 || effects.length > 0) {
      const reader = this.range.reader
      this.#observer.applied(this.descriptor, { index, nowMs, writes, effects, leader: true, reader })
    }
    if (outcome.child !== null) this.#openChild(outcome.child)
    this.#scheduleDueSoon(nowMs)
  }

  #openChild(child: RangeChild): void {
    const host = this.#service.openRange(child)
    host.scheduleDue(child.applied.nowMs)
    const { reader } = host.range
    if (this.#observer.split !== undefined) this.#observer.split(this.descriptor, child.descriptor, reader)
    else this.#observer.opened(child.descriptor, reader)
  }
}

class RangeLanding<Command, Response, Query, Answer, Effect> implements Landing {
  readonly outcome: Outcome<Response, Effect>
  readonly #host: RangeHost<Command, Response, Query, Answer, Effect>
  readonly #taken: readonly { batch: CommandBatch<Command>; answer: BatchAnswer<Response> }[]
  readonly #answerSplit: (error: Error | null) => void

  constructor(
    host: RangeHost<Command, Response, Query, Answer, Effect>,
    outcome: Outcome<Response, Effect>,
    taken: readonly { batch: CommandBatch<Command>; answer: BatchAnswer<Response> }[],
    answerSplit: (error: Error | null) => void,
  ) {
    this.#host = host
    this.outcome = outcome
    this.#taken = taken
    this.#answerSplit = answerSplit
  }

  observe(): void {
    this.#host.observe(this.outcome)
  }

  answer(): void {
    this.#taken.forEach(({ batch, answer }, i) => {
      this.#host.release(batch)
      const { error, responses } = this.outcome.runs[i]!
      answer(error, responses)
    })
    this.#answerSplit(null)
  }

  abort(error: BrokerError): void {
    for (const { answer } of this.#taken) answer(error, [])
    this.#answerSplit(error)
  }
}
