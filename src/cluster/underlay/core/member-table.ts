import type { HostId } from '../../../base/ids.ts'
import { type Context, choose } from './context.ts'
import { retransmitLimit, suspicionRange } from './formulas.ts'
import { type Address, type HostRecord, type HostState, type HostView, overrides, sameMetadata } from './host.ts'
import type { Accusation } from './message.ts'
import { Suspicion } from './suspicion.ts'

/** Another host, as we know it. */
export interface Member {
  readonly id: HostId
  record: HostRecord
  state: HostState
  /** Of the state; never below the record's. */
  incarnation: number
  /** When the state began. */
  sinceMs: number
  /** Only while suspect. */
  suspicion: Suspicion | null
  /** When a dead host is asked again. */
  reprobeAtMs: number
  /** When it was last told what is said of it, or visited: not more than once a second. */
  nudgedAtMs: number
}

/**
 * All hosts but ourselves, and what news do to them. A host's own word (its record) and what is said of its state are
 * two registers, each of which only grows: by incarnation, and by {@link overrides}. So all tables become equal whatever
 * the order of news, and every change is passed on once more.
 *
 * Source: SWIM 4.2; memberlist, state.go. Unlike there, a suspicion that overtakes the record it speaks of does not
 * hide that record.
 */
export class MemberTable {
  readonly suspects = new Set<Member>()
  /** Dead and left. */
  readonly away = new Set<Member>()
  /** Dead hosts that came back, not visited yet: they may know a part of the cluster that we lost. */
  readonly returned = new Set<Member>()
  readonly #members = new Map<HostId, Member>()
  readonly #context: Context
  /** Changes whenever somebody is added or forgotten, so that the prober notices. */
  version = 0

  constructor(context: Context) {
    this.#context = context
    this.#resized()
  }

  get(id: HostId): Member | undefined {
    return this.#members.get(id)
  }

  all(): IterableIterator<Member> {
    return this.#members.values()
  }

  /** Who is alive or suspect, with ourselves. */
  get hosts(): number {
    return this.#members.size - this.away.size + 1
  }

