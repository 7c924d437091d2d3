import { unreachable } from '../../base/assert.ts'
import type {
  AppendMessage,
  AppliedConfig,
  Entry,
  HardState,
  HeartbeatMessage,
  Input,
  Leadership,
  Message,
  PeerStatus,
  Persisted,
  Ready,
  ReplicaId,
  SnapshotMessage,
  SnapshotMeta,
  Status,
  VoteAnswer,
  VoteRequest,
} from './contract.ts'
import { answerVote, Campaign, isHeeded, learnCommit, refuseVote, requestVotes } from './election.ts'
import { refuseOld, takeAppend, takeHeartbeat, takeSnapshot } from './follower.ts'
import { Leader } from './leader.ts'
import type { RaftOptions } from './options.ts'
import { Replica } from './replica.ts'

/**
 * One replica of one Raft group, as a pure state machine.
 *
 * It reads no clock, opens no socket and touches no disk. The same options and the same inputs always give the same
 * outputs, so a whole cluster can be replayed from a seed.
 *
 * Source: Ongaro, "Consensus: Bridging Theory and Practice", 3.4 (election), 3.5 (replication), 9.6 (pre-vote).
 */
export class RaftNode {
  readonly #replica: Replica
  /** While a candidate, of either kind. */
  #campaign: Campaign | null = null
  /** While the leader. */
  #leader: Leader | null = null
  #writtenState: HardState
  #shownLeadership: Leadership

  constructor(options: RaftOptions) {
    this.#replica = new Replica(options)
    this.#writtenState = { ...options.hardState }
    this.#shownLeadership = { role: 'follower', term: options.hardState.term, leader: null }
  }

  /** Asleep: it need not be ticked until there is another input. Ask after {@link ready}. */
  get quiescent(): boolean {
    return this.#replica.quiescent
  }

  /** Applies one input. Effects wait in {@link ready}, so that many inputs share one fsync. */
  step(input: Input): void {
    if (this.#replica.quiescent) this.#wake(input)
    switch (input.type) {
      case 'tick':
        return this.#tick()
      case 'message':
        return this.#receive(input.message)
      case 'persisted':
        return this.#persisted(input)
      case 'campaign':
        return this.#startCampaign(true, false)
      case 'suspect':
        return this.#suspect(input.id)
      case 'committed':
        learnCommit(this.#replica, { commit: input.index, commitTerm: input.term })
        return
      case 'lease':
        this.#replica.leaseHeld = input.held
        return this.#leader?.lease(input.held)
      case 'unreachable':
        return this.#leader?.unreachable(input.id)
      case 'snapshot-report':
        return this.#leader?.snapshotReport(input.id, input.arrived)
      case 'propose':
      case 'change':
      case 'read':
      case 'transfer':
        return this.#request(input)
      default:
        return unreachable(input)
    }
  }

  /** Somebody lacks no entry, but the news that some are committed. */
  get hasNews(): boolean {
    return this.#leader?.hasNews() ?? false
  }

  /**
   * Takes the pending effects, in the order in which the host must perform them. `keepsNews`: who lacks nothing but the
   * commit index is told by the next entries, by the next heartbeat, or once this is called without it.
   */
  ready(keepsNews = false): Ready {
    const { log, limits, out } = this.#replica
    const committed = log.takeToApply(limits.committedBytesMax)
    this.#leader?.applied(committed)
    const configs = this.#applyConfigs(committed)
    this.#leader?.flush(keepsNews)
    const snapshot = log.takeSnapshot()
    const entries = log.takeToWrite()
    const hardState = this.#takeHardState(entries.length > 0 || snapshot !== null)
    const persisted = hardState === null ? null : this.#startWrite()
    const leadership = this.#takeLeadership()
    const { messages, afterPersist, accepted, refused, reads } = out.take()
    // Where committed entries are not at hand the host calls again when they are.
    const more = committed.length > 0 && log.hasToApply()
    return {
      snapshot,
      entries,
      hardState,
      persisted,
      messages,
      afterPersist,
      committed,
      configs,
      accepted,
      refused,
      reads,
      leadership,
      more,
    }
  }

  status(): Status {
    const { id, role, term, leader, log, membership, quiescent } = this.#replica
    return {
      id,
      role,
      term,
      leader,
      commit: log.commit,
      applied: log.applied,
      lastIndex: log.lastIndex,
      persisted: log.persisted,
      config: membership.state,
      quiescent,
      transferTo: this.#leader?.transferTo ?? null,
    }
  }

  /** As last handed out. A host that takes this replica down and empties it for a snapshot keeps term and vote. */
  get hardState(): HardState {
    return { ...this.#writtenState }
  }

  /**
   * Whether a snapshot that is offered, by a leader of `term`, would bring anything. A host that takes one piece by
   * piece asks before it empties the replica: only what this log does not have may cost what it has.
   */
  wants(snapshot: SnapshotMeta, term: number): boolean {
    const { log, term: own, floor } = this.#replica
    if (term < own || snapshot.index < floor.index || snapshot.index <= log.commit) return false
    return !log.matches(snapshot.index, snapshot.term)
  }

  /** What the leader knows of the others; empty elsewhere. */
  peers(): PeerStatus[] {
    return this.#leader?.peers() ?? []
  }

  #tick(): void {
    const replica = this.#replica
    if (replica.quiescent) return
    replica.writes.tick()
    if (this.#leader !== null) {
      if (!this.#leader.tick()) this.#becomeFollower(replica.term, null)
    } else if (replica.timer.tick()) {
      replica.timer.campaign()
      this.#startCampaign(true, false)
    }
  }

  #persisted(report: Persisted): void {
    const { log, writes, term, id } = this.#replica
    writes.finished(report.write)
    log.confirm(report)
    if (this.#campaign?.pre === false && report.hardTerm === term) {
      this.#campaign.record(id, true)
      this.#concludeCampaign()
    }
    this.#leader?.stored()
  }

  #request(input: Extract<Input, { context: number }>): void {
    const { id, leader, out } = this.#replica
    if (this.#leader === null) {
      const hint = leader === null ? 'no leader is known' : `replica ${leader} leads`
      out.refuse(input.context, 'NOT_LEADER', `Cannot ${input.type} at replica ${id}: ${hint}`)
    } else this.#leader.request(input)
  }

  /** The leader, if it lives, is heard before the shortened timeout is over. */
  #suspect(id: ReplicaId): void {
    const { leader, role, timer } = this.#replica
    if (leader !== id || role === 'leader') return
    timer.suspect()
    this.#askLeader()
  }

