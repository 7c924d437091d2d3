import type { Random } from '../../../base/clock.ts'
import type { HostId } from '../../../base/ids.ts'
import { type Context, choose } from './context.ts'
import type { UnderlayCounters } from './counters.ts'
import { lagPenalty, pushPullIntervalMs } from './formulas.ts'
import { GossipQueue } from './gossip-queue.ts'
import { type Address, type ClusterId, type HostRecord, type HostView, overrides } from './host.ts'
import { LocalHealth } from './local-health.ts'
import { isHere, type Member, MemberTable, viewOf } from './member-table.ts'
import type { Accusation, Message, Packet, StateMessage } from './message.ts'
import type { SwimOptions } from './options.ts'
import { Outbox } from './outbox.ts'
import { OwnRecord } from './own-record.ts'
import { Prober } from './prober.ts'
import type { SwimInput } from './swim-input.ts'
import { encodeHeader, encodeMessage } from './wire.ts'

export interface SwimSetup {
  options: SwimOptions
  random: Random
  counters: UnderlayCounters
  clusterName: string
  clusterId: ClusterId
  self: HostRecord
}

const EXCHANGES_MAX = 16
const CONTACTS_MAX = 64
/** A host is nudged, an address visited, at most so often. */
const NUDGE_MS = 1_000
const HEAL_MS = 2_000
const VISITS_MAX = 256

/**
 * Membership by SWIM with the Lifeguard extensions, as a pure machine: who is there, who is suspected, who is gone.
 *
 * It reads no clock, opens no socket and draws no randomness of its own: the same inputs at the same times give the same
 * outputs. `step` applies one input; effects wait in the {@link Outbox} given by `outbox`; `deadlineMs()` tells when the
 * next tick is due.
 *
 * Gossip is a hint: nothing that must be true may rest on it.
 *
 * Source: Das, Gupta, Motivala, "SWIM", DSN 2002; Dadgar et al., "Lifeguard", arXiv:1707.00788; memberlist.
 */
export class Swim {
  readonly outbox: Outbox
  readonly own: OwnRecord
  readonly #context: Context
  readonly #table: MemberTable
  readonly #prober: Prober
  /** Full exchanges under way, by number; the value is where to. */
  readonly #visits = new Map<number, Address>()
  /** When an address was last visited; bounded, oldest first. */
  readonly #visitedAtMs = new Map<Address, number>()
  #seeds: readonly Address[] = []
  #peers: readonly Address[] = []
  #gossipAtMs: number
  #pushPullAtMs: number
  #contactAtMs: number
  #healAtMs = 0
  #forgetAtMs: number
  #departAtMs = Number.POSITIVE_INFINITY
  #leaving: 'no' | 'pausing' | 'leaving' = 'no'
  #silent = false
  #announcedMs = Number.POSITIVE_INFINITY
  #forgivenAtMs = Number.NEGATIVE_INFINITY

