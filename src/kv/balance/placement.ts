import type { RangeView } from './contract.ts'
import type { Survey } from './survey.ts'
import { holds, storesOf } from './tally.ts'
import { counted } from './words.ts'

/** The voters that a range is heading for. */
export interface Goal {
  /** Stores; some may hold no replica yet. */
  voters: readonly string[]
  /** Why this is not all that the rules ask for; null = it is. */
  waits: string | null
}

/** Voters that one change adds or removes at most, beside those it exchanges. */
const GROWTH = 2
/** Voters that one change adds at most. */
const JOINED = 3

/**
 * How crowded zones are: the sum of the squares of the voters in each. Less is better: the loss of one zone costs
 * fewer voters.
 */
export function crowding(survey: Survey, voters: readonly string[]): number {
  const counts = new Map<string, number>()
  for (const id of voters) counts.set(survey.zone(id), (counts.get(survey.zone(id)) ?? 0) + 1)
  let sum = 0
  for (const count of counts.values()) sum += count * count
  return sum
}

/** Of voters that are spread over zones as evenly as can be. */
export function leastCrowding(voters: number, zones: number): number {
  const each = Math.floor(voters / Math.max(1, zones))
  const more = voters - each * zones
  return more * (each + 1) ** 2 + (zones - more) * each ** 2
}

/**
 * The voters that a range shall have next: those it has and may keep, less those that are too many, filled up first
 * with learners, then with new stores. A learner that no rule asks for was made to become a voter, and replaces the
 * voter that is best replaced by it.
 */
export function chooseVoters(survey: Survey, range: RangeView): Goal {
  const now = storesOf(range, 'voter')
  const wanted = survey.voterCount(range)
  const size = nextCount(now.length, wanted)
  let chosen = fill(survey, range, keepable(survey, range, now, size), size)
  // Too few stores for a small step down: all the way, then.
  if (chosen.length < size && wanted < size) chosen = fill(survey, range, keepable(survey, range, now, wanted), wanted)
  if (chosen.length < Math.min(size, wanted)) {
    return { voters: now, waits: `stores for ${counted(size, 'voter')}, where ${chosen.length} can be had` }
  }
  return { voters: exchange(survey, range, chosen), waits: null }
}

/** The number of voters to go to from `now`: by small steps, always odd on the way. */
function nextCount(now: number, wanted: number): number {
  const size = Math.min(Math.max(wanted, now - GROWTH), now + GROWTH)
  if (size === wanted || size % 2 === 1) return size
  return now > wanted ? size + 1 : size - 1
}

/** The voters to keep, at most `size`; where too many would have to be replaced at once, some that must go stay. */
function keepable(survey: Survey, range: RangeView, now: readonly string[], size: number): string[] {
  const kept = now.filter((id) => survey.keeps(id, range))
  while (kept.length > size) kept.splice(kept.indexOf(mostDispensable(survey, range, kept)), 1)
  // Those that are alive keep the range going meanwhile, so the dead are replaced first.
  const rest = now
    .filter((id) => !survey.keeps(id, range))
    .sort((a, b) => Number(survey.alive(b)) - Number(survey.alive(a)))
  while (size - kept.length > JOINED) kept.push(rest.shift()!)
  return kept
}

/** Of too many voters, the one to give up: dead, else in a crowded zone, else on a full store; the leader last. */
function mostDispensable(survey: Survey, range: RangeView, voters: readonly string[]): string {
  const { service } = range.descriptor
  const rank = (id: string) => [
    Number(survey.alive(id)),
    Number(id === range.leaderStore),
    Number(survey.usable(id)),
    crowding(
      survey,
      voters.filter((other) => other !== id),
    ),
    -survey.voters.of(id, service),
    -survey.voters.of(id),
  ]
  return least(voters, rank)!
}

function fill(survey: Survey, range: RangeView, kept: readonly string[], size: number): string[] {
  const { service } = range.descriptor
  const chosen = [...kept]
  while (chosen.length < size) {
    const pool = survey.stores
      .map(({ id }) => id)
      .filter((id) => !chosen.includes(id) && survey.hasRole(id, service) && survey.alive(id) && survey.stays(id))
      .filter((id) => holds(range, id) || survey.usable(id))
    const next = least(pool, (id) => [
      Number(!holds(range, id)),
      Number(!survey.caughtUp(range, id)),
      Number(!survey.usable(id)),
      crowding(survey, [...chosen, id]),
      survey.voters.of(id, service),
      survey.voters.of(id),
    ])
    if (next === undefined) break
    chosen.push(next)
  }
  return chosen
}

/**
 * Lets one learner that was made to become a voter take the place of a voter: of a dead one, or where that makes things
 * better. Else the learner has lost its purpose.
 */
function exchange(survey: Survey, range: RangeView, chosen: readonly string[]): readonly string[] {
  const { service } = range.descriptor
  const before = crowding(survey, chosen)
  for (const learner of storesOf(range, 'learner')) {
    if (chosen.includes(learner) || survey.wanted(range, learner)) continue
    if (!survey.hasRole(learner, service) || !survey.usable(learner)) continue
    const swaps = chosen.map((voter) => ({ voter, voters: chosen.map((id) => (id === voter ? learner : id)) }))
    const { voter, voters } = least(swaps, (swap) => [
      crowding(survey, swap.voters),
      Number(survey.alive(swap.voter)),
      -survey.voters.of(swap.voter, service),
      -survey.voters.of(swap.voter),
      Number(swap.voter === range.leaderStore),
    ])!
    const gain = before - crowding(survey, voters)
    if (gain > 0 || (gain === 0 && (!survey.alive(voter) || isFuller(survey, service, voter, learner)))) return voters
  }
  return chosen
}

/** Whether counts, in which the range is not, are more even when its voter is on `other`: by service, then over all. */
function isFuller(survey: Survey, service: string, store: string, other: string): boolean {
  const tally = survey.voters
  const difference = tally.of(store, service) - tally.of(other, service)
  return difference > 0 || (difference === 0 && tally.of(store) > tally.of(other))
}

/** The first item with the least rank, compared field by field. */
export function least<T>(items: readonly T[], rank: (item: T) => readonly number[]): T | undefined {
  let best: { item: T; rank: readonly number[] } | undefined
  for (const item of items) {
    const own = rank(item)
    if (best === undefined || isLess(own, best.rank)) best = { item, rank: own }
  }
  return best?.item
}

function isLess(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, i) => value !== b[i])
  return at >= 0 && a[at]! < b[at]!
}
