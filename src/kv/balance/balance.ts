import { loadSplitStep, mergeStep, preSplitStep, rightNeighbours, sizeSplitStep } from './boundaries.ts'
import type { Balancer, BalancerName, Landscape, Proposal, RangeView } from './contract.ts'
import { drainStep, leaderStep } from './leaders.ts'
import { concernOf, membershipStep, type Step } from './membership.ts'
import { isEnabled, type Rules } from './rules.ts'
import { fullestFirst, spreadStep, zoneStep } from './spread.ts'
import { Survey } from './survey.ts'

/**
 * All that the rules ask for now, in order of precedence: at most one proposal for a range. With `self` set, those that
 * this store carries out; without, the dry run: what all stores would do.
 *
 * Every store plans for all and takes its part. Where landscapes differ for a moment the parts may not fit together;
 * a range's epoch refuses what is out of date, and the next round sees what has become of it.
 */
export function balance(landscape: Landscape, nowMs: number, rules: Rules): Proposal[] {
  const survey = new Survey(landscape, nowMs, rules)
  const ranges = inTurn(survey)
  const taken = new Set<string>()
  const plan: Proposal[] = []
  let count = 0
  for (const balancer of ALL) {
    if (!isEnabled(rules, balancer.name)) continue
    const free = ranges.filter((range) => !taken.has(range.descriptor.id))
    for (const proposal of balancer.propose(survey, free)) {
      if (balancer.name !== 'drain' && ++count > rules.proposalsMax) break
      taken.add(proposal.range)
      plan.push(proposal)
    }
  }
  return landscape.self === null ? plan : plan.filter(({ store }) => store === landscape.self)
}

/** Each minute another range is first, so that one whose change never succeeds does not hold up all others. */
function inTurn(survey: Survey): RangeView[] {
  const { ranges, nowMs } = survey
  const first = ranges.length === 0 ? 0 : Math.floor(nowMs / 60_000) % ranges.length
  return [...ranges.slice(first), ...ranges.slice(0, first)]
}

type StepOf = (survey: Survey, range: RangeView) => Step | null

function balancer(
  name: BalancerName,
  step: StepOf,
  order?: (survey: Survey, ranges: RangeView[]) => RangeView[],
): Balancer {
  return {
    name,
    propose: (survey, ranges) =>
      (order?.(survey, ranges) ?? ranges).flatMap((range) => {
        const found = step(survey, range)
        return found === null ? [] : [proposal(name, range, found)]
      }),
  }
}

function membership(name: BalancerName): Balancer {
  return balancer(name, (survey, range) => (concernOf(survey, range) === name ? membershipStep(survey, range) : null))
}

const merge: Balancer = {
  name: 'merge',
  propose: (survey, ranges) => {
    const rights = rightNeighbours(ranges)
    const taken = new Set<string>()
    const proposals: Proposal[] = []
    for (const range of ranges) {
      const right = rights.get(range.descriptor.id)
      if (right === undefined || taken.has(range.descriptor.id) || taken.has(right.descriptor.id)) continue
      const step = mergeStep(survey, range, right)
      if (step === null) continue
      taken.add(right.descriptor.id).add(range.descriptor.id)
      proposals.push(proposal('merge', range, step))
    }
    return proposals
  },
}

const ALL: readonly Balancer[] = [
  balancer('drain', drainStep),
  membership('replacement'),
  membership('decommission'),
  membership('replica-count'),
  membership('catch-up'),
  balancer('pre-split', preSplitStep),
  balancer('size-split', sizeSplitStep),
  balancer('load-split', loadSplitStep),
  balancer('zones', zoneStep),
  balancer('range-spread', spreadStep, (survey, ranges) => fullestFirst(survey, ranges, false)),
  balancer('leader-spread', leaderStep, (survey, ranges) => fullestFirst(survey, ranges, true)),
  merge,
]

function proposal(name: BalancerName, range: RangeView, step: Step): Proposal {
  const { id, service, epoch } = range.descriptor
  return { balancer: name, range: id, service, store: range.leaderStore!, epoch, ...step }
}
