import type { RangeView } from './contract.ts'
import type { Step } from './membership.ts'
import { least } from './placement.ts'
import type { Survey } from './survey.ts'
import { storesOf } from './tally.ts'

/** Takes leaders from a store that pauses, leaves or is full. */
export function drainStep(survey: Survey, range: RangeView): Step | null {
  const leader = range.leaderStore
  const store = leader === null ? undefined : survey.store(leader)
  if (leader === null || store === undefined || !survey.ready(range) || !survey.loses(store)) return null
  const heir = heirOf(survey, range)
  if (heir === null) return null
  survey.leaders.move(leader, heir, range.descriptor.service)
  const why = store.decommissioning ? 'is being decommissioned' : store.draining ? 'pauses' : 'is full'
  return { action: { type: 'transfer', to: heir }, reason: `${leader} ${why}: ${heir} leads` }
}

/** As many leaders on one store as on another: of each service, and then of all. */
export function leaderStep(survey: Survey, range: RangeView): Step | null {
  const leader = range.leaderStore
  if (leader === null || !survey.calm(range) || range.ledForMs < survey.rules.coolDownMs) return null
  const { service } = range.descriptor
  const heir = heirOf(survey, range)
  if (heir === null || !survey.uneven(survey.leaders, service, leader, heir)) return null
  const own = `${leader} leads ${survey.leaders.of(leader, service)} ranges of "${service}" and ${survey.leaders.of(leader)} in all`
  const reason = `${own}, ${heir} leads ${survey.leaders.of(heir, service)} and ${survey.leaders.of(heir)}: it gets one`
  survey.leaders.move(leader, heir, service)
  return { action: { type: 'transfer', to: heir }, reason }
}

/** The voter that leads least and could lead at once; null = none but the leader. */
export function heirOf(survey: Survey, range: RangeView): string | null {
  const { service } = range.descriptor
  const voters = storesOf(range, 'voter').filter(
    (id) => id !== range.leaderStore && survey.usable(id) && survey.caughtUp(range, id),
  )
  return least(voters, (id) => [survey.leaders.of(id, service), survey.leaders.of(id)]) ?? null
}
