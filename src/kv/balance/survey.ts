import type { Landscape, RangeView, StoreView } from './contract.ts'
import { chooseVoters, type Goal } from './placement.ts'
import { isEnabled, type Rules, type ServiceRules, serviceRules } from './rules.ts'
import { Copies, holds, oddAtMost, storesOf, Tally } from './tally.ts'

/**
 * One look at a landscape under rules: who is expected to stay, where each range is heading, and what each store will
 * hold when all have arrived. All stores that look at the same landscape see the same, so that each can plan for the
 * whole cluster and carry out its own part: no two leaders send their ranges to the same empty store.
 */
export class Survey {
  readonly rules: Rules
  readonly nowMs: number
  /** In the order of ids. */
  readonly stores: readonly StoreView[]
  readonly ranges: readonly RangeView[]
  readonly voters = new Tally()
  readonly leaders = new Tally()
  readonly copies: Copies
  readonly #stores = new Map<string, StoreView>()
  readonly #goals = new Map<string, Goal>()
  readonly #services = new Map<string, ServiceRules>()
  readonly #targets = new Map<string, readonly string[]>()
  /** Live stores by service. */
  readonly #counts = new Map<string, number>()
  /** Ranges by service. */
  readonly #ranges = new Map<string, number>()
  readonly #slack = new Map<Tally, Map<string, number>>()

  constructor(landscape: Landscape, nowMs: number, rules: Rules) {
    this.rules = rules
    this.nowMs = nowMs
    this.stores = [...landscape.stores].sort((a, b) => (a.id < b.id ? -1 : 1))
    this.ranges = [...landscape.ranges].sort((a, b) => (a.descriptor.id < b.descriptor.id ? -1 : 1))
    for (const store of this.stores) this.#stores.set(store.id, store)
    for (const range of this.ranges) {
      const { service } = range.descriptor
      this.#ranges.set(service, (this.#ranges.get(service) ?? 0) + 1)
      if (range.leaderStore !== null) this.leaders.add(range.leaderStore, service, 1)
    }
    this.copies = new Copies(rules.copiesMax, rules.copiesPerStoreMax)
    for (const range of this.ranges) {
      for (const id of storesOf(range, 'learner')) {
        if (this.alive(id) && !this.caughtUp(range, id)) this.copies.add(id)
      }
    }
    this.#setGoals()
  }

  store(id: string): StoreView | undefined {
    return this.#stores.get(id)
  }

  alive(id: string): boolean {
    return this.#stores.get(id)?.alive === true
  }

  /** Dead for so long that it is not expected back. */
  gone(id: string): boolean {
    const store = this.#stores.get(id)
    if (store === undefined || store.alive || !isEnabled(this.rules, 'replacement')) return false
    return store.deadForMs >= this.rules.replaceDeadAfterMs
  }

  leaving(id: string): boolean {
    return this.#stores.get(id)?.decommissioning === true && isEnabled(this.rules, 'decommission')
  }

  /** Its replicas may stay. */
  stays(id: string): boolean {
    return !this.gone(id) && !this.leaving(id)
  }

  /** Its voter of the range may stay. */
  keeps(id: string, { descriptor }: RangeView): boolean {
    return this.stays(id) && !this.misplaced(id, descriptor.service)
  }

  /** Lives, and has not the service's role, or no more: what it votes for moves away. */
  misplaced(id: string, service: string): boolean {
    const store = this.#stores.get(id)
    return store?.alive === true && !store.roles.includes(service) && isEnabled(this.rules, 'replica-count')
  }

  /** Gives up its leaders. */
  loses({ decommissioning, draining, full }: StoreView): boolean {
    return decommissioning || draining || full
  }

  /** May get replicas and leaders. */
  usable(id: string): boolean {
    const store = this.#stores.get(id)
    if (store === undefined || !store.alive || this.loses(store)) return false
    return store.freeBytes >= this.rules.freeBytesMin
  }

  /** Stores that may get voters of the service, in the order of ids. */
  targets(service: string): readonly string[] {
    let targets = this.#targets.get(service)
    if (targets === undefined) {
      const able = this.stores.filter(({ id, roles }) => roles.includes(service) && this.usable(id))
      this.#targets.set(service, (targets = able.map(({ id }) => id)))
    }
    return targets
  }

  /** How many zones those are in. */
  zonesOf(service: string): number {
    return new Set(this.targets(service).map((id) => this.zone(id))).size
  }

  hasRole(id: string, role: string): boolean {
    return this.#stores.get(id)?.roles.includes(role) === true
  }

  zone(id: string): string {
    return this.#stores.get(id)?.zone ?? ''
  }

  service(range: RangeView): ServiceRules {
    const { service } = range.descriptor
    let rules = this.#services.get(service)
    if (rules === undefined) this.#services.set(service, (rules = serviceRules(this.rules, service)))
    return rules
  }