  /** Random hosts that are alive or suspect. */
  pick(count: number, accept: (member: Member) => boolean = isHere): Member[] {
    const candidates: Member[] = []
    for (const member of this.#members.values()) if (accept(member)) candidates.push(member)
    return choose(candidates, count, this.#context.random)
  }

  isAddressOfLive(address: Address): boolean {
    for (const member of this.#members.values()) {
      if (member.record.address === address && isHere(member)) return true
    }
    return false
  }

  /** The host itself says that it is alive, under a record. True where that is news. */
  alive(record: HostRecord, now: number): boolean {
    const member = this.#members.get(record.id)
    if (member === undefined) return this.#insert(record, now) !== null
    if (record.incarnation <= member.record.incarnation) return false
    const previous = viewOf(member)
    member.record = record
    const newState = record.incarnation > member.incarnation
    if (newState) {
      if (previous.state === 'dead') this.returned.add(member)
      this.#enter(member, 'alive', record.incarnation, now)
      this.#context.gossip.put({ type: 'alive', record })
    }
    const host = viewOf(member)
    const { events } = this.#context.outbox
    if (record.life !== previous.life) events.push({ type: 'restarted', host, previous })
    if (newState && previous.state !== 'alive') events.push({ type: 'alive', host, previous })
    if (record.address !== previous.address || !sameMetadata(record.metadata, previous.metadata)) {
      events.push({ type: 'changed', host, previous })
    }
    return true
  }

  /** Somebody suspects it. True where that is news: of a first accuser, or of one that confirms. */
  suspect(id: HostId, incarnation: number, by: HostId, now: number): boolean {
    const member = this.#members.get(id)
    if (member === undefined) return false
    const rumour = { type: 'suspect', id, incarnation, by } as const
    if (member.state === 'suspect' && member.incarnation === incarnation) {
      if (!member.suspicion!.confirm(by)) return false
      this.#context.gossip.put(rumour)
      return true
    }
    if (!overrides({ incarnation, state: 'suspect' }, member)) return false
    const wasSuspect = member.state === 'suspect'
    this.#enter(member, 'suspect', incarnation, now)
    member.suspicion = new Suspicion(suspicionRange(this.hosts, this.#context.options), by, now)
    this.#context.gossip.put(rumour)
    if (wasSuspect) return true
    this.#context.counters.suspected++
    this.#context.outbox.events.push({ type: 'suspect', host: viewOf(member), by })
    return true
  }

  /** Somebody holds it for dead, or the host itself says that it pauses (`by` itself). */
  dead(id: HostId, incarnation: number, by: HostId, now: number): boolean {
    const member = this.#members.get(id)
    if (member === undefined || !overrides({ incarnation, state: 'dead' }, member)) return false
    const wasDead = member.state === 'dead'
    this.#enter(member, 'dead', incarnation, now)
    this.#context.gossip.put({ type: 'dead', id, incarnation, by })
    if (wasDead) return true
    this.#context.counters.died++
    this.#context.outbox.events.push({ type: 'dead', host: viewOf(member), by })
    return true
  }

  left(id: HostId, incarnation: number, now: number): boolean {
    const member = this.#members.get(id)
    if (member === undefined || !overrides({ incarnation, state: 'left' }, member)) return false
    const hadLeft = member.state === 'left'
    this.#enter(member, 'left', incarnation, now)
    this.#context.gossip.put({ type: 'left', id, incarnation })
    if (hadLeft) return true
    this.#context.counters.left++
    this.#context.outbox.events.push({ type: 'left', host: viewOf(member) })
    return true
  }

  /** A host that another one remembers as dead or left, and that we never saw. */
  remember(record: HostRecord, state: 'dead' | 'left', incarnation: number, sinceMs: number, now: number): void {
    if (now - sinceMs >= this.#context.options.deadKeepMs) return
    const member = this.#add(record, now)
    if (member === null) return
    this.#enter(member, state, incarnation, now)
    member.sinceMs = sinceMs
  }

  /** Forgets who has been away for long. */
  forget(now: number): void {
    for (const member of this.away) {
      if (now - member.sinceMs < this.#context.options.deadKeepMs) continue
      this.#remove(member)
    }
  }

  /** What is said of it, to tell it to the host itself. */
  accusation(member: Member, by: HostId): Accusation | null {
    if (member.state !== 'suspect' && member.state !== 'dead') return null
    return { type: member.state, id: member.id, incarnation: member.incarnation, by }
  }

  #insert(record: HostRecord, now: number): Member | null {
    const member = this.#add(record, now)
    if (member === null) return null
    this.#context.gossip.put({ type: 'alive', record })
    this.#context.outbox.events.push({ type: 'joined', host: viewOf(member) })
    return member
  }

  #add(record: HostRecord, now: number): Member | null {
    if (this.#members.size + 1 >= this.#context.options.hostsMax && !this.#evict()) {
      this.#context.counters.hostsRefused++
      return null
    }
    const member: Member = {
      id: record.id,
      record,
      state: 'alive',
      incarnation: record.incarnation,
      sinceMs: now,
      suspicion: null,
      reprobeAtMs: Number.POSITIVE_INFINITY,
      nudgedAtMs: Number.NEGATIVE_INFINITY,
    }
    this.#members.set(record.id, member)
    this.version++
    this.#resized()
    return member
  }

  /** At the limit, who has been away for longest makes room. */
  #evict(): boolean {
    let oldest: Member | null = null
    for (const member of this.away) if (oldest === null || member.sinceMs < oldest.sinceMs) oldest = member
    if (oldest !== null) this.#remove(oldest)
    return oldest !== null
  }

  #remove(member: Member): void {
    this.#members.delete(member.id)
    this.away.delete(member)
    this.returned.delete(member)
    this.#context.gossip.drop(member.id)
    this.version++
    this.#context.outbox.events.push({ type: 'forgotten', host: viewOf(member) })
  }

  #enter(member: Member, state: HostState, incarnation: number, now: number): void {
    if (member.state !== state) member.sinceMs = now
    member.state = state
    member.incarnation = incarnation
    member.suspicion = null
    this.suspects.delete(member)
    this.away.delete(member)
    if (state === 'suspect') this.suspects.add(member)
    if (state === 'dead' || state === 'left') {
      this.away.add(member)
      this.returned.delete(member)
    }
    const { deadProbeIntervalMs } = this.#context.options
    // Not all of the cluster at once, and not those of a rack that came back together.
    if (state === 'dead') member.reprobeAtMs = now + deadProbeIntervalMs * (0.5 + this.#context.random.float() / 2)
    this.#resized()
  }

  #resized(): void {
    this.#context.outbox.retransmits = retransmitLimit(this.hosts, this.#context.options.retransmitMultiplier)
  }
}

export function isHere(member: Member): boolean {
  return member.state === 'alive' || member.state === 'suspect'
}

export function viewOf(member: Member): HostView {
  const { id, incarnation, life, address, metadata } = member.record
  return { id, incarnation, life, address, metadata, state: member.state, stateIncarnation: member.incarnation }
}