  /**
   * Any input ends the sleep, but for ticks and reports of writes, which bring nothing new, and the death of another than
   * the leader: who has everything may be away.
   */
  #wake(input: Input): void {
    const replica = this.#replica
    if (input.type === 'tick' || input.type === 'persisted') return
    if (input.type === 'suspect' && (this.#leader !== null || input.id !== replica.leader)) return
    replica.quiescent = false
    this.#leader?.wake()
    if (this.#leader !== null) this.#leader.showLife(null)
    else if (input.type !== 'message' || input.message.from !== replica.leader) this.#askLeader()
  }

  #askLeader(): void {
    const { id: from, leader: to, term, out } = this.#replica
    if (to !== null) out.send({ type: 'wake', from, to, term })
  }

  #receive(message: Message): void {
    const replica = this.#replica
    if (message.to !== replica.id || message.from === replica.id) return
    if (message.type === 'vote-request' || message.type === 'vote-answer') this.#learnCommit(message)
    if (message.type === 'vote-request') return this.#takeVoteRequest(message)
    const promised = message.type === 'vote-answer' && message.pre && message.granted
    if (message.term > replica.term && !promised) {
      this.#becomeFollower(message.term, isFromLeader(message) ? message.from : null)
    } else if (message.term < replica.term) {
      if (isFromLeader(message)) refuseOld(replica, message.from)
      return
    }
    switch (message.type) {
      case 'append':
      case 'heartbeat':
      case 'snapshot':
        return this.#takeFromLeader(message)
      case 'timeout-now':
        return this.#startCampaign(false, true)
      case 'vote-answer':
        return this.#takeVoteAnswer(message)
      case 'append-answer':
        return this.#leader?.takeAppendAnswer(message)
      case 'heartbeat-answer':
        return this.#leader?.takeHeartbeatAnswer(message)
      case 'wake':
        return this.#leader?.showLife(message.from)
      default:
        // From the wire: a kind of message that this version does not know is no fault of ours.
        return
    }
  }

