import type { HostId } from '../../../base/ids.ts'
import { type Context, choose } from './context.ts'
import type { Address } from './host.ts'
import { isHere, type Member, type MemberTable } from './member-table.ts'
import type { PingRequest } from './message.ts'
import type { OwnRecord } from './own-record.ts'

/** The probe under way. */
interface Probe {
  target: Member
  seq: number
  /** What it may be accused of: a later incarnation refuted this probe. */
  incarnation: number
  startMs: number
  /** Then others are asked. */
  directUntilMs: number
  deadlineMs: number
  indirect: boolean
  nacksExpected: number
  nacks: number
  /** The ping over TCP; 0 = none yet. */
  exchange: number
}

/** A ping on behalf of somebody else. */
interface Relay {
  target: HostId
  to: Address
  seq: number
  nackAtMs: number
  nacked: boolean
  endMs: number
}

const RELAYS_MAX = 256
/** A helper gives up at this share of the probe timeout, so that its nack arrives before the probe ends. Lifeguard, IV-A. */
const NACK_SHARE = 0.8
/** About so many hosts ask for themselves when they hear of a suspicion that lacks confirmations. */
const CONFIRMERS = 8

/**
 * Asks one host after the other whether it is alive: each once in a round, rounds in random order, so that a dead host
 * is found within a bounded time (SWIM 4.3). A host in doubt comes first.
 */
export class Prober {
  readonly #context: Context
  readonly #table: MemberTable
  readonly #own: OwnRecord
  readonly #doubted = new Set<HostId>()
  readonly #relays = new Map<number, Relay>()
  #round: Member[] = []
  #position = 0
  #version = -1
  #probe: Probe | null = null
  #nextMs: number
  #seq: number

  constructor(context: Context, table: MemberTable, own: OwnRecord, now: number) {
    this.#context = context
    this.#table = table
    this.#own = own
    this.#seq = context.random.below(2 ** 32)
    this.#nextMs = now + context.random.float() * context.options.probeIntervalMs
  }

