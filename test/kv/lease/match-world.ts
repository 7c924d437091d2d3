import { type MatchMessage, MatchReplica } from '../../../src/kv/lease/index.ts'
import { type Duties, Group, type GroupOptions, type Member } from './group.ts'

/** Mistakes that the simulation must find. */
export type MatchMistake =
  | 'index-ignored'
  | 'leader-waits-not'
  | 'unconfirmed'
  | 'holders-forgotten'
  | 'sleep-unnoticed'

interface Process {
  replica: MatchReplica<number>
  leads: boolean
  /** What the table shows; behind what is committed. */
  table: number
  committed: number
  /** Mutations that this leader appended, and that are not committed. */
  waiting: number[]
}

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
    const { name, incarnation } = member
    const replica = new MatchReplica<number>({ name, incarnation, applied: table, heldMax: 10_000 })
    this.#processes.set(member, { replica, leads: false, table, committed: table, waiting: [] })
  }

  led(member: Member, leads: boolean): void {
    const process = this.#processes.get(member)!
    process.leads = leads
    process.waiting = []
    if (!leads) process.replica.deposed()
    else process.replica.led(this.#mistake === 'leader-waits-not' ? Number.NEGATIVE_INFINITY : this.group.clock(member))
    this.#perform(member, process)
  }

  confirmed(member: Member, sentMs: number): void {
    const { replica } = this.#processes.get(member)!
    replica.confirmed(sentMs)
    replica.established()
  }

  committed(member: Member, index: number): void {
    const process = this.#processes.get(member)
    if (process === undefined) return
    process.committed = index
    process.replica.committed(this.#mistake === 'index-ignored' ? 0 : index)
    const nowMs = this.group.clock(member)
    // What waits was appended in this leader's term, so what is committed there is it.
    while (process.waiting.length > 0 && process.waiting[0]! <= index) {
      const next = process.waiting.shift()!
      if (this.#mistake === 'holders-forgotten') this.#answer(next)
      else process.replica.hold(next, next, nowMs)
    }
    this.#perform(member, process)
  }

  heard(member: Member, from: string, heard: unknown): void {
    const process = this.#processes.get(member)!
    const nowMs = this.group.clock(member)
    if (this.#mistake === 'unconfirmed') process.replica.confirmed(nowMs)
    process.replica.received(from, heard as MatchMessage, nowMs)
    this.#perform(member, process)
  }

  slept(member: Member): void {
    if (this.#mistake !== 'sleep-unnoticed') this.#processes.get(member)!.replica.doubt(this.group.clock(member))
  }

  /** What it does first is what it was about to do. */
  resumed(member: Member): void {
    this.#publish(member)
  }

  woke(member: Member): void {
    const process = this.#processes.get(member)!
    const nowMs = this.group.clock(member)
    process.replica.follows(this.group.leaderOf(member))
    process.replica.tick(nowMs)
    const lag = this.#slow.has(member) && !this.#calm ? this.group.random.below(20) : 0
    if (process.table < process.committed && lag === 0) {
      process.table += this.#slow.has(member) ? 1 : process.committed - process.table
      process.replica.applied(process.table, nowMs)
    }
    this.#perform(member, process)
  }

  /** How many could match at this moment. */
  able(): number {
    return [...this.#processes].filter(([member, { replica }]) => replica.holds(this.group.clock(member))).length
  }

  #subscribe(member: Member): void {
    const process = this.#processes.get(member)
    if (!process?.leads || member.paused || !member.host?.alive) return
    const place = this.group.propose(member, 'route')
    if (place === null) return
    process.waiting.push(place.index)
    this.#appendedMs.set(place.index, this.group.world.elapsedMs)
  }

  #perform(member: Member, { replica }: Process): void {
    const { messages, released } = replica.ready()
    for (const { to, message } of messages) this.group.send(member, to, message)
    for (const index of released) this.#answer(index)
  }

  #answer(index: number): void {
    this.answered = Math.max(this.answered, index)
    this.subacks++
    this.waits.push(this.group.world.elapsedMs - this.#appendedMs.get(index)!)
  }

  #publish(member: Member): void {
    const process = this.#processes.get(member)
    if (process === undefined || member.paused || !member.host?.alive) return
    if (!process.replica.holds(this.group.clock(member))) {
      this.refused++
      return
    }
    this.matched++
    if (process.table < this.answered) {
      throw new Error(`${member.name} matches by index ${process.table}, and the SUBACK of ${this.answered} is out`)
    }
  }
}
