import type { Action, BalancerName, RangeView, ReplicaChange } from './contract.ts'
import type { Survey } from './survey.ts'
import { holds, storesOf } from './tally.ts'
import { counted, listed } from './words.ts'

/** The next thing to do to a range's replicas. */
export interface Step {
  action: Action
  reason: string
}

/** Learners that one range copies to at one time. */
const LEARNERS_AT_ONCE = 3

/** Who sees to a range's replicas now; null = nobody need do anything. */
export function concernOf(survey: Survey, range: RangeView): BalancerName | null {
  const stores = range.descriptor.replicas.map(({ store }) => store)
  if (stores.some((id) => survey.gone(id))) return 'replacement'
  if (stores.some((id) => survey.leaving(id))) return 'decommission'
  const voters = storesOf(range, 'voter')
  if (survey.voterCount(range) !== voters.length) return 'replica-count'
  if (voters.some((id) => survey.misplaced(id, range.descriptor.service))) return 'replica-count'
  if (!survey.arrived(range)) return 'catch-up'
  return survey.missing(range).length > 0 ? 'replica-count' : null
}

/**
 * The next step from the replicas that a range has to those that it shall have; null = none now.
 *
 * A new voter is a learner first. When all that are to join have caught up, one joint change lets them in and the
 * others out, so that the number of voters is odd before and after, and never lower than it need be.
 */
export function membershipStep(survey: Survey, range: RangeView): Step | null {
  if (!survey.ready(range)) return null
  const goal = survey.goal(range)
  const fresh = goal.voters.filter((id) => !holds(range, id))
  if (fresh.length > 0) return setLearners(survey, range, goal.voters, fresh)
  const now = storesOf(range, 'voter')
  const changed = now.some((id) => !goal.voters.includes(id)) || goal.voters.some((id) => !now.includes(id))
  if (!changed) return setLearners(survey, range, goal.voters, [])
  const late = goal.voters.filter((id) => !now.includes(id) && !survey.caughtUp(range, id))
  return late.length > 0 ? setLearners(survey, range, goal.voters, []) : exchangeVoters(survey, range, now, goal.voters)
}

/** Makes learners of `fresh` and where a rule asks for them; takes learners away that have become needless. */
function setLearners(survey: Survey, range: RangeView, goal: readonly string[], fresh: readonly string[]): Step | null {
  const learners = storesOf(range, 'learner')
  const needless = learners.filter((id) => !goal.includes(id) && survey.passing(range, id))
  const copying = learners.filter((id) => !needless.includes(id) && !survey.caughtUp(range, id) && survey.alive(id))
  const added: string[] = []
  for (const id of [...fresh, ...survey.missing(range).filter((store) => !fresh.includes(store))]) {
    if (copying.length + added.length < LEARNERS_AT_ONCE && survey.copies.take(id)) added.push(id)
  }
  const changes: ReplicaChange[] = [
    ...added.map((store) => ({ store, to: 'learner' as const })),
    ...needless.map((store) => ({ store, to: 'none' as const })),
  ]
  if (changes.length === 0) return null
  return { action: { type: 'change', changes }, reason: describe(survey, range, changes, goal) }
}

/** Everybody of `goal` has caught up. */
function exchangeVoters(
  survey: Survey,
  range: RangeView,
  now: readonly string[],
  goal: readonly string[],
): Step | null {
  const leader = range.leaderStore!
  if (!goal.includes(leader)) {
    const heir = goal.find((id) => now.includes(id) && survey.usable(id) && survey.caughtUp(range, id))
    const reason = `${leader} leads and is to lose its replica: ${heir} leads before`
    if (heir !== undefined) return { action: { type: 'transfer', to: heir }, reason }
  }
  if (!isMajority(now.filter((id) => survey.alive(id)).length, now.length)) return null
  if (!isMajority(goal.filter((id) => survey.caughtUp(range, id)).length, goal.length)) return null
  const changes: ReplicaChange[] = goal.filter((id) => !now.includes(id)).map((store) => ({ store, to: 'voter' }))
  for (const store of now) {
    if (goal.includes(store)) continue
    changes.push({ store, to: survey.passing(range, store) ? 'none' : 'learner' })
  }
  for (const store of storesOf(range, 'learner')) {
    if (!goal.includes(store) && survey.passing(range, store)) changes.push({ store, to: 'none' })
  }
  return { action: { type: 'change', changes }, reason: describe(survey, range, changes, goal) }
}

/** What a range waits for, of which `concernOf` speaks; 'its turn' where nothing of its own holds it up. */
export function waitsFor(survey: Survey, range: RangeView): string {
  if (range.leaderStore === null) return 'a leader'
  if (range.busy) return 'the change under way'
  const goal = survey.goal(range)
  if (goal.waits !== null) return goal.waits
  const late = goal.voters.filter((id) => holds(range, id) && !survey.caughtUp(range, id) && survey.alive(id))
  if (late.length > 0) return `${listed(late)} to catch up`
  return goal.voters.includes(range.leaderStore) ? 'its turn' : 'another leader'
}

export function isMajority(count: number, of: number): boolean {
  return count > of / 2
}

function describe(
  survey: Survey,
  range: RangeView,
  changes: readonly ReplicaChange[],
  goal: readonly string[],
): string {
  const parts: string[] = []
  const say = (stores: readonly string[], one: string, many: string) => {
    if (stores.length > 0) parts.push(`${listed(stores)} ${stores.length === 1 ? one : many}`)
  }
  const replicas = range.descriptor.replicas.map(({ store }) => store)
  const gone = replicas.filter((id) => survey.gone(id))
  if (gone.length > 0) {
    const minutes = Math.floor(Math.min(...gone.map((id) => survey.store(id)!.deadForMs)) / 60_000)
    say(gone, `has been dead for ${minutes} min`, `have been dead for ${minutes} min`)
  }
  say(
    replicas.filter((id) => survey.leaving(id)),
    'is being decommissioned',
    'are being decommissioned',
  )
  const misplaced = storesOf(range, 'voter').filter((id) => survey.misplaced(id, range.descriptor.service))
  say(misplaced, 'has not its role', 'have not its role')
  const to = (kind: ReplicaChange['to']) => changes.filter((change) => change.to === kind).map(({ store }) => store)
  const learners = to('learner')
  const coming = learners.filter((id) => goal.includes(id))
  const count = storesOf(range, 'voter').length
  if (coming.length > 0)
    say(
      coming,
      goal.length === 1 ? 'is to be the voter' : `is to be one of ${goal.length} voters`,
      `are to be among ${goal.length} voters`,
    )
  const asked = learners.filter((id) => !coming.includes(id) && !holds(range, id))
  say(asked, 'gets the replica that the rules ask for', 'get the replicas that the rules ask for')
  const promoted = to('voter')
  say(promoted, 'has caught up and votes', 'have caught up and vote')
  const retired = learners.filter((id) => holds(range, id))
  say(retired, 'votes no more', 'vote no more')
  say(to('none'), 'leaves', 'leave')
  const voters = promoted.length === 0 && retired.length === 0 && count === goal.length
  if (!voters && coming.length === 0 && count !== goal.length)
    parts.push(`${counted(goal.length, 'voter')} instead of ${count}`)
  return parts.join('; ')
}
