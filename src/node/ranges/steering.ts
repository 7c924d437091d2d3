import { BrokerError } from '../../base/errors.ts'
import {
  type Action,
  BALANCERS,
  type BalancerName,
  balance,
  isEnabled,
  type Landscape,
  type Rules,
  type RuleText,
  textsFrom,
} from '../../kv/balance/index.ts'
import type { MetaResponse, MetaState } from '../../kv/meta/index.ts'
import type { MetaRanges } from './founding.ts'
import type { Names } from './names.ts'
import { BALANCER_SECTION, configuredTexts, type Replication, rulesFromTexts, textsOf } from './rules.ts'

export interface SteeringOptions {
  meta: MetaRanges
  /** As this node knows it. */
  state(): MetaState
  replication: Replication
  /** In force. */
  rules(): Rules
  /** All, as a dry run sees it. */
  landscape(): Landscape
  names: Names
  /** Wall clock, ms. */
  now(): number
}

export interface RuleInfo {
  name: string
  value: string
  source: 'default' | 'configuration' | 'set'
  /** What it would be if nobody had set it. */
  otherwise: string
}

export interface BalancerInfo {
  name: BalancerName
  enabled: boolean
  source: RuleInfo['source']
}

export interface PlanItem {
  balancer: BalancerName
  range: string
  /** Whose store carries it out. */
  node: string
  id: string
  action: Action['type']
  reason: string
}

export interface BalancerList {
  balancers: BalancerInfo[]
  /** What they would do now: a dry run over the whole cluster. */
  plan: PlanItem[]
  rules: RuleInfo[]
}

/** Services whose rules can be set. */
const SERVICES = ['cluster', 'dist', 'inbox', 'retain'] as const
/** All records lie in one range. */
const ANY_KEY = new Uint8Array(1)
const VALUE_CHARS_MAX = 16_384

/** What operators see and say of the balancers. */
export class Steering {
  readonly #options: SteeringOptions

  constructor(options: SteeringOptions) {
    this.#options = options
  }

  list(): BalancerList {
    const { rules, landscape, names, now } = this.#options
    const inForce = rules()
    const infos = this.rules()
    const plan = balance(landscape(), now(), inForce).map(({ balancer, range, store, action, reason }): PlanItem => {
      return { balancer, range, node: names.of(store), id: store, action: action.type, reason: names.inText(reason) }
    })
    const balancers = BALANCERS.map((name): BalancerInfo => {
      const source = infos.find((rule) => rule.name === `enabled.${name}`)!.source
      return { name, enabled: isEnabled(inForce, name), source }
    })
    return { balancers, plan, rules: infos }
  }

  /** All that are in force, by name. */
  rules(): RuleInfo[] {
    const { replication, state, rules } = this.#options
    const built = new Map(textsFrom(rulesFromTexts(null, []), SERVICES))
    const configured = new Map(configuredTexts(replication))
    const set = new Map(textsOf(state()))
    const inForce = textsFrom(rules(), SERVICES)
    return inForce.map(([name, value]): RuleInfo => {
      const source = set.has(name) ? 'set' : configured.has(name) ? 'configuration' : 'default'
      return { name, value, source, otherwise: configured.get(name) ?? built.get(name)! }
    })
  }

  /** Throws what is wrong with it: CONFIG_INVALID, or CONFLICT where somebody else changed it meanwhile. */
  async set(name: string, value: string): Promise<RuleInfo> {
    this.#checkName(name)
    if (value.length > VALUE_CHARS_MAX) {
      throw new BrokerError(
        'CONFIG_INVALID',
        `The value of rule "${name}" is longer than ${VALUE_CHARS_MAX} characters`,
      )
    }
    const { replication, state } = this.#options
    const others = textsOf(state()).filter(([other]) => other !== name)
    const texts: RuleText[] = [...others, [name, value]]
    rulesFromTexts(replication, texts)
    await this.#write(name, new TextEncoder().encode(value))
    const shown = this.rules().find((rule) => rule.name === name)!
    return { ...shown, value, source: 'set' }
  }

  /** Back to what the configuration says, or what is built in. */
  async unset(name: string): Promise<RuleInfo> {
    this.#checkName(name)
    const { replication, state } = this.#options
    rulesFromTexts(
      replication,
      textsOf(state()).filter(([other]) => other !== name),
    )
    if (state().setting(BALANCER_SECTION, name) !== null) await this.#write(name, null)
    const shown = this.rules().find((rule) => rule.name === name)!
    const source = configuredTexts(replication).some(([other]) => other === name) ? 'configuration' : 'default'
    return { ...shown, value: shown.otherwise, source }
  }

  async #write(name: string, value: Uint8Array | null): Promise<void> {
    const { meta, state } = this.#options
    const expected = state().setting(BALANCER_SECTION, name)?.version ?? 0
    const change = { section: BALANCER_SECTION, name, value, expected }
    const answer: MetaResponse = await meta.mutate(ANY_KEY, { type: 'set', changes: [change] })
    if (answer.type === 'done') return
    throw new BrokerError('CONFLICT', `Cannot change rule "${name}": ${answer.detail}`)
  }

  #checkName(name: string): void {
    const known = this.rules().map((rule) => rule.name)
    if (known.includes(name)) return
    throw new BrokerError('CONFIG_INVALID', `"${name}" is no rule; there are ${known.join(', ')}`)
  }
}
