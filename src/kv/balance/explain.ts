import { balance } from './balance.ts'
import type { Landscape, RangeView } from './contract.ts'
import { concernOf, waitsFor } from './membership.ts'
import type { Rules } from './rules.ts'
import { Survey } from './survey.ts'
import { storesOf } from './tally.ts'

/** One range for the operator: who leads, who lags, what is wished, and what is done next or waited for. */
export function explain(landscape: Landscape, nowMs: number, rules: Rules, rangeId: string): string[] {
  const survey = new Survey(landscape, nowMs, rules)
  const range = survey.ranges.find(({ descriptor }) => descriptor.id === rangeId)
  if (range === undefined) return [`No store speaks of range "${rangeId}"`]
  const lines = [range.leaderStore === null ? 'Nobody leads it' : `${range.leaderStore} leads it`]
  for (const { store, role } of range.descriptor.replicas) lines.push(replicaLine(survey, range, store, role))
  const voters = storesOf(range, 'voter').length
  const wanted = survey.voterCount(range)
  if (voters !== wanted) lines.push(`It has ${voters} voters and shall have ${wanted}`)
  const next = balance({ ...landscape, self: null }, nowMs, rules).find((proposal) => proposal.range === rangeId)
  if (next !== undefined) lines.push(`Next, by ${next.balancer}: ${next.reason}`)
  else if (concernOf(survey, range) !== null) lines.push(`It waits for ${waitsFor(survey, range)}`)
  return lines
}

function replicaLine(survey: Survey, range: RangeView, id: string, role: string): string {
  const store = survey.store(id)
  const state: string[] = []
  if (store === undefined) state.push('unknown store')
  else if (!store.alive) state.push(`dead for ${Math.floor(store.deadForMs / 1_000)} s`)
  else if (id !== range.leaderStore) {
    const lag = range.lag[id]
    state.push(lag === undefined ? 'not heard' : survey.caughtUp(range, id) ? 'caught up' : `${lag} entries behind`)
  }
  if (store?.decommissioning) state.push('being decommissioned')
  if (store?.draining) state.push('pausing')
  return `${role} on ${id}${state.length > 0 ? `: ${state.join(', ')}` : ''}`
}
