import type { RangeView, ReplicaChange } from './contract.ts'
import type { Step } from './membership.ts'
import { crowding, least, leastCrowding } from './placement.ts'
import type { Survey } from './survey.ts'
import { holds, storesOf } from './tally.ts'

/** Voters of one range in as many zones as there are: moves one out of a zone that holds more than its share. */
export function zoneStep(survey: Survey, range: RangeView): Step | null {
  if (!survey.calm(range)) return null
  const { service } = range.descriptor
  const voters = storesOf(range, 'voter')
  const before = crowding(survey, voters)
  if (before <= leastCrowding(voters.length, survey.zonesOf(service))) return null
  const better = (from: string, to: string) => crowding(survey, swapped(voters, from, to)) < before
  const best = least(swapsOf(survey, range, better), ({ from, to }) => [
    crowding(survey, swapped(voters, from, to)),
    Number(from === range.leaderStore),
    survey.voters.of(to, service) - survey.voters.of(from, service),
    survey.voters.of(to),
  ])
  if (best === undefined) return null
  const { from, to } = best
  const zone = `zone "${survey.zone(from)}" holds ${voters.filter((id) => survey.zone(id) === survey.zone(from)).length}`
  return swapStep(survey, range, from, to, `${zone} of ${voters.length} voters: ${from} gives way to ${to}`)
}

/** As many voters on one store as on another: of each service, and then of all. Never at the cost of zones. */
export function spreadStep(survey: Survey, range: RangeView): Step | null {
  if (!survey.calm(range)) return null
  const { service } = range.descriptor
  const voters = storesOf(range, 'voter')
  const before = crowding(survey, voters)
  const better = (from: string, to: string) =>
    survey.uneven(survey.voters, service, from, to) && crowding(survey, swapped(voters, from, to)) <= before
  const best = least(swapsOf(survey, range, better), ({ from, to }) => [
    survey.voters.of(to, service) - survey.voters.of(from, service),
    survey.voters.of(to) - survey.voters.of(from),
    Number(from === range.leaderStore),
  ])
  if (best === undefined) return null
  const { from, to } = best
  const counts = `${from} holds ${survey.voters.of(from, service)} voters of "${service}" and ${survey.voters.of(from)} in all`
  const others = `${to} holds ${survey.voters.of(to, service)} and ${survey.voters.of(to)}`
  return swapStep(survey, range, from, to, `${counts}, ${others}: one moves`)
}

/** All pairs that may change places and are worth it. A voter whose store may be back soon is not moved for order. */
function swapsOf(
  survey: Survey,
  range: RangeView,
  better: (from: string, to: string) => boolean,
): { from: string; to: string }[] {
  const voters = storesOf(range, 'voter')
  const swaps: { from: string; to: string }[] = []
  for (const from of voters) {
    if (!survey.alive(from)) continue
    for (const to of survey.targets(range.descriptor.service)) {
      if (!voters.includes(to) && better(from, to)) swaps.push({ from, to })
    }
  }
  return swaps
}

/** A learner that has caught up takes over at once; a new store becomes a learner first. */
function swapStep(survey: Survey, range: RangeView, from: string, to: string, reason: string): Step | null {
  const { service } = range.descriptor
  if (!holds(range, to)) {
    if (!survey.copies.take(to)) return null
    survey.voters.move(from, to, service)
    return { reason, action: { type: 'change', changes: [{ store: to, to: 'learner' }] } }
  }
  if (!survey.caughtUp(range, to)) return null
  const voters = storesOf(range, 'voter')
  const rest = voters.filter((id) => id !== from)
  if (from === range.leaderStore) {
    const heir = least(
      rest.filter((id) => survey.usable(id) && survey.caughtUp(range, id)),
      (id) => [survey.leaders.of(id, service)],
    )
    if (heir !== undefined) return { reason, action: { type: 'transfer', to: heir } }
  }
  survey.voters.move(from, to, service)
  const changes: ReplicaChange[] = [
    { store: to, to: 'voter' },
    { store: from, to: survey.wanted(range, from) ? 'learner' : 'none' },
  ]
  return { reason, action: { type: 'change', changes } }
}

function swapped(voters: readonly string[], from: string, to: string): string[] {
  return voters.map((id) => (id === from ? to : id))
}

/** Ranges in the order in which they should give: those on the fullest stores first. */
export function fullestFirst(survey: Survey, ranges: readonly RangeView[], leaders: boolean): RangeView[] {
  const fullness = (range: RangeView) => {
    const { service } = range.descriptor
    if (leaders) return range.leaderStore === null ? 0 : survey.leaders.of(range.leaderStore, service)
    return Math.max(...storesOf(range, 'voter').map((id) => survey.voters.of(id, service)))
  }
  return ranges
    .map((range) => ({ range, full: fullness(range) }))
    .sort((a, b) => b.full - a.full)
    .map(({ range }) => range)
}
