import type { HardState, ReplicaId, Role } from './contract.ts'
import { ElectionTimer } from './election-timer.ts'
import { RaftLog } from './log.ts'
import { Membership } from './membership.ts'
import { checkedLimits, type RaftLimits, type RaftOptions } from './options.ts'
import { Outbox } from './outbox.ts'
import { Writes } from './writes.ts'

/** What a replica holds in every role. Roles come and go on top of it; see {@link RaftNode}. */
export class Replica {
  readonly id: ReplicaId
  readonly limits: RaftLimits
  readonly log: RaftLog
  readonly timer: ElectionTimer
  readonly writes = new Writes()
  readonly out = new Outbox()
  term: number
  vote: ReplicaId | null
  role: Role = 'follower'
  leader: ReplicaId | null = null
  membership: Membership
  /** Asleep: the host need not tick it. */
  quiescent = false
  leaseHeld = false
  /** Emptied for this snapshot, or a later one: see {@link RaftOptions.emptiedFor}. */
  readonly floor: { index: number; term: number }

  constructor(options: RaftOptions) {
    this.floor = options.emptiedFor ?? { index: 0, term: 0 }
    this.limits = checkedLimits(options)
    this.id = options.id
    this.term = options.hardState.term
    this.vote = options.hardState.vote
    this.log = new RaftLog(options.storage, options.hardState.commit, options.applied)
    this.timer = new ElectionTimer(this.limits, options.random)
    this.membership = new Membership(options.config)
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.commit }
  }

  /** So recently that nobody else should be elected. A leader steps down by itself when it hears no majority. */
  get hearsLeader(): boolean {
    return this.role === 'leader' || (this.leader !== null && this.timer.leaderHeard)
  }

  /** Its oldest write takes so long that others would have given up on a leader. */
  get diskStalled(): boolean {
    return this.writes.oldestTicks >= this.limits.electionTicks
  }

  /**
   * A learner must not campaign; nor a replica that has not seen all it knows to be committed, since that may change who
   * votes; nor one whose vote for itself would not reach its disk.
   */
  get mayCampaign(): boolean {
    const { log } = this
    const current = log.applied === log.commit && !log.installing
    return this.role !== 'leader' && this.membership.isVoter(this.id) && current && !this.diskStalled
  }
}
