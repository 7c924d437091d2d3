import { checkRules, type Rules, type RuleText, rulesFrom } from '../../kv/balance/index.ts'
import type { MetaState } from '../../kv/meta/index.ts'
import { MATCHING, ROLES } from '../roles.ts'

/** Section of the settings in the `meta` range that are rules of balancers, each a text under the rule's name. */
export const BALANCER_SECTION = 'balancer'

/** Wished voters, by service, as the configuration says. */
export interface Replication {
  dist: number
  inbox: number
  retain: number
}

const decoder = new TextDecoder()

/** What operators have set, above what this node's configuration says. Throws CONFIG_INVALID where it makes no sense. */
export function rulesOf(replication: Replication, state: MetaState): Rules {
  return rulesFromTexts(replication, textsOf(state))
}

/** @param replication null: as if no configuration said anything */
export function rulesFromTexts(replication: Replication | null, texts: readonly RuleText[]): Rules {
  const configured = replication === null ? [] : configuredTexts(replication)
  const own: RuleText[] = [
    // Every node reads the cluster's own records from memory.
    ['services.cluster.learnersOn', ROLES.join()],
    // Messages are matched where they come in. A session's queue is pushed to it from wherever its range is led.
    ['services.dist.learnersOn', MATCHING],
  ]
  const rules = rulesFrom([...configured, ...own, ...texts])
  checkRules(rules)
  return rules
}

export function configuredTexts(replication: Replication): RuleText[] {
  return Object.entries(replication).map(
    ([service, voters]): RuleText => [`services.${service}.voters`, String(voters)],
  )
}

export function textsOf(state: MetaState): RuleText[] {
  const set = state.settings.get(BALANCER_SECTION)
  return [...(set?.values() ?? [])].map(({ name, value }): RuleText => [name, decoder.decode(value)])
}
