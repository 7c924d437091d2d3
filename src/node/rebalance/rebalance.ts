import type { Clock } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { Health } from '../../base/health.ts'
import type { Logger } from '../../base/logging.ts'
import type { MoveOrder, Mover } from '../../mqtt/index.ts'
import type { Control, Question } from '../cluster/control.ts'
import type { Member } from '../cluster/roster.ts'
import { LOOK_MS, type Move, type NodeLoad, nextLookMs, planMoves } from './plan.ts'

export interface RebalanceOptions {
  control: Control
  members(): readonly Member[]
  connections(): number
  health(): Health
  /** Null: this node serves no clients. */
  mover: Mover | null
  /** Of this node, from its configuration. */
  settings: RebalanceSettings
  clock: Clock
  log: Logger
}

export interface RebalanceSettings {
  automatic: boolean
  spreadPercent: number
  perSecond: number
  reference: string | null
}

/** What a node tells of itself. */
interface Told {
  connections: number
  reference: string | null
  /** Null: it takes part. Otherwise why not. */
  unready: string | null
  moving: { left: number; moved: number }
}

export interface RebalanceNode extends Pick<Member, 'name' | 'id'> {
  /** Null: it does not tell. */
  connections: number | null
  /** What it is sending elsewhere. */
  moving: { left: number; moved: number }
  /** What it would send, or is asked to send now. */
  excess: number
  /** Why it takes no part; null: it does. */
  error: string | null
}

export interface RebalanceInfo {
  nodes: RebalanceNode[]
  spreadPercent: number
  /** Of each node. */
  perSecond: number
}

/** What an operator may choose; null: as configured on the node that is asked. */
export interface RebalanceWish {
  spreadPercent: number | null
  perSecond: number | null
}

const ASK_LOAD = 'connections'
const ASK_MOVE = 'move-connections'
const PERCENT_MAX = 10_000
const PER_SECOND_MAX = 100_000
const REFERENCES_MAX = 256
const REFERENCE_CHARS_MAX = 256
const NOTHING_MOVES = { left: 0, moved: 0 }

/** Evens out connections between nodes, when an operator asks or by itself. Which node is asked makes no difference. */
export class Rebalance {
  readonly #options: RebalanceOptions
  #stopTimer: () => void = () => {}
  #stopped = false
  #excess = 0
  #waitMs = LOOK_MS