  #takeFromLeader(message: AppendMessage | HeartbeatMessage | SnapshotMessage): void {
    const replica = this.#replica
    if (replica.role === 'leader') return
    if (replica.role !== 'follower') this.#becomeFollower(replica.term, message.from)
    replica.leader = message.from
    replica.timer.heard()
    if (message.type === 'append') takeAppend(replica, message)
    else if (message.type === 'heartbeat') takeHeartbeat(replica, message)
    else takeSnapshot(replica, message)
  }

  /** A campaign among those who voted before the news might miss who votes after it: the next one comes soon. */
  #learnCommit(message: VoteRequest | VoteAnswer): void {
    const replica = this.#replica
    if (!learnCommit(replica, message) || this.#campaign === null) return
    this.#becomeFollower(replica.term, null)
    replica.timer.suspect()
  }

  #takeVoteRequest(request: VoteRequest): void {
    const replica = this.#replica
    if (!isHeeded(replica, request)) return refuseVote(replica, request)
    if (request.term > replica.term && !request.pre) this.#becomeFollower(request.term, null)
    answerVote(replica, request)
  }

  #takeVoteAnswer(answer: VoteAnswer): void {
    const campaign = this.#campaign
    if (campaign === null || campaign.pre !== answer.pre) return
    if (answer.granted && answer.term !== campaign.term) return
    campaign.record(answer.from, answer.granted)
    this.#concludeCampaign()
  }

  #startCampaign(pre: boolean, transfer: boolean): void {
    const replica = this.#replica
    if (!replica.mayCampaign) return
    if (!pre) {
      replica.term++
      replica.vote = replica.id
    }
    replica.role = pre ? 'pre-candidate' : 'candidate'
    replica.leader = null
    replica.timer.campaign()
    this.#campaign = new Campaign(pre, pre ? replica.term + 1 : replica.term, transfer)
    requestVotes(replica, this.#campaign)
    if (!pre) return
    this.#campaign.record(replica.id, true)
    this.#concludeCampaign()
  }

  #concludeCampaign(): void {
    const campaign = this.#campaign!
    const outcome = campaign.outcome(this.#replica.membership.quorum)
    if (outcome === 'lost') this.#becomeFollower(this.#replica.term, null)
    else if (outcome === 'won' && campaign.pre) this.#startCampaign(false, false)
    else if (outcome === 'won') this.#becomeLeader()
  }

  #becomeFollower(term: number, leader: ReplicaId | null): void {
    const replica = this.#replica
    this.#leader?.abandon()
    this.#leader = null
    this.#campaign = null
    replica.role = 'follower'
    replica.leader = leader
    if (term > replica.term) {
      replica.term = term
      replica.vote = null
    }
    replica.timer.reset()
  }

  #becomeLeader(): void {
    const replica = this.#replica
    this.#campaign = null
    replica.role = 'leader'
    replica.leader = replica.id
    this.#leader = new Leader(replica)
  }

  #applyConfigs(committed: readonly Entry[]): AppliedConfig[] {
    const configs: AppliedConfig[] = []
    for (const { index, change } of committed) {
      if (change === null) continue
      this.#replica.membership = this.#replica.membership.after(change)
      configs.push({ index, config: this.#replica.membership.state })
      if (this.#leader?.configured() === false) this.#becomeFollower(this.#replica.term, null)
    }
    return configs
  }

  #takeHardState(written: boolean): HardState | null {
    const { hardState } = this.#replica
    const { term, vote } = this.#writtenState
    if (!written && hardState.term === term && hardState.vote === vote) return null
    this.#writtenState = hardState
    return hardState
  }

  #startWrite(): Persisted {
    const { log, writes, term } = this.#replica
    const report = log.startWrite(term)
    writes.started(report.write)
    return report
  }

  #takeLeadership(): Leadership | null {
    const { role, term, leader } = this.#replica
    const shown = this.#shownLeadership
    if (role === shown.role && term === shown.term && leader === shown.leader) return null
    this.#shownLeadership = { role, term, leader }
    return this.#shownLeadership
  }
}

function isFromLeader(message: Message): boolean {
  return message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot'
}