  /** How many voters the range shall have: the largest odd number of the wished ones and of the live stores. */
  voterCount(range: RangeView): number {
    const now = storesOf(range, 'voter').length
    if (!isEnabled(this.rules, 'replica-count')) return now
    return oddAtMost(Math.min(this.service(range).voters, this.#live(range.descriptor.service)))
  }

  /**
   * Whether the rule asks for a replica there, as voter or learner. Where fewer stores live than voters are wished,
   * those that do not vote keep a copy as well: two nodes are one voter and one learner.
   */
  wanted(range: RangeView, id: string): boolean {
    const { learnersOn, voters } = this.service(range)
    if (learnersOn.some((role) => this.hasRole(id, role))) return true
    const { service } = range.descriptor
    return this.hasRole(id, service) && this.#live(service) <= voters && this.voterCount(range) < voters
  }

  /** Stores that a rule wants to hold a replica and that hold none. */
  missing(range: RangeView): string[] {
    if (!isEnabled(this.rules, 'replica-count')) return []
    return this.stores
      .map(({ id }) => id)
      .filter((id) => this.wanted(range, id) && this.usable(id) && !holds(range, id))
  }

  /** A learner there has no purpose of its own: it is to become a voter, or to go. */
  passing(range: RangeView, id: string): boolean {
    return !this.wanted(range, id) || !this.stays(id)
  }

  caughtUp(range: RangeView, id: string): boolean {
    if (id === range.leaderStore) return true
    return this.alive(id) && (range.lag[id] ?? Number.POSITIVE_INFINITY) <= this.rules.caughtUpEntries
  }

  /** A leader that can act, and nothing under way. */
  ready(range: RangeView): boolean {
    return range.leaderStore !== null && this.alive(range.leaderStore) && !range.busy
  }

  /** No change is going on or wanted, and none has been for a while: what can wait may be done now. */
  calm(range: RangeView): boolean {
    return this.ready(range) && range.changedForMs >= this.rules.coolDownMs && this.arrived(range)
  }

  /** Has exactly the voters that it shall have, and no learner on the way to be one. */
  arrived(range: RangeView): boolean {
    const { voters, waits } = this.goal(range)
    const now = storesOf(range, 'voter')
    if (waits !== null || voters.length !== now.length || !voters.every((id) => now.includes(id))) return false
    return !storesOf(range, 'learner').some((id) => this.passing(range, id))
  }

  /** Counts one range more of the service, if the rules leave room for it. */
  takeRange(service: string): boolean {
    const count = this.#ranges.get(service) ?? 0
    if (count >= serviceRules(this.rules, service).rangesMax) return false
    this.#ranges.set(service, count + 1)
    return true
  }

  goal(range: RangeView): Goal {
    return this.#goals.get(range.descriptor.id)!
  }

  /**
   * Whether moving one from `from` to `to`, both counted as they are, is worth it. Each move makes the sum of the
   * squares of the counts less, of the service or, with that unchanged, of all: so moves come to an end.
   */
  uneven(tally: Tally, service: string, from: string, to: string): boolean {
    const byService = tally.of(from, service) - tally.of(to, service)
    if (byService >= this.#slackOf(tally, service)) return true
    return byService === 1 && tally.of(from) - tally.of(to) >= this.#slackOf(tally, '')
  }

  #slackOf(tally: Tally, service: string): number {
    const known = this.#slack.get(tally)?.get(service)
    if (known !== undefined) return known
    const live = this.stores.filter(({ id, roles }) => this.usable(id) && (service === '' || roles.includes(service)))
    const sum = live.reduce((total, { id }) => total + tally.of(id, service), 0)
    const mean = sum / Math.max(1, live.length)
    const slack = Math.max(2, Math.ceil((mean * this.rules.slackPercent) / 100))
    const all = this.#slack.get(tally) ?? new Map<string, number>()
    this.#slack.set(tally, all.set(service, slack))
    return slack
  }

  /** Stores of the service that are expected to stay; those that are dead for a moment count. */
  #live(service: string): number {
    let count = this.#counts.get(service)
    if (count === undefined) {
      count = this.stores.filter((store) => store.roles.includes(service) && this.stays(store.id)).length
      this.#counts.set(service, count)
    }
    return count
  }

  /**
   * Ranges that are where they shall be count as they are. The others are settled around them one by one, and then once
   * more when all are known: each must choose as if it were the last, else it would undo what it began.
   */
  #setGoals(): void {
    const moving: RangeView[] = []
    for (const range of this.ranges) {
      const voters = storesOf(range, 'voter')
      this.#setGoal(range, { voters, waits: null })
      if (range.leaderStore === null) continue
      const settled =
        voters.every((id) => this.keeps(id, range)) &&
        voters.length === this.voterCount(range) &&
        !storesOf(range, 'learner').some((id) => this.passing(range, id))
      if (!settled) moving.push(range)
    }
    for (const range of [...moving, ...moving]) {
      this.#count(range, -1)
      this.#setGoal(range, chooseVoters(this, range))
    }
  }

  #setGoal(range: RangeView, goal: Goal): void {
    this.#goals.set(range.descriptor.id, goal)
    this.#count(range, 1)
  }

  #count(range: RangeView, by: 1 | -1): void {
    for (const id of this.goal(range).voters) this.voters.add(id, range.descriptor.service, by)
  }
}