  constructor(options: RebalanceOptions) {
    this.#options = options
    options.control.handle(ASK_LOAD, () => this.#told())
    options.control.handle(ASK_MOVE, (question) => this.#obey(question))
  }

  /** Looks from time to time, where the configuration says so. */
  start(): void {
    if (this.#options.settings.automatic && this.#options.mover !== null) this.#lookLater()
  }

  stop(): void {
    this.#stopped = true
    this.#stopTimer()
  }

  /** How many each has, and would send elsewhere. */
  async info(wish: RebalanceWish): Promise<RebalanceInfo> {
    return (await this.#look(wish)).info
  }

  /** Asks nodes with too many to send them elsewhere; returns at once. */
  async begin(wish: RebalanceWish): Promise<RebalanceInfo> {
    const { info, moves } = await this.#look(wish)
    await Promise.all(
      moves.map(async (move) => {
        const node = info.nodes.find(({ id }) => id === move.from)!
        const { moving, error } = await this.#order(move, info.perSecond)
        Object.assign(node, { moving, error })
      }),
    )
    return info
  }

  /** No node sends connections elsewhere any more. */
  async cancel(): Promise<RebalanceInfo> {
    const { info } = await this.#look({ spreadPercent: null, perSecond: null })
    const none = { count: 0, keep: 0, to: [] }
    await Promise.all(
      info.nodes
        .filter(({ connections }) => connections !== null)
        .map(async (node) => {
          const { moving, error } = await this.#order({ from: node.id, ...none }, 1)
          Object.assign(node, { moving, error })
        }),
    )
    return info
  }

  async #look(wish: RebalanceWish): Promise<{ info: RebalanceInfo; moves: Move[] }> {
    const { settings, members } = this.#options
    const spreadPercent = bounded('spreadPercent', wish.spreadPercent ?? settings.spreadPercent, 0, PERCENT_MAX)
    const perSecond = bounded('perSecond', wish.perSecond ?? settings.perSecond, 1, PER_SECOND_MAX)
    const serving = members().filter(({ state, roles }) => state !== 'left' && roles.includes('mqtt'))
    const told = await Promise.all(serving.map((member) => this.#ask(member)))
    const loads = serving.flatMap(({ id, name }, i): NodeLoad[] => {
      const { connections, reference, unready } = told[i]!
      return connections === null || unready !== null ? [] : [{ id, name, connections, reference }]
    })
    const moves = planMoves(loads, spreadPercent)
    const nodes = serving.map(({ id, name }, i): RebalanceNode => {
      const { connections, moving, unready: error } = told[i]!
      return { name, id, connections, moving, excess: moves.find(({ from }) => from === id)?.count ?? 0, error }
    })
    return { info: { nodes, spreadPercent, perSecond }, moves }
  }

  async #ask({ id, state, self }: Member): Promise<Told | (Omit<Told, 'connections'> & { connections: null })> {
    const silent = (unready: string) => {
      return { connections: null, reference: null, unready, moving: NOTHING_MOVES } as const
    }
    if (self) return this.#told()
    if (state === 'dead') return silent('it is dead')
    try {
      const told = await this.#options.control.ask(id, { ask: ASK_LOAD })
      return isTold(told) ? told : silent('its answer is not understood')
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return silent(error.message)
    }
  }

  async #order({ from, ...order }: Move, perSecond: number): Promise<{ moving: Told['moving']; error: string | null }> {
    const question = { ask: ASK_MOVE, order: { ...order, perSecond } }
    try {
      const self = this.#options.members().some(({ id, self }) => self && id === from)
      const answer = self ? this.#obey(question) : await this.#options.control.ask(from, question)
      return { moving: (answer as Pick<Told, 'moving'>).moving, error: null }
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return { moving: NOTHING_MOVES, error: error.message }
    }
  }

  // --- this node's part

  #told(): Told {
    const { connections, health, mover, settings } = this.#options
    const { ready, reasons } = health()
    return {
      ...{ connections: connections(), reference: settings.reference, moving: mover?.progress ?? NOTHING_MOVES },
      unready: ready ? null : `it is not ready: ${reasons[0]?.message ?? 'it starts'}`,
    }
  }

  #obey({ order }: Question): Pick<Told, 'moving'> {
    const { mover, log } = this.#options
    const given = orderOf(order)
    if (mover === null) throw new BrokerError('INVALID_ARGUMENT', 'Cannot send connections elsewhere: there are none')
    if (given.count === 0) mover.stop()
    else {
      mover.begin(given)
      log.info({ count: given.count, perSecond: given.perSecond }, 'Sends connections to nodes that have fewer')
    }
    return { moving: mover.progress }
  }

  #lookLater(): void {
    this.#stopTimer = this.#options.clock.after(this.#waitMs, () => void this.#evenOut())
  }

  /** What this node has too many, and nothing else. */
  async #evenOut(): Promise<void> {
    const { mover, log, settings } = this.#options
    try {
      if (mover!.progress.left > 0) return
      const { moves } = await this.#look({ spreadPercent: null, perSecond: null })
      const self = this.#options.members().find(({ self }) => self)!.id
      const own = moves.find(({ from }) => from === self)
      this.#waitMs = nextLookMs(this.#excess, own?.count ?? 0, this.#waitMs)
      this.#excess = own?.count ?? 0
      if (own !== undefined) await this.#order(own, settings.perSecond)
    } catch (error) {
      log.warn({ err: error }, 'Connections cannot be compared with those of other nodes now')
    } finally {
      if (!this.#stopped) this.#lookLater()
    }
  }
}

function bounded(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new BrokerError('INVALID_ARGUMENT', `"${name}" is ${value} and must be an integer from ${min} to ${max}`)
}

/** What comes from another node is looked at like anything from the wire. */
function isTold(answer: object): answer is Told {
  const { connections, reference, unready, moving } = answer as Partial<Told>
  return (
    isCount(connections) &&
    (reference === null || isReference(reference)) &&
    (unready === null || typeof unready === 'string') &&
    isCount(moving?.left) &&
    isCount(moving?.moved)
  )
}

function orderOf(value: unknown): MoveOrder {
  const { count, keep, perSecond, to } = (value ?? {}) as Partial<MoveOrder>
  const known = isCount(count) && isCount(keep) && isCount(perSecond) && perSecond > 0 && perSecond <= PER_SECOND_MAX
  const places = Array.isArray(to) && to.length <= REFERENCES_MAX ? (to as MoveOrder['to']) : null
  if (!known || places === null || !places.every((place) => isReference(place?.reference) && isCount(place.count))) {
    throw new BrokerError('INVALID_ARGUMENT', 'Cannot send connections elsewhere: the order is not understood')
  }
  return { count, keep, perSecond, to: places.map(({ reference, count }) => ({ reference, count })) }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const isReference = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= REFERENCE_CHARS_MAX
