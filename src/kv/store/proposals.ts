import { BrokerError } from '../../base/errors.ts'
import { Fifo } from '../../base/fifo.ts'
import type { BatchAnswer, CommandBatch } from '../client/transport.ts'
import type { Entry } from '../range/entry.ts'
import type { Outcome, Range } from '../range/range.ts'
import type { Group } from './group.ts'
import type { StoreLimits } from './limits.ts'

interface Taken<Command, Response> {
  batch: CommandBatch<Command>
  answer: BatchAnswer<Response>
}

/** An entry that was proposed here, and who waits for it. */
export type Proposal<Command, Response> =
  | { type: 'commands'; entry: Entry<Command>; taken: readonly Taken<Command, Response>[] }
  | { type: 'act'; entry: Entry<Command>; answer: (error: Error | null) => void }

/** An entry that was applied, until it is shown. */
export interface Applied<Command, Response, Effect> {
  outcome: Outcome<Response, Effect>
  committed: boolean
  /** Its writes must be in the engine before anybody is told. */
  waits: boolean
  proposal: Proposal<Command, Response> | null
}

type Queued<Command, Response> = ({ type: 'commands' } & Taken<Command, Response>) | Act<Command>

/** Something that is done to the range as a whole. */
interface Act<Command> {
  type: 'act'
  /** The entry; throws where it cannot be proposed now. */
  make: (nowMs: number) => Entry<Command>
  answer: (error: Error | null) => void
}

/** Commands of one range on their way: they wait here, become entries, and are counted until they are answered. */
export class Proposals<Command, Response, Query, Answer, Effect> {
  readonly #range: Range<Command, Response, Query, Answer, Effect>
  readonly #limits: StoreLimits
  readonly #group: Group
  readonly #queue = new Fifo<Queued<Command, Response>>()
  #commands = 0
  #bytes = 0
  #queuedCommands = 0
  /** The time at which queued work was found to be due, ms since 1970: no entry says an earlier one. */
  #dueMs = Number.NEGATIVE_INFINITY

  constructor(range: Range<Command, Response, Query, Answer, Effect>, limits: StoreLimits, group: Group) {
    this.#range = range
    this.#limits = limits
    this.#group = group
  }

  get queued(): number {
    return this.#queue.length
  }

  get queuedCommands(): number {
    return this.#queuedCommands
  }

  /** Commands and bytes that are not answered. */
  get load(): { commands: number; bytes: number } {
    return { commands: this.#commands, bytes: this.#bytes }
  }

  /** Why the batch is not taken; null where it is. */
  push(batch: CommandBatch<Command>, answer: BatchAnswer<Response>): BrokerError | null {
    const error = this.#range.check(batch.epochVersion, batch.keys)
    if (error !== null) return error
    const { commandsMax, bytesMax } = this.#limits
    const bytes = this.#bytes + batch.bytes
    if (this.#commands > 0 && (this.#commands + batch.run.count > commandsMax || bytes > bytesMax)) {
      const message = `Cannot take commands for range "${batch.range}": ${this.#commands} with ${this.#bytes} bytes are under way`
      return new BrokerError('OVERLOADED', message)
    }
    this.#push(batch, answer)
    return null
  }

  /**
   * The range's own work, which is never refused. It was due at `nowMs`, and still is where the clock is set back while it
   * waits.
   */
  pushOwn(batch: CommandBatch<Command>, answer: BatchAnswer<Response>, nowMs: number): void {
    this.#dueMs = Math.max(this.#dueMs, nowMs)
    this.#push(batch, answer)
  }

  pushAct(make: (nowMs: number) => Entry<Command>, answer: (error: Error | null) => void): void {
    this.#queue.push({ type: 'act', make, answer })
  }

  /** The next entry of what is queued; null where there is nothing left. */
  next(nowMs: number): Proposal<Command, Response> | null {
    while (this.#queue.length > 0) {
      const proposal = this.#queue.peek()!.type === 'act' ? this.#nextAct(nowMs) : this.#nextCommands(nowMs)
      if (proposal !== null) return proposal
    }
    return null
  }

  /** What it asked for is done. Whoever watches the replica may hold the answer back. */
  answer(proposal: Proposal<Command, Response>, outcome: Outcome<Response, Effect>): void {
    const { watcher } = this.#group
    if (watcher?.answers === undefined || proposal.type === 'act') return this.#answer(proposal, outcome)
    watcher.answers(outcome.index, {
      release: () => this.#answer(proposal, outcome),
      giveUp: (error) => this.fail(proposal, error),
    })
  }

  fail(proposal: Proposal<Command, Response>, error: BrokerError): void {
    if (proposal.type === 'act') return proposal.answer(error)
    for (const { batch, answer } of proposal.taken) {
      this.#release(batch)
      answer(error, [])
    }
  }

  failQueued(error: BrokerError): void {
    for (let queued = this.#queue.shift(); queued !== undefined; queued = this.#queue.shift()) {
      if (queued.type === 'commands') this.#release(queued.batch)
      queued.answer(error, [])
    }
    this.#queuedCommands = 0
    this.#dueMs = Number.NEGATIVE_INFINITY
  }

  /** The replica is served no more. */
  close(error: BrokerError): void {
    this.failQueued(error)
    this.#group.watcher?.closed()
  }

  #answer(proposal: Proposal<Command, Response>, outcome: Outcome<Response, Effect>): void {
    if (proposal.type === 'act') return proposal.answer(outcome.error)
    proposal.taken.forEach(({ batch, answer }, i) => {
      this.#release(batch)
      const { error, responses } = outcome.runs[i]!
      answer(error, responses)
    })
  }

  #push(batch: CommandBatch<Command>, answer: BatchAnswer<Response>): void {
    this.#commands += batch.run.count
    this.#bytes += batch.bytes
    this.#queuedCommands += batch.run.count
    this.#queue.push({ type: 'commands', batch, answer })
  }

  #nextAct(nowMs: number): Proposal<Command, Response> | null {
    const queued = this.#queue.shift()
    if (queued?.type !== 'act') return null
    try {
      return { type: 'act', entry: queued.make(nowMs), answer: queued.answer }
    } catch (error) {
      queued.answer(error as Error)
      return null
    }
  }

  #nextCommands(nowMs: number): Proposal<Command, Response> | null {
    const taken: Taken<Command, Response>[] = []
    let count = 0
    let bytes = 0
    for (let head = this.#queue.peek(); head?.type === 'commands'; head = this.#queue.peek()) {
      const { batch, answer } = head
      const { entryCommandsMax, entryBytesMax } = this.#limits
      const full = count + batch.run.count > entryCommandsMax || bytes + batch.bytes > entryBytesMax
      if (full && count > 0) break
      this.#queue.shift()
      this.#queuedCommands -= batch.run.count
      // It waited: the boundary may be another one by now, the range may be halted.
      const error = this.#range.check(batch.epochVersion, batch.keys)
      if (error !== null) {
        this.#release(batch)
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
    const entry = this.#range.propose(runs, commands, Math.max(nowMs, this.#dueMs))
    if (this.#queue.length === 0) this.#dueMs = Number.NEGATIVE_INFINITY
    return { type: 'commands', entry, taken }
  }

  #release(batch: CommandBatch<Command>): void {
    this.#commands -= batch.run.count
    this.#bytes -= batch.bytes
  }
}
