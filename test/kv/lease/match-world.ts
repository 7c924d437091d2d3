import { type Answer, type AppliedReport, type Ask, MatchHolder, MatchLeader } from '../../../src/kv/lease/index.ts'
import { type Duties, Group, type GroupOptions, type Member } from './group.ts'

/** Mistakes that the simulation must find. */
export type MatchMistake =
  | 'index-ignored'
  | 'leader-waits-not'
  | 'unconfirmed'
  | 'holders-forgotten'
  | 'sleep-unnoticed'

interface Process {
  holder: MatchHolder
  leader: MatchLeader | null
  /** What the table shows; behind what is committed. */
  table: number
  committed: number
  /** Mutations that this leader appended and has not answered. */
  waiting: number[]
}

type Message = { ask: Ask } | { answer: Answer } | { report: AppliedReport }

/** Subscribers, publishers and match replicas: no publish is matched by a table without a route whose SUBACK is out. */
export class MatchWorld implements Duties {
  readonly group: Group
  /** Highest index whose SUBACK is out. */
  answered = 0
  subacks = 0
  matched = 0
  refused = 0
  /** From appending to SUBACK, ms. */
  waits: number[] = []
  readonly #processes = new Map<Member, Process>()
  readonly #appendedMs = new Map<number, number>()
  readonly #mistake: MatchMistake | null
  /** Members whose tables are far behind. */
  readonly #slow = new Set<Member>()
  #calm = false

  constructor(options: GroupOptions, mistake: MatchMistake | null = null) {
    this.#mistake = mistake
    this.group = new Group(options, this)
    const { world, random } = this.group
    const subscribe = () => {
      world.clock.after(random.float() * 200, subscribe)
      this.#subscribe(this.group.any())
    }
    const publish = () => {
      world.clock.after(random.float() * 6, publish)
      this.#publish(this.group.any())
    }
    const limp = () => {
      world.clock.after(random.float() * 4_000, limp)
      const member = this.group.any()
      if (!this.#slow.delete(member)) this.#slow.add(member)
    }
    subscribe()
    publish()
    limp()
  }

  /** All tables keep up from now on. */
  calm(): void {
    this.group.calm()
    this.#slow.clear()
    this.#calm = true
  }
  started(member: Member): void {
    const table = member.host!.app.index
    const holder = new MatchHolder(member.name, member.incarnation, table)
    this.#processes.set(member, { holder, leader: null, table, committed: table, waiting: [] })
  }

  led(member: Member, leads: boolean): void {
    const process = this.#processes.get(member)!
    const electedMs = this.#mistake === 'leader-waits-not' ? Number.NEGATIVE_INFINITY : this.group.clock(member)
    process.leader = leads ? new MatchLeader(electedMs) : null
    process.waiting = []
  }

  confirmed(member: Member, sentMs: number): void {
    this.#processes.get(member)!.leader?.confirmed(sentMs)
    this.#processes.get(member)!.leader?.ready()
  }

  committed(member: Member, index: number): void {
    const process = this.#processes.get(member)
    if (process !== undefined) process.committed = index
  }

  heard(member: Member, from: string, heard: unknown): void {
    const message = heard as Message
    const process = this.#processes.get(member)!
    const nowMs = this.group.clock(member)
    if ('answer' in message) process.holder.answered(message.answer, nowMs)
    else if (process.leader === null) return
    else if ('report' in message) process.leader.applied(message.report)
    else {
      if (this.#mistake === 'unconfirmed') process.leader.confirmed(nowMs)
      const answer = process.leader.ask(message.ask, member.host!.node.status().commit, nowMs)
      const spoilt = this.#mistake === 'index-ignored' && answer.type === 'granted' ? { ...answer, index: 0 } : answer
      this.group.send(member, from, { answer: spoilt })
    }
    this.#release(member, process)
  }

  slept(member: Member): void {
    if (this.#mistake === 'sleep-unnoticed') return
    const process = this.#processes.get(member)!
    process.holder.doubt()
    process.leader?.doubt(this.group.clock(member))
  }

  /** What it does first is what it was about to do. */
  resumed(member: Member): void {
    this.#publish(member)
  }

  woke(member: Member): void {
    const process = this.#processes.get(member)!
    const nowMs = this.group.clock(member)
    const leader = this.group.leaderOf(member)
    const ask = process.holder.tick(nowMs)
    if (ask !== null && leader !== null) this.group.send(member, leader, { ask })
    const lag = this.#slow.has(member) && !this.#calm ? this.group.random.below(20) : 0
    if (process.table < process.committed && lag === 0) {
      process.table += this.#slow.has(member) ? 1 : process.committed - process.table
      const report = process.holder.applied(process.table, nowMs)
      if (report !== null && leader !== null) this.group.send(member, leader, { report })
    }
    this.#release(member, process)
  }

  /** How many could match at this moment. */
  able(): number {
    return [...this.#processes].filter(([member, { holder }]) => holder.holds(this.group.clock(member))).length
  }

  #subscribe(member: Member): void {
    const process = this.#processes.get(member)
    if (process?.leader === undefined || process.leader === null || member.paused || !member.host?.alive) return
    const place = this.group.propose(member, 'route')
    if (place === null) return
    process.waiting.push(place.index)
    this.#appendedMs.set(place.index, this.group.world.elapsedMs)
  }

  #release(member: Member, { leader, waiting, committed }: Process): void {
    if (leader === null) return
    const mayGo = this.#mistake === 'holders-forgotten' ? committed : leader.releasable(this.group.clock(member))
    // What waits was appended in this leader's term, so what is committed there is it.
    while (waiting.length > 0 && waiting[0]! <= Math.min(committed, mayGo)) {
      const index = waiting.shift()!
      this.answered = Math.max(this.answered, index)
      this.subacks++
      this.waits.push(this.group.world.elapsedMs - this.#appendedMs.get(index)!)
    }
  }

  #publish(member: Member): void {
    const process = this.#processes.get(member)
    if (process === undefined || member.paused || !member.host?.alive) return
    if (!process.holder.holds(this.group.clock(member))) {
      this.refused++
      return
    }
    this.matched++
    if (process.table < this.answered) {
      throw new Error(`${member.name} matches by index ${process.table}, and the SUBACK of ${this.answered} is out`)
    }
  }
}
