import type { Clock, Random } from '../../base/clock.ts'
import { BrokerError, ERRORS } from '../../base/errors.ts'
import type { Logger } from '../../base/logging.ts'
import type { RangeDescriptor, ServiceName } from '../range/coprocessor.ts'
import type { Run } from '../range/entry.ts'
import { LOST } from '../range/streams.ts'
import type { CallOptions, Done, QueryOptions, RangeClient } from './client.ts'
import { Landscape } from './landscape.ts'
import { type Call, Lane } from './lane.ts'
import { Lanes } from './lanes.ts'
import { isDoubtful, Leaders } from './leaders.ts'
import { overdueCode } from './overdue.ts'
import { Queries } from './queries.ts'
import { GROWTH_REFUSED, type RangeTransport } from './transport.ts'

export interface RoutedClientOptions<Command, Response, Query, Answer> {
  service: ServiceName
  transport: RangeTransport<Command, Response, Query, Answer>
  /** Unique for ever: names this client's streams. */
  incarnation: string
  clock: Clock
  random: Random
  log: Logger
  /** Approximate size of a command, for limits. Default 64 bytes for each. */
  commandBytes?: ((command: Command) => number) | undefined
  limits?: Partial<ClientLimits>
  /** Whether a command needs space: then a store with too little of it refuses it. Default: all do. */
  grows?: ((command: Command) => boolean) | undefined
  /** Why a command is not taken now: it fails at once, without a try. */
  refuses?: (command: Command) => BrokerError | null
}

export interface ClientLimits {
  /** Default deadline of a call, in milliseconds. Default 10,000. */
  deadlineMs: number
  /** Silence after which unanswered batches are sent again, in milliseconds. Default 1,000. */
  attemptMs: number
  /** First and longest wait before a retry, in milliseconds; doubled by each failure. Default 5 and 250. */
  backoffMsMin: number
  backoffMsMax: number
  /** Most commands and bytes under way for a range: beyond, OVERLOADED. Default 65,536 and 64 MiB. */
  commandsMax: number
  bytesMax: number
  /** Most commands and bytes of a batch. Default 4,096 and 4 MiB. */
  batchCommandsMax: number
  batchBytesMax: number
}

export const CLIENT_LIMITS: ClientLimits = {
  deadlineMs: 10_000,
  attemptMs: 1_000,
  backoffMsMin: 5,
  backoffMsMax: 250,
  commandsMax: 65_536,
  bytesMax: 64 * 1024 * 1024,
  batchCommandsMax: 4_096,
  batchBytesMax: 4 * 1024 * 1024,
}

/** How often deadlines and silence are looked at, in milliseconds. */
const TICK_MS = 100
const ASK_AROUND_MS = 100

/**
 * The client of one service's ranges: one {@link Lane} a range, flushed once a turn.
 *
 * Hot path: each committed command of dist, inbox and retain passes here. It costs one object; no promise with
 * `mutateWith`, no timer (one tick serves all calls). From call to answer, with range and memory engine, 1.2 us a
 * command where 16 or more share a turn, 6 us alone (`bench/micro/store.ts`).
 */
export class RoutedClient<Command, Response, Query, Answer> implements RangeClient<Command, Response, Query, Answer> {
  readonly #options: RoutedClientOptions<Command, Response, Query, Answer>
  readonly #limits: ClientLimits
  readonly #landscape = new Landscape()
  readonly #lanes = new Lanes<Command, Response>()
  readonly #queries: Queries<Query, Answer>
  /** Who is believed to lead, by range. */
  readonly #leaders = new Leaders()
  #dirty: Lane<Command, Response>[] = []
  #homeless: Call<Command, Response>[] = []
  #streams = 0
  #scheduled = false
  #closed = false
  #stopTick: (() => void) | null = null
  /** Monotonic time of this turn; 0 = not read yet. */
  #nowMs = 0
  /** Not before then is the landscape looked at for errors that may come in thousands. */
  #askAroundMs = 0

