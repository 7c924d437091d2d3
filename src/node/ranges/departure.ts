import type { Clock } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import { type DecommissionPlan, decommissionPlan, type Landscape, type Rules } from '../../kv/balance/index.ts'
import type { MetaCommand, MetaState } from '../../kv/meta/index.ts'
import type { MetaRanges } from './founding.ts'
import type { Names } from './names.ts'

export interface DepartureOptions {
  meta: MetaRanges
  state(): MetaState
  self: HostId
  names: Names
  landscape(): Landscape
  rules(): Rules
  /** Ranges of which this store holds something. */
  held(): number
  /** It leads the cluster's own records, and so speaks for nodes that are dead. */
  leadsMeta(): boolean
  /** This node is no part of the cluster any more: it stops for ever. */
  depart(): void
  clock: Clock
  log: Logger
}

export interface DepartureInfo {
  node: string
  id: HostId
  state: 'member' | 'leaving' | 'gone'
  /** In sentences with names; null: it is gone. */
  plan: DecommissionPlan | null
}

const LOOK_MS = 1_000
/** What is heard of ranges is late: it must say so often, one after the other, that nothing is left. */
const LOOKS = 5
/** All records lie in one range. */
const ANY_KEY = new Uint8Array(1)

/**
 * Nodes that leave for ever: asked for here, done by the balancers, and ended by the node itself when nothing is left on
 * it, or by the leader of the cluster's own records where the node is dead.
 */
export class Departure {
  readonly #options: DepartureOptions
  /** Looks at which nothing was left, by host. */
  readonly #empty = new Map<string, number>()
  #stopTimer: (() => void) | null = null
  #stopped = false

  constructor(options: DepartureOptions) {
    this.#options = options
  }

  start(): void {
    this.#stopTimer = this.#options.clock.after(LOOK_MS, () => {
      this.#look()
      if (!this.#stopped) this.start()
    })
  }

  stop(): void {
    this.#stopped = true
    this.#stopTimer?.()
  }

  /** How far it is, or what it would take. */
  info(nameOrId: string): DepartureInfo {
    const { state, names } = this.#options
    if (state().gone.has(nameOrId))
      return { node: names.of(nameOrId), id: nameOrId as HostId, state: 'gone', plan: null }
    const id = names.find(nameOrId)
    if (state().gone.has(id)) return { node: names.of(id), id, state: 'gone', plan: null }
    const leaving = state().members.get(id)?.leaving === true
    return { node: names.of(id), id, state: leaving ? 'leaving' : 'member', plan: this.#named(this.#plan(id)) }
  }

  /** @param yes in spite of what will be worse */
  async begin(nameOrId: string, yes: boolean): Promise<DepartureInfo> {
    const info = this.info(nameOrId)
    const { node, id, plan } = info
    if (plan === null || info.state === 'leaving') return info
    if (plan.refused.length > 0) {
      throw new BrokerError('CONFLICT', `Cannot decommission ${node}: ${plan.refused.join('; ')}`)
    }
    if (plan.warnings.length > 0 && !yes) {
      throw new BrokerError('CONFLICT', `${node} is not decommissioned without --yes: ${plan.warnings.join('; ')}`)
    }
    await this.#write({ type: 'leave', host: id, leaving: true }, node)
    return { ...info, state: 'leaving' }
  }

  async cancel(nameOrId: string): Promise<DepartureInfo> {
    const info = this.info(nameOrId)
    if (info.state === 'gone') throw new BrokerError('CONFLICT', `${info.node} is gone: that cannot be taken back`)
    await this.#write({ type: 'leave', host: info.id, leaving: false }, info.node)
    return { ...info, state: 'member' }
  }

  #look(): void {
    const { state, self } = this.#options
    for (const { host, leaving } of state().members.values()) {
      const empty = leaving && this.#speaksFor(host) && this.#plan(host).done && (host !== self || this.#isEmpty())
      const looks = empty ? (this.#empty.get(host) ?? 0) + 1 : 0
      this.#empty.set(host, looks)
      if (looks >= LOOKS) {
        this.#empty.set(host, 0)
        void this.#end(host)
      }
    }
  }

  #speaksFor(host: HostId): boolean {
    const { self, leadsMeta, landscape } = this.#options
    if (host === self) return true
    return leadsMeta() && landscape().stores.every(({ id, alive }) => id !== host || !alive)
  }

  /** Whoever hears of no range knows nothing. */
  #isEmpty(): boolean {
    const { held, landscape } = this.#options
    return held() === 0 && landscape().ranges.length > 0
  }

  async #end(host: HostId): Promise<void> {
    const { names, log, self, depart } = this.#options
    try {
      await this.#write({ type: 'gone', host }, names.of(host))
    } catch (error) {
      log.warn({ err: error, host }, 'A node that left cannot be written off yet')
      return
    }
    log.info({ host }, `Node ${names.of(host)} holds nothing any more, and is gone for ever`)
    if (host === self) depart()
  }

  async #write(command: MetaCommand, node: string): Promise<void> {
    const answer = await this.#options.meta.mutate(ANY_KEY, command)
    if (answer.type === 'done' || answer.reason === 'gone') return
    throw new BrokerError('CONFLICT', `Cannot decommission ${node}: ${answer.detail}`)
  }

  #plan(host: HostId): DecommissionPlan {
    const { landscape, rules, clock } = this.#options
    return decommissionPlan(landscape(), clock.now(), rules(), host)
  }

  #named(plan: DecommissionPlan): DecommissionPlan {
    const { names } = this.#options
    const named = (texts: readonly string[]) => texts.map((text) => names.inText(text))
    const remaining = plan.remaining.map((each) => ({ ...each, waits: names.inText(each.waits) }))
    return { ...plan, refused: named(plan.refused), warnings: named(plan.warnings), remaining }
  }
}