  deadlineMs(): number {
    let deadline = this.#nextMs
    if (this.#probe !== null) deadline = this.#probe.indirect ? this.#probe.deadlineMs : this.#probe.directUntilMs
    for (const relay of this.#relays.values())
      deadline = Math.min(deadline, relay.nacked ? relay.endMs : relay.nackAtMs)
    return deadline
  }

  tick(now: number): void {
    this.#tickRelays(now)
    if (this.#probe !== null) this.#advance(this.#probe, now)
    if (this.#probe === null && now >= this.#nextMs) this.#begin(now)
  }

  /** This host comes next. */
  doubt(id: HostId): void {
    const member = this.#table.get(id)
    if (member !== undefined && isHere(member) && this.#probe?.target !== member) this.#doubted.add(id)
  }

  /** Somebody suspects this host and needs confirmation: some ask for themselves. */
  askOurselves(id: HostId): void {
    if (this.#context.random.float() * this.#table.hosts < CONFIRMERS) this.doubt(id)
  }

  onAck(seq: number, id: HostId, now: number): void {
    const relay = this.#relays.get(seq)
    if (relay !== undefined && relay.target === id) {
      this.#relays.delete(seq)
      this.#context.outbox.send(relay.to, { type: 'ack', seq: relay.seq, id })
    }
    if (this.#probe !== null && this.#probe.seq === seq && this.#probe.target.id === id) this.#succeed(this.#probe, now)
  }

  onNack(seq: number): void {
    if (this.#probe !== null && this.#probe.seq === seq && this.#probe.indirect) this.#probe.nacks++
  }

  /** True where this exchange was the probe's. */
  onExchanged(exchange: number, ack: { seq: number; id: HostId } | null, now: number): boolean {
    const probe = this.#probe
    if (probe === null || probe.exchange !== exchange) return false
    if (ack !== null && ack.seq === probe.seq && ack.id === probe.target.id) {
      this.#context.counters.probesByTcp++
      this.#succeed(probe, now)
    }
    return true
  }

  /** Pings for somebody else. */
  relay(request: PingRequest, from: Address, now: number): void {
    if (this.#relays.size >= RELAYS_MAX) {
      this.#context.counters.relaysRefused++
      return
    }
    const seq = this.#nextSeq()
    const { probeTimeoutMs, probeIntervalMs } = this.#context.options
    this.#relays.set(seq, {
      target: request.target,
      to: from,
      seq: request.seq,
      nackAtMs: now + probeTimeoutMs * NACK_SHARE,
      nacked: false,
      // A late ack still helps who stretches its timeouts.
      endMs: now + probeIntervalMs * 2,
    })
    this.#context.outbox.send(request.address, { type: 'ping', seq, target: request.target })
  }

  /** We stood still: what is under way gets the time that we did not have. */
  shift(ms: number): void {
    this.#nextMs += ms
    if (this.#probe === null) return
    this.#probe.startMs += ms
    this.#probe.directUntilMs += ms
    this.#probe.deadlineMs += ms
  }

  #advance(probe: Probe, now: number): void {
    // Settled by others meanwhile.
    if (!isHere(probe.target) || probe.target.incarnation > probe.incarnation) this.#probe = null
    else if (!probe.indirect && now >= probe.directUntilMs) this.#askOthers(probe, now)
    else if (probe.indirect && now >= probe.deadlineMs) this.#fail(probe, now)
  }

  #begin(now: number): void {
    const { options, health, random } = this.#context
    const stretch = health.multiplier
    this.#nextMs = now + options.probeIntervalMs * stretch
    const target = this.#nextTarget()
    if (target === null) {
      this.#nextMs = now + options.probeIntervalMs * (0.5 + random.float() / 2)
      return
    }
    const seq = this.#nextSeq()
    this.#probe = {
      target,
      seq,
      incarnation: target.incarnation,
      startMs: now,
      directUntilMs: now + options.probeTimeoutMs * stretch,
      deadlineMs: this.#nextMs,
      indirect: false,
      nacksExpected: 0,
      nacks: 0,
      exchange: 0,
    }
    this.#context.counters.probes++
    const ping = { type: 'ping', seq, target: target.id } as const
    // A suspect hears it from us, whatever became of the gossip: Lifeguard, IV-C ("buddy system").
    const accusation = this.#table.accusation(target, this.#own.id)
    if (accusation === null) this.#context.outbox.send(target.record.address, ping)
    else this.#context.outbox.send(target.record.address, ping, accusation)
  }

  #askOthers(probe: Probe, now: number): void {
    const { options, outbox, counters } = this.#context
    probe.indirect = true
    const { id, record } = probe.target
    const helpers = this.#table.pick(options.indirectProbes, (member) => member.state === 'alive' && member.id !== id)
    probe.nacksExpected = helpers.length
    counters.indirectProbes += helpers.length
    const request = { type: 'ping-req', seq: probe.seq, target: id, address: record.address } as const
    for (const helper of helpers) outbox.send(helper.record.address, request)
    const ping = { type: 'ping', seq: probe.seq, target: id } as const
    probe.exchange = outbox.exchange(record.address, Math.max(1, Math.ceil(probe.deadlineMs - now)), [ping])
  }

  #succeed(probe: Probe, now: number): void {
    this.#probe = null
    this.#context.health.add(-1)
    if (!probe.indirect) this.#context.counters.probeSeconds.observe(Math.max(0, now - probe.startMs) / 1_000)
  }

  #fail(probe: Probe, now: number): void {
    this.#probe = null
    const { counters, health } = this.#context
    counters.probesFailed++
    // Helpers that did not even answer, or nobody to ask: it may be us. Lifeguard, IV-A.
    const missed = probe.nacksExpected - Math.min(probe.nacks, probe.nacksExpected)
    counters.nacksMissed += missed
    health.add(probe.nacksExpected === 0 ? 1 : missed)
    this.#table.suspect(probe.target.id, probe.incarnation, this.#own.id, now)
  }

  #nextTarget(): Member | null {
    for (const id of this.#doubted) {
      this.#doubted.delete(id)
      const member = this.#table.get(id)
      if (member !== undefined && isHere(member)) return member
    }
    if (this.#version !== this.#table.version) this.#admit()
    if (this.#position >= this.#round.length) this.#newRound()
    while (this.#position < this.#round.length) {
      const member = this.#round[this.#position++]!
      if (isHere(member)) return member
    }
    this.#newRound()
    return this.#round[this.#position++] ?? null
  }

  /** Newcomers get a random place in what is left of the round. */
  #admit(): void {
    this.#version = this.#table.version
    const left = this.#round.slice(this.#position).filter((member) => this.#table.get(member.id) === member)
    const known = new Set([...this.#round.slice(0, this.#position), ...left])
    for (const member of this.#table.all()) {
      if (known.has(member) || !isHere(member)) continue
      left.splice(this.#context.random.below(left.length + 1), 0, member)
    }
    this.#round = [...this.#round.slice(0, this.#position), ...left]
  }

  #newRound(): void {
    this.#round = [...this.#table.all()].filter(isHere)
    choose(this.#round, this.#round.length, this.#context.random)
    this.#position = 0
  }

  #tickRelays(now: number): void {
    for (const [seq, relay] of this.#relays) {
      if (!relay.nacked && now >= relay.nackAtMs) {
        relay.nacked = true
        this.#context.outbox.send(relay.to, { type: 'nack', seq: relay.seq })
      }
      if (now >= relay.endMs) this.#relays.delete(seq)
    }
  }

  /** From 1 on: 0 is for pings whose ack nobody waits for. */
  #nextSeq(): number {
    this.#seq = (this.#seq % (2 ** 32 - 1)) + 1
    return this.#seq
  }
}