  constructor(setup: SwimSetup, now: number) {
    const { options, random, counters, clusterName, clusterId, self } = setup
    const gossip = new GossipQueue()
    const header = encodeHeader({ clusterName, clusterId, sender: self.id, life: self.life })
    this.outbox = new Outbox(header, options.packetBytesMax, gossip, counters)
    const health = new LocalHealth(options.healthMultiplierMax)
    this.#context = { options, random, outbox: this.outbox, gossip, health, counters }
    this.#table = new MemberTable(this.#context)
    this.own = new OwnRecord(self, this.#context)
    this.#prober = new Prober(this.#context, this.#table, this.own, now)
    this.#gossipAtMs = now + random.float() * options.gossipIntervalMs
    this.#pushPullAtMs = now + random.float() * options.pushPullIntervalMs
    this.#contactAtMs = now
    this.#forgetAtMs = now + 60_000
    this.#announcedMs = this.deadlineMs()
  }

  /** The others, as we see them. */
  members(): HostView[] {
    return [...this.#table.all()].map(viewOf)
  }

  /** Undefined: never heard of. To be read only. */
  find(id: HostId): Readonly<Member> | undefined {
    return this.#table.get(id)
  }

  /** Nobody else is alive or suspect. */
  get alone(): boolean {
    return this.#table.hosts === 1
  }

  /** 0 is well; timeouts are stretched by this and 1. */
  get healthScore(): number {
    return this.#context.health.score
  }

  get gossipQueued(): number {
    return this.#context.gossip.size
  }

  /** Refused or departed: it says and hears nothing any more. */
  get silent(): boolean {
    return this.#silent
  }

  /** When the next tick is due; Infinity: never. */
  deadlineMs(): number {
    if (this.#silent) return Number.POSITIVE_INFINITY
    let deadline = Math.min(this.#pushPullAtMs, this.#contactAtMs, this.#forgetAtMs, this.#departAtMs)
    if (this.#leaving === 'no') deadline = Math.min(deadline, this.#prober.deadlineMs())
    if (!this.#context.gossip.empty) deadline = Math.min(deadline, this.#gossipAtMs)
    for (const member of this.#table.suspects) deadline = Math.min(deadline, member.suspicion!.deadlineMs)
    for (const member of this.#table.away) deadline = Math.min(deadline, member.reprobeAtMs)
    return deadline
  }

  step(input: SwimInput, now: number): void {
    if (this.#silent) return
    this.#forgive(now)
    switch (input.type) {
      case 'tick':
        break
      case 'packet':
        this.#receive(input.packet, input.from, now)
        break
      case 'request':
        this.#answer(input.request, input.packet, now)
        break
      case 'exchanged':
        this.#exchanged(input.exchange, input.packet, now)
        break
      case 'contacts':
        this.#seeds = input.seeds.slice(0, CONTACTS_MAX)
        this.#peers = input.peers.slice(0, CONTACTS_MAX)
        if (this.alone) this.#contactAtMs = now
        break
      case 'visit':
        this.#visit(input.address, now)
        break
      case 'lag':
        // Not twice for one stall.
        if (this.#forgivenAtMs < now - input.lagMs)
          this.#context.health.add(lagPenalty(input.lagMs, this.#context.options))
        break
      case 'update':
        this.own.change(input.address ?? this.own.record.address, input.metadata ?? this.own.record.metadata)
        break
      case 'doubt':
        this.#prober.doubt(input.host)
        break
      case 'send':
        this.#send(input.to, input.payload)
        break
      case 'leave':
        this.#leave(input.forever, now)
    }
    this.#tick(now)
    this.#announcedMs = this.deadlineMs()
  }

  /**
   * A step that comes late shows that our own process stood still. Answers may wait in its socket, so that time, and a
   * probe timeout more, is given back to everybody who owes us one.
   */
  #forgive(now: number): void {
    const { options, counters, health } = this.#context
    const lateMs = now - this.#announcedMs
    if (lateMs <= options.stallToleranceMs) return
    const graceMs = lateMs + Math.min(lateMs, options.probeTimeoutMs)
    this.#prober.shift(graceMs)
    for (const member of this.#table.suspects) member.suspicion!.shift(graceMs)
    this.#forgivenAtMs = now
    counters.stalls++
    counters.stallMs += lateMs
    health.add(lagPenalty(lateMs, options))
    this.outbox.events.push({ type: 'stalled', lateMs })
  }

  #tick(now: number): void {
    if (this.#silent) return
    const { options, random } = this.#context
    if (now >= this.#departAtMs) return this.#depart()
    for (const member of this.#table.suspects) {
      if (now >= member.suspicion!.deadlineMs) this.#table.dead(member.id, member.incarnation, this.own.id, now)
    }
    if (this.#leaving === 'no') this.#prober.tick(now)
    for (const member of this.#table.away) if (now >= member.reprobeAtMs) this.#reprobe(member, now)
    if (now >= this.#pushPullAtMs) {
      this.#pushPullAtMs = now + pushPullIntervalMs(this.#table.hosts, options) * (0.9 + random.float() / 5)
      const [member] = this.#table.pick(1, (candidate) => candidate.state === 'alive')
      if (member !== undefined) this.#open(member.record.address, now)
    }
    if (now >= this.#contactAtMs) this.#contact(now)
    if (now >= this.#forgetAtMs) {
      this.#forgetAtMs = now + 60_000
      this.#table.forget(now)
    }
    if (this.#table.returned.size > 0 && now >= this.#healAtMs) this.#heal(now)
    if (now >= this.#gossipAtMs) this.#gossip(now)
  }

  #gossip(now: number): void {
    const { options, gossip } = this.#context
    this.#gossipAtMs = now + options.gossipIntervalMs
    if (gossip.empty) return
    const hears = (member: Member) =>
      isHere(member) || (member.state === 'dead' && now - member.sinceMs < options.gossipToDeadMs)
    for (const member of this.#table.pick(options.gossipHosts, hears)) {
      if (!this.outbox.sendGossip(member.record.address)) return
    }
  }

  /** Asks a dead host whether it is back; it hears that it is held for dead, and refutes. */
  #reprobe(member: Member, now: number): void {
    member.reprobeAtMs =
      member.state === 'dead' ? now + this.#context.options.deadProbeIntervalMs : Number.POSITIVE_INFINITY
    // Another host has the address now: it would be asked in vain.
    if (member.state !== 'dead' || this.#table.isAddressOfLive(member.record.address)) return
    if (this.#leaving === 'no')
      this.#tell(member, member.record.address, this.#table.accusation(member, this.own.id), now)
  }

  /** Tells a host what is said of it. Its ack is not waited for: it answers with a higher incarnation. */
  #tell(member: Member, address: Address, accusation: Accusation | null, now: number): void {
    if (accusation === null || now - member.nudgedAtMs < NUDGE_MS) return
    member.nudgedAtMs = now
    this.outbox.send(address, { type: 'ping', seq: 0, target: member.id }, accusation)
  }

  /** Asks where others may be; whoever answers and is unknown is visited. */
  #contact(now: number): void {
    const { options } = this.#context
    this.#contactAtMs = now + (this.alone ? options.aloneProbeIntervalMs : options.deadProbeIntervalMs)
    if (this.#leaving !== 'no') return
    const addresses = new Set(this.alone ? [...this.#seeds, ...this.#peers] : this.#seeds)
    for (const address of addresses) {
      if (address === this.own.record.address || this.#table.isAddressOfLive(address)) continue
      this.outbox.send(address, { type: 'ping', seq: 0, target: '' })
    }
  }

  /** Who comes back may know a part of the cluster that we lost, and lost us as well. */
  #heal(now: number): void {
    this.#healAtMs = now + HEAL_MS
    const [member] = choose([...this.#table.returned], 1, this.#context.random)
    this.#table.returned.clear()
    this.#visit(member!.record.address, now)
  }

  #visit(address: Address, now: number): void {
    if (now - (this.#visitedAtMs.get(address) ?? Number.NEGATIVE_INFINITY) < NUDGE_MS) return
    this.#visitedAtMs.delete(address)
    this.#visitedAtMs.set(address, now)
    if (this.#visitedAtMs.size > VISITS_MAX) this.#visitedAtMs.delete(this.#visitedAtMs.keys().next().value!)
    this.#open(address, now)
  }

  #open(address: Address, now: number): void {
    if (this.#leaving !== 'no' || address === this.own.record.address) return
    for (const to of this.#visits.values()) if (to === address) return
    if (this.#visits.size >= EXCHANGES_MAX) {
      this.#context.counters.exchangesRefused++
      return
    }
    const exchange = this.outbox.exchange(address, this.#context.options.exchangeTimeoutMs, this.#view(now))
    this.#visits.set(exchange, address)
  }

  /** All that we know, for an exchange: ourselves first. */
  #view(now: number): Message[] {
    const { record } = this.own
    const messages: Message[] = [
      { type: 'push-pull' },
      { type: 'state', state: 'alive', incarnation: record.incarnation, ageSeconds: 0, record },
    ]
    for (const member of this.#table.all()) {
      const ageSeconds = Math.min(2 ** 32 - 1, Math.floor(Math.max(0, now - member.sinceMs) / 1_000))
      const { state, incarnation } = member
      messages.push({ type: 'state', state, incarnation, ageSeconds, record: member.record })
    }
    return messages
  }

  #exchanged(exchange: number, packet: Packet | null, now: number): void {
    if (packet === null) this.#context.counters.exchangesFailed++
    const ack = packet?.messages.find((message) => message.type === 'ack') ?? null
    if (this.#prober.onExchanged(exchange, ack, now)) return
    if (!this.#visits.delete(exchange) || packet === null) return
    if (packet.sender === this.own.id) return this.#duplicate(packet, null, now)
    this.#apply(packet, null, now)
  }

  #answer(request: number, packet: Packet, now: number): void {
    if (packet.sender === this.own.id) return this.outbox.answer(request, [])
    const replies: Message[] = []
    // The view as it was before: what came in is known to the other side.
    if (packet.messages.some((message) => message.type === 'push-pull')) replies.push(...this.#view(now))
    replies.push(...this.#apply(packet, null, now))
    if (replies.length > 0) this.#context.counters.exchangesAnswered++
    this.outbox.answer(request, replies)
  }

  #receive(packet: Packet, from: Address, now: number): void {
    if (packet.sender === this.own.id) return this.#duplicate(packet, from, now)
    const replies = this.#apply(packet, from, now)
    if (replies.length > 0) this.outbox.send(from, ...replies)
    if (this.#leaving !== 'no') return
    const sender = this.#table.get(packet.sender)
    // It lives, whatever we believed, and from here is the way to it.
    if (sender === undefined) this.#visit(from, now)
    else if (packet.life !== sender.record.life) this.#tellLife(sender, from, now)
    else if (sender.state !== 'alive') this.#tell(sender, from, this.#table.accusation(sender, this.own.id), now)
  }

  /**
   * It was restarted, and its record is still on the way, or two hosts have its id: it hears what we know under that id,
   * and either answers with its newer record or looks for its double, whom everybody else may talk to by now.
   */
  #tellLife(member: Member, address: Address, now: number): void {
    if (now - member.nudgedAtMs < NUDGE_MS) return
    member.nudgedAtMs = now
    this.outbox.send(address, { type: 'alive', record: member.record })
  }

  /** Applies all messages, and gives the replies to the sender. `from` is null for TCP. */
  #apply(packet: Packet, from: Address | null, now: number): Message[] {
    const replies: Message[] = []
    for (const message of packet.messages) {
      const reply = this.#handle(message, packet.sender, from, now)
      if (reply !== null && !replies.some((other) => other.type === reply.type && reply.type === 'alive'))
        replies.push(reply)
    }
    return replies
  }

  #handle(message: Message, sender: HostId, from: Address | null, now: number): Message | null {
    switch (message.type) {
      case 'ping': {
        const mine = message.target === '' || message.target === this.own.id
        return mine ? { type: 'ack', seq: message.seq, id: this.own.id } : null
      }
      case 'ping-req':
        if (from !== null) this.#prober.relay(message, from, now)
        return null
      case 'ack':
        this.#prober.onAck(message.seq, message.id, now)
        return null
      case 'nack':
        this.#prober.onNack(message.seq)
        return null
      case 'alive':
        return this.#alive(message.record, sender, now)
      case 'suspect':
      case 'dead':
        return this.#accused(message, now)
      case 'left':
        if (message.id === this.own.id) return this.#selfAccused(message.incarnation, sender)
        this.#table.left(message.id, message.incarnation, now)
        return null
      case 'state':
        return this.#merge(message, sender, now)
      case 'payload':
        this.#context.counters.payloadsReceived++
        this.outbox.events.push({ type: 'payload', from: sender, payload: message.bytes })
        return null
      case 'push-pull':
      case 'hello':
        return null
    }
  }

  #alive(record: HostRecord, by: HostId, now: number): Message | null {
    if (record.id !== this.own.id) {
      this.#table.alive(record, now)
      return null
    }
    const own = this.own.record
    // Ours, perhaps an older one.
    if (record.life === own.life && record.incarnation <= own.incarnation) return null
    if (record.life !== own.life) this.own.challenge(record.address, now)
    return this.#selfAccused(record.incarnation, by)
  }

  #accused(message: Accusation, now: number): Message | null {
    const { id, incarnation, by } = message
    if (id === this.own.id) return this.#selfAccused(incarnation, by)
    if (message.type === 'dead') {
      this.#table.dead(id, incarnation, by, now)
      return null
    }
    const news = this.#table.suspect(id, incarnation, by, now)
    const member = this.#table.get(id)
    if (member === undefined) return null
    if (news && member.suspicion !== null && !member.suspicion.confirmed) this.#prober.askOurselves(id)
    // Who still waits for confirmations missed the end of it.
    if (member.state === 'dead' && overrides(member, { incarnation, state: 'suspect' })) {
      return { type: 'dead', id, incarnation: member.incarnation, by: this.own.id }
    }
    return null
  }

  /** Refutes, and gives the sender our record at once: it need not wait for the gossip. */
  #selfAccused(incarnation: number, by: HostId): Message | null {
    if (this.#leaving !== 'no') return null
    this.own.refute(incarnation, by)
    return { type: 'alive', record: this.own.record }
  }

  /** One entry of another host's view. */
  #merge(message: StateMessage, sender: HostId, now: number): Message | null {
    const { record, state, incarnation } = message
    const { id } = record
    if (id === this.own.id) {
      return state === 'alive' ? this.#alive(record, sender, now) : this.#selfAccused(incarnation, sender)
    }
    const member = this.#table.get(id)
    const gone = state === 'dead' || state === 'left'
    if (member === undefined && gone) {
      this.#table.remember(record, state, incarnation, now - message.ageSeconds * 1_000, now)
      return null
    }
    if (member !== undefined && state === 'dead' && !isHere(member)) {
      // Both hold it for dead: only the incarnations become equal, and what it said before.
      if (record.incarnation > member.record.incarnation) member.record = record
      this.#table.dead(id, incarnation, sender, now)
      return null
    }
    this.#table.alive(record, now)
    if (state === 'left') this.#table.left(id, incarnation, now)
    else if (state !== 'alive') this.#doubted(id, { type: state, id, incarnation, by: sender }, now)
    return null
  }

  /**
   * Another part of the cluster lost this host, which we see: it is not blamed on hearsay, but told and probed. So two
   * halves that meet again do not suspect each other's hosts, which only need to refute.
   */
  #doubted(id: HostId, accusation: Accusation, now: number): void {
    const member = this.#table.get(id)
    if (member === undefined || !isHere(member) || accusation.incarnation < member.incarnation) return
    if (member.state === accusation.type) return
    this.#tell(member, member.record.address, accusation, now)
    this.#prober.doubt(id)
  }

  /** A packet with our id that another life sent: see {@link OwnRecord}. */
  #duplicate(packet: Packet, from: Address | null, now: number): void {
    if (packet.life === this.own.record.life || from === null || from === this.own.record.address) return
    for (const message of packet.messages) {
      if (message.type === 'ping' && message.target === this.own.id) {
        this.outbox.send(from, { type: 'ack', seq: message.seq, id: this.own.id })
      }
      if (message.type === 'ack' && this.own.proves(message.seq, now)) {
        const refused = packet.life < this.own.record.life
        this.outbox.events.push({ type: 'duplicate-id', address: from, refused })
        if (refused) this.#silent = true
      }
    }
    if (!this.#silent) this.own.challenge(from, now)
  }

  #send(to: HostId, payload: Uint8Array): void {
    const member = this.#table.get(to)
    const { counters, options } = this.#context
    if (member === undefined || !isHere(member)) {
      counters.payloadsDropped++
      return
    }
    const message = encodeMessage({ type: 'payload', bytes: payload })
    counters.payloadsSent++
    if (this.outbox.fits(message)) this.outbox.send(member.record.address, message)
    else this.outbox.exchange(member.record.address, options.exchangeTimeoutMs, [message], false)
  }

  #leave(forever: boolean, now: number): void {
    if (this.#leaving !== 'no') return
    this.#leaving = forever ? 'leaving' : 'pausing'
    const { gossip, options } = this.#context
    const { id, incarnation } = this.own.record
    if (forever) gossip.put({ type: 'left', id, incarnation })
    else gossip.put({ type: 'dead', id, incarnation, by: id })
    this.#departAtMs = this.alone ? now : now + options.leaveMs
    this.#gossipAtMs = now
  }

  #depart(): void {
    this.#silent = true
    this.outbox.events.push({ type: 'departed' })
  }
}
