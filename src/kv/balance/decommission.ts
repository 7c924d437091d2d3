import type { Landscape, RangeView } from './contract.ts'
import { isMajority, waitsFor } from './membership.ts'
import type { Rules } from './rules.ts'
import { Survey } from './survey.ts'
import { holds, storesOf } from './tally.ts'
import { counted } from './words.ts'

export interface DecommissionPlan {
  store: string
  /** Why it must not be done, a sentence each; empty = it may. */
  refused: readonly string[]
  /** What is worse afterwards. */
  warnings: readonly string[]
  /** Replicas, and leaders among them, that are still there. */
  replicas: number
  leaders: number
  /** Nothing is left: the host may go. */
  done: boolean
  /** What is left, by range, and what it waits for. */
  remaining: readonly { range: string; role: 'voter' | 'learner'; leads: boolean; waits: string }[]
}

/**
 * What it takes to free a store of its replicas for ever: asked before (may it be done?) and during (how far is it?).
 * Refused where a range could not go on: it has no leader or no majority now, or no other store could take its data.
 */
export function decommissionPlan(landscape: Landscape, nowMs: number, rules: Rules, store: string): DecommissionPlan {
  const stores = landscape.stores.map((view) => (view.id === store ? { ...view, decommissioning: true } : view))
  const enabled = { ...rules.enabled, decommission: true }
  const survey = new Survey({ ...landscape, stores }, nowMs, { ...rules, enabled })
  const held = survey.ranges.filter((range) => holds(range, store))
  const refused = held.flatMap((range) => objection(survey, range, store) ?? [])
  if (survey.store(store) === undefined) refused.push(`"${store}" is not known`)
  const leaders = held.filter((range) => range.leaderStore === store).length
  return {
    store,
    refused,
    warnings: held.flatMap((range) => warning(survey, range, store) ?? []),
    replicas: held.length,
    leaders,
    done: held.length === 0 && refused.length === 0,
    remaining: held.map((range) => ({
      range: range.descriptor.id,
      role: storesOf(range, 'voter').includes(store) ? 'voter' : 'learner',
      leads: range.leaderStore === store,
      waits: waitsFor(survey, range),
    })),
  }
}

function objection(survey: Survey, range: RangeView, store: string): string | null {
  const { id, service } = range.descriptor
  const voters = storesOf(range, 'voter')
  if (range.leaderStore === null) return `range "${id}" has no leader: its replicas cannot change`
  const alive = voters.filter((voter) => survey.alive(voter)).length
  if (!isMajority(alive, voters.length)) {
    return `range "${id}" has ${alive} of ${voters.length} voters alive, which is no majority`
  }
  if (!voters.includes(store)) return null
  const others = survey.stores.filter((view) => view.alive && survey.stays(view.id) && view.roles.includes(service))
  if (others.length === 0) return `range "${id}": no other live store holds "${service}"`
  const size = survey.voterCount(range)
  if (!isMajority(others.length, size)) {
    return `range "${id}": ${counted(size, 'voter')} wanted without "${store}", and only ${counted(others.length, 'store')} alive`
  }
  return null
}

function warning(survey: Survey, range: RangeView, store: string): string | null {
  const voters = storesOf(range, 'voter').length
  const after = survey.voterCount(range)
  if (!storesOf(range, 'voter').includes(store) || after >= voters) return null
  const loss = Math.floor(after / 2)
  return `range "${range.descriptor.id}" goes from ${voters} voters to ${after}, which bear the loss of ${loss === 0 ? 'none' : loss}`
}
