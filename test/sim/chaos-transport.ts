import type { Random } from '../../src/base/clock.ts'
import { BrokerError, type ErrorCode } from '../../src/base/errors.ts'
import type {
  BatchAnswer,
  CommandBatch,
  QueryAnswer,
  QueryRequest,
  RangeTransport,
} from '../../src/kv/client/transport.ts'
import type { RangeDescriptor } from '../../src/kv/range/coprocessor.ts'
import type { World } from './world.ts'

/** What happens to a batch, out of a hundred; the rest arrives as it should. */
export interface ChaosRates {
  /** Late, by up to {@link delayMsMax}: batches overtake each other. */
  delay: number
  delayMsMax: number
  /** NOT_LEADER, EPOCH_MISMATCH, OVERLOADED: refused, not applied. */
  refuse: number
  /** Not heard of again, not applied. */
  loseRequest: number
  /** Applied, and the answer lost. */
  loseAnswer: number
  /** TIMEOUT or UNAVAILABLE as the answer, applied or not. */
  doubt: number
  /** Arrives a second time, up to {@link repeatMsMax} later. */
  repeat: number
  repeatMsMax: number
}

export const CHAOS_RATES: ChaosRates = {
  delay: 20,
  delayMsMax: 40,
  refuse: 8,
  loseRequest: 4,
  loseAnswer: 4,
  doubt: 6,
  repeat: 8,
  repeatMsMax: 3_000,
}

const REFUSALS: readonly ErrorCode[] = ['NOT_LEADER', 'EPOCH_MISMATCH', 'OVERLOADED']
const DOUBTS: readonly ErrorCode[] = ['TIMEOUT', 'UNAVAILABLE', 'NO_QUORUM']

export interface ChaosTarget<Command, Response, Query, Answer> {
  /** The way to the store of now; null while it is down. */
  transport(): RangeTransport<Command, Response, Query, Answer> | null
  /** The ranges as last known. */
  landscape(): readonly RangeDescriptor[]
  /** Sees each key that commands are for. */
  sawKey(key: Uint8Array): void
}

/** The way between a client and a store on a bad day. The client is the real one: its retries are what is tested. */
export class ChaosTransport<Command, Response, Query, Answer>
  implements RangeTransport<Command, Response, Query, Answer>
{
  rates: ChaosRates
  /** What happened, by name. */
  readonly counts: Record<string, number> = {}
  readonly #world: World
  readonly #random: Random
  readonly #target: ChaosTarget<Command, Response, Query, Answer>

  constructor(world: World, target: ChaosTarget<Command, Response, Query, Answer>, rates: ChaosRates) {
    this.#world = world
    this.#random = world.random
    this.#target = target
    this.rates = rates
  }

  propose(store: string, batch: CommandBatch<Command>, answer: BatchAnswer<Response>): void {
    for (const key of batch.keys) this.#target.sawKey(key)
    const refuse = (error: BrokerError) => answer(error, [])
    this.#send(
      (reply) =>
        this.#target.transport()?.propose(store, batch, (error, responses) => reply(() => answer(error, responses))),
      refuse,
      true,
    )
  }

  query(store: string, request: QueryRequest<Query>, answer: QueryAnswer<Answer>): void {
    this.#send(
      (reply) => this.#target.transport()?.query(store, request, (error, value) => reply(() => answer(error, value))),
      (error) => answer(error, null),
      false,
    )
  }

  landscape(): readonly RangeDescriptor[] {
    return this.#target.landscape()
  }

  schedule(flush: () => void): void {
    this.#world.defer(flush)
  }

  #send(
    forward: (reply: (deliver: () => void) => void) => void,
    refuse: (error: BrokerError) => void,
    repeatable: boolean,
  ): void {
    const { rates } = this
    const later = (maxMs: number, work: () => void) => this.#world.clock.after(this.#random.float() * maxMs, work)
    const pass = () => forward((deliver) => later(rates.delayMsMax / 4, deliver))
    const silent = () => forward(() => {})
    if (this.#happens('repeat', repeatable ? rates.repeat : 0)) later(rates.repeatMsMax, silent)
    if (this.#happens('loseRequest', rates.loseRequest)) return
    if (this.#happens('loseAnswer', rates.loseAnswer)) silent()
    else if (this.#happens('refuse', rates.refuse)) later(rates.delayMsMax, () => refuse(this.#error(REFUSALS)))
    else if (this.#happens('doubt', rates.doubt)) {
      if (this.#random.below(2) === 0) silent()
      later(rates.delayMsMax, () => refuse(this.#error(DOUBTS)))
    } else if (this.#happens('delay', rates.delay)) later(rates.delayMsMax, pass)
    else pass()
  }

  #happens(name: string, percent: number): boolean {
    const happens = percent > 0 && this.#random.float() * 100 < percent
    if (happens) this.counts[name] = (this.counts[name] ?? 0) + 1
    return happens
  }

  #error(codes: readonly ErrorCode[]): BrokerError {
    const code = codes[this.#random.below(codes.length)]!
    this.counts[code] = (this.counts[code] ?? 0) + 1
    const hint = code === 'EPOCH_MISMATCH' ? { descriptors: this.landscape() } : null
    return new BrokerError(code, `A bad day: ${code}`, { hint })
  }
}