  constructor(options: RoutedClientOptions<Command, Response, Query, Answer>) {
    this.#options = options
    this.#limits = { ...CLIENT_LIMITS, ...options.limits }
    this.#landscape.update(options.transport.landscape())
    this.#queries = new Queries(options, this.#limits, {
      locate: (key) => this.#landscape.locate(key),
      learn: (error) => this.#learn(error),
      leaders: this.#leaders,
      now: () => this.#now(),
    })
  }

  mutate(key: Uint8Array, command: Command, options?: CallOptions): Promise<Response> {
    return new Promise((resolve, reject) => {
      const done: Done<Response> = (error, response) => (error === null ? resolve(response as Response) : reject(error))
      this.mutateWith(key, command, done, options)
    })
  }

  mutateWith(key: Uint8Array, command: Command, done: Done<Response>, options?: CallOptions, tag = 0): void {
    const refused = this.#options.refuses?.(command) ?? null
    if (refused !== null) {
      this.#options.transport.schedule(() => this.#finish({ done, tag }, refused, null))
      return
    }
    const bytes = this.#options.commandBytes?.(command) ?? 64
    const deadlineMs = Math.ceil(this.#now() + (options?.deadlineMs ?? this.#limits.deadlineMs))
    const call = { key, command, done, tag, bytes, deadlineMs, number: 0, answered: false, response: null }
    const lane = this.#homeless.length > 0 ? null : this.#laneOf(key)
    if (lane === null ? this.#closed || this.#homeless.length >= this.#limits.commandsMax : this.#isFull(lane, bytes)) {
      const error = this.#refusal(lane)
      this.#options.transport.schedule(() => this.#finish({ done, tag }, error, null))
      return
    }
    if (lane === null) this.#homeless.push(call)
    else this.#push(lane, call)
    this.#stopTick ??= this.#options.clock.after(TICK_MS, () => this.#tick())
  }

  query(key: Uint8Array, query: Query, options?: QueryOptions): Promise<Answer> {
    if (this.#closed) return Promise.reject(this.#closedError())
    const answer = this.#queries.ask(key, query, options)
    this.#stopTick ??= this.#options.clock.after(TICK_MS, () => this.#tick())
    return answer
  }

  locate(key: Uint8Array): RangeDescriptor {
    const found = this.#landscape.locate(key) ?? this.#refreshed(key)
    if (found === undefined) {
      const message = `Cannot find the range of a key: no range of "${this.#options.service}" that holds it is known`
      throw new BrokerError('RANGE_NOT_FOUND', message)
    }
    return found
  }

  leader(key: Uint8Array): string {
    const range = this.#landscape.locate(key) ?? this.#refreshed(key)
    return range === undefined ? '' : this.#leaders.of(range)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#stopTick?.()
    this.#stopTick = null
    const error = this.#closedError()
    this.#queries.close(error)
    for (const call of this.#homeless.splice(0)) this.#finish(call, error, null)
    for (const lane of this.#lanes.all()) {
      for (const call of lane.extract(() => true)) this.#finish(call, error, null)
    }
    this.#lanes.clear()
  }

  #isFull(lane: Lane<Command, Response>, bytes: number): boolean {
    const { commandsMax, bytesMax } = this.#limits
    return lane.length >= commandsMax || (lane.length > 0 && lane.bytes + bytes > bytesMax)
  }

  #push(lane: Lane<Command, Response>, call: Call<Command, Response>): void {
    if (lane.length === 0) {
      lane.progressMs = this.#now()
      lane.answeredMs = lane.progressMs
      lane.lastError = null
    }
    lane.push(call)
    this.#markDirty(lane)
  }

  /** Calls whose range is not known yet, in order: as soon as it is, they go on before all that come later. */
  #settleHomeless(nowMs: number): void {
    const homeless = this.#homeless
    if (homeless.length === 0) return
    this.#homeless = []
    for (const call of homeless) {
      const lane = this.#laneOf(call.key)
      if (lane !== null && !this.#isFull(lane, call.bytes)) this.#push(lane, call)
      else if (call.deadlineMs <= nowMs) this.#finish(call, this.#refusal(lane), null)
      else this.#homeless.push(call)
    }
  }

  #now(): number {
    if (this.#nowMs === 0) {
      this.#nowMs = this.#options.clock.monotonic()
      this.#schedule()
    }
    return this.#nowMs
  }

  #laneOf(key: Uint8Array): Lane<Command, Response> | null {
    const descriptor = this.#closed ? undefined : (this.#landscape.locate(key) ?? this.#refreshed(key))
    if (descriptor === undefined) return null
    let lane = this.#lanes.of(descriptor.id)
    if (lane === undefined) {
      lane = new Lane<Command, Response>(descriptor, this.#newStream())
      this.#lanes.add(lane)
    }
    return lane
  }

  #newStream(): string {
    return `${this.#options.incarnation}.${++this.#streams}`
  }

  #refreshed(key: Uint8Array): RangeDescriptor | undefined {
    this.#learn(null)
    return this.#landscape.locate(key)
  }

  #refusal(lane: Lane<Command, Response> | null): BrokerError {
    const { service } = this.#options
    if (this.#closed) return this.#closedError()
    if (lane === null)
      return new BrokerError('RANGE_NOT_FOUND', `Cannot run a command: no range of "${service}" holds its key`)
    const message = `Cannot run a command on range "${lane.descriptor.id}": ${lane.length} with ${lane.bytes} bytes are under way`
    return new BrokerError('OVERLOADED', message)
  }

  #closedError(): BrokerError {
    return new BrokerError('CLOSED', `The client of "${this.#options.service}" is closed`)
  }

  #markDirty(lane: Lane<Command, Response>): void {
    if (lane.dirty || lane.waiting) return
    lane.dirty = true
    this.#dirty.push(lane)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#options.transport.schedule(this.#flush)
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    this.#nowMs = 0
    if (this.#dirty.length === 0) return
    const lanes = this.#dirty
    this.#dirty = []
    for (const lane of lanes) {
      lane.dirty = false
      if (!lane.waiting && !lane.closed) this.#send(lane)
    }
  }

  #send(lane: Lane<Command, Response>): void {
    const { transport } = this.#options
    if (this.#lanes.isHeld(lane)) return
    for (let shipment = lane.ship(this.#limits); shipment !== null; shipment = lane.ship(this.#limits)) {
      const { run } = shipment
      const { attempt, answered } = lane
      const { id, epoch } = lane.descriptor
      const batch = { range: id, epochVersion: epoch.version, ...shipment }
      transport.propose(this.#leaders.of(lane.descriptor), batch, (error, responses) => {
        if (this.#closed) return
        if (error === null) this.#answered(lane, run, responses)
        else if (attempt === lane.attempt && run.stream === lane.stream) this.#failed(lane, run, answered, error)
      })
    }
  }

  #answered(lane: Lane<Command, Response>, run: Run, responses: readonly (Response | typeof LOST)[]): void {
    if (run.stream !== lane.stream) return
    lane.progressMs = this.#now()
    lane.answeredMs = lane.progressMs
    lane.failures = 0
    lane.answer(run, responses)
    this.#release(lane)
  }

  /** Hands out the answers that have no unanswered call before them. */
  #release(lane: Lane<Command, Response>): void {
    for (let call = lane.shiftAnswered(); call !== null; call = lane.shiftAnswered()) {
      if (call.response === LOST) this.#finish(call, this.#lostAnswer(lane), null)
      else this.#finish(call, null, call.response)
    }
    if (lane.age === 0 || lane.length > 0 || !this.#lanes.settle()) return
    for (const each of this.#lanes.all()) if (each.unsent > 0) this.#markDirty(each)
  }

  #lostAnswer(lane: Lane<Command, Response>): BrokerError {
    const message = `A command on range "${lane.descriptor.id}" was applied, but its answer is no longer kept`
    return new BrokerError('UNAVAILABLE', message)
  }

  /** @param answered the lane's, when the batch left */
  #failed(lane: Lane<Command, Response>, run: Run, answered: number, error: BrokerError): void {
    lane.lastError = error
    const growth = refusesGrowth(error)
    if (ERRORS[error.code].retry === 'never' || growth) {
      const to = run.first + run.count
      const failed = lane.extract(
        ({ number, answered, command }) =>
          number >= run.first && number < to && !answered && (!growth || (this.#options.grows?.(command) ?? true)),
      )
      for (const call of failed) this.#finish(call, error, null)
      this.#release(lane)
    } else if (error.code === 'SEQUENCE_GAP') {
      // The range says less than it had acknowledged before this batch left: it has forgotten the stream, not missed
      // a batch. What is unanswered was not applied there.
      const { applied } = (error.hint ?? {}) as { applied?: number }
      if (applied !== undefined && applied < answered) lane.renew(this.#newStream())
    }
    // What is left needs no space, and may go at once.
    const learned = this.#learn(error) || growth
    if (!learned) this.#leaders.doubt(lane.descriptor, error)
    this.#retry(lane, learned)
  }

  /** Sends again from the first unanswered: at once where something new was learned, else after a while. */
  #retry(lane: Lane<Command, Response>, learned: boolean): void {
    if (lane.closed) return
    lane.rewind()
    if (lane.length === 0) return
    lane.failures++
    lane.progressMs = this.#now()
    // Two that name each other would send it around without a pause.
    if (learned && (lane.failures <= 3 || lane.waited)) {
      lane.waited = false
      this.#markDirty(lane)
      return
    }
    if (lane.waiting) return
    lane.waiting = true
    this.#options.clock.after(this.#backoffMs(lane.failures), () => {
      lane.waiting = false
      lane.waited = true
      lane.progressMs = this.#now()
      this.#markDirty(lane)
    })
  }

  #backoffMs(failures: number): number {
    const { backoffMsMin, backoffMsMax } = this.#limits
    const full = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(failures, 20))
    return full * (0.5 + this.#options.random.float() / 2)
  }

  /** Takes what the error tells about ranges and leaders; true where that is new. */
  #learn(error: BrokerError | null): boolean {
    const hint = (error?.hint ?? {}) as { descriptors?: RangeDescriptor[] }
    const learned = this.#leaders.learn(error)
    const told = [...(hint.descriptors ?? [])]
    if (this.#asksAround(error)) told.push(...this.#options.transport.landscape())
    if (told.length === 0 || !this.#landscape.update(told)) return learned
    this.#reroute()
    return true
  }

  /** Whether the map may be old: also where a replica does not answer, for it may not be one any more. */
  #asksAround(error: BrokerError | null): boolean {
    if (error === null || error.code === 'EPOCH_MISMATCH' || error.code === 'RANGE_NOT_FOUND') return true
    if (!isDoubtful(error) || this.#now() < this.#askAroundMs) return false
    this.#askAroundMs = this.#now() + ASK_AROUND_MS
    return true
  }

  #reroute(): void {
    this.#lanes.reroute(this.#landscape)
    // Answers that waited for a call which went elsewhere wait no longer.
    for (const lane of [...this.#lanes.all()]) this.#release(lane)
    for (const lane of this.#lanes.all()) this.#markDirty(lane)
  }

  #tick(): void {
    this.#stopTick = null
    const nowMs = this.#now()
    this.#settleHomeless(nowMs)
    let busy = this.#queries.tick(nowMs) || this.#homeless.length > 0
    for (const lane of [...this.#lanes.all()]) {
      if (lane.length === 0) continue
      const isCutOff = this.#queries.isCutOff(lane.descriptor, nowMs - lane.answeredMs)
      if (isCutOff || lane.overdue(nowMs)) this.#expire(lane, isCutOff ? Number.POSITIVE_INFINITY : nowMs)
      if (lane.sent > 0 && !lane.waiting && nowMs - lane.progressMs >= this.#limits.attemptMs) {
        const message = `No answer from range "${lane.descriptor.id}" within ${this.#limits.attemptMs} ms`
        lane.lastError = new BrokerError('TIMEOUT', message)
        this.#learn(null)
        this.#leaders.doubt(lane.descriptor, lane.lastError)
        this.#retry(lane, false)
      }
    }
    // Asked last: what was learned above may have moved calls to new lanes.
    for (const lane of this.#lanes.all()) if (lane.length > 0) busy = true
    if (busy && !this.#closed) this.#stopTick = this.#options.clock.after(TICK_MS, () => this.#tick())
  }

  #expire(lane: Lane<Command, Response>, untilMs: number): void {
    const message = `Cannot run a command on range "${lane.descriptor.id}" in time: ${lane.lastError?.message ?? 'it does not answer'}`
    const code = untilMs === Number.POSITIVE_INFINITY ? 'NO_QUORUM' : overdueCode(lane.lastError)
    const error = new BrokerError(code, message, { cause: lane.lastError })
    for (const call of lane.extract((each) => each.deadlineMs <= untilMs && !each.answered)) {
      this.#finish(call, error, null)
    }
    this.#release(lane)
    this.#markDirty(lane)
  }

  #finish({ done, tag }: { done: Done<Response>; tag: number }, error: Error | null, response: Response | null): void {
    try {
      done(error, response, tag)
    } catch (cause) {
      this.#options.log.error({ err: cause, service: this.#options.service }, 'A callback of a range command threw')
    }
  }
}

/** As it is said by {@link GROWTH_REFUSED}, which may have come over a link. */
function refusesGrowth({ code, hint }: BrokerError): boolean {
  return code === 'OVERLOADED' && (hint as Partial<typeof GROWTH_REFUSED> | null)?.growth === GROWTH_REFUSED.growth
}
