import { unreachable } from '../../base/assert.ts'
import type { AppendAnswer, ConfigChange, Entry, HeartbeatAnswer, Input, PeerStatus, ReplicaId } from './contract.ts'
import { entryBytes } from './log.ts'
import { Idleness } from './quiesce.ts'
import { ReadIndex } from './read-index.ts'
import type { Replica } from './replica.ts'
import { Replication } from './replication.ts'
import { Transfer } from './transfer.ts'

const NO_BYTES = new Uint8Array(0)
const LEAVE_JOINT: ConfigChange = { members: [], leave: 'auto' }

/**
 * A replica's time as leader of one term: everything that is lost with the leadership lives here and nowhere else.
 *
 * Source: Raft paper, 5.3 and 5.4.2 (which entries it may count); thesis, 6.2 (stepping down without a majority).
 */
export class Leader {
  readonly #replica: Replica
  readonly #replication: Replication
  readonly #reads = new ReadIndex()
  readonly #transfer: Transfer
  readonly #idleness: Idleness
  /** Of own entries that were not handed out as committed. */
  #uncommittedBytes = 0
  /** The next change of the configuration must wait until this is applied: the last change, or the term's first entry. */
  #configIndex: number
  #heartbeatTicks = 0
  /** A handover was tried because of the slow disk. */
  #handedOver = false

  constructor(replica: Replica) {
    const { limits } = replica
    this.#replica = replica
    this.#replication = new Replication(replica)
    this.#transfer = new Transfer(limits.electionTicks)
    this.#idleness = new Idleness(limits.quiesceTicks, replica.leaseHeld)
    this.#configIndex = this.#push('empty', NO_BYTES, null)
  }

  get transferTo(): ReplicaId | null {
    return this.#transfer.to
  }

  /** False when it must step down. */
  tick(): boolean {
    const { limits } = this.#replica
    this.#idleness.tick()
    this.#replication.tick()
    this.#transfer.tick()
    if (!this.#replication.hasActiveQuorum() || !this.#diskBearable()) return false
    if (++this.#heartbeatTicks >= limits.heartbeatTicks) this.#beat()
    return true
  }

  request(input: Extract<Input, { context: number }>): void {
    this.#idleness.disturb()
    switch (input.type) {
      case 'propose':
        return this.#propose(input.data, input.context)
      case 'change':
        return this.#change(input)
      case 'read':
        return this.#read(input.context)
      case 'transfer':
        return this.#handOver(input.to, input.context)
      default:
        return unreachable(input)
    }
  }

  lease(held: boolean): void {
    this.#idleness.leaseHeld = held
  }

  /** Somebody asked for a sign of life, or the group wakes up. */
  showLife(to: ReplicaId | null): void {
    if (to !== null) this.#replication.heartbeatTo(to, this.#reads.round)
    else this.#beat()
  }

  wake(): void {
    this.#idleness.disturb()
    this.#replication.wake()
  }

  unreachable(id: ReplicaId): void {
    this.#replication.unreachable(id)
  }

  snapshotReport(id: ReplicaId, arrived: boolean): void {
    this.#replication.snapshotReport(id, arrived)
  }

  takeAppendAnswer(answer: AppendAnswer): void {
    if (this.#replication.takeAppendAnswer(answer)) this.stored()
  }

  takeHeartbeatAnswer(answer: HeartbeatAnswer): void {
    this.#replication.takeHeartbeatAnswer(answer)
    this.#grantReads()
  }

  /** More is on somebody's disk, perhaps on a majority's. */
  stored(): void {
    const { log, membership } = this.#replica
    const index = membership.quorum.agreed((id) => this.#replication.match(id))
    if (index > log.commit && this.mayCommit(index)) {
      log.commitTo(index)
      this.#idleness.disturb()
    }
  }

  /** An entry of an older term is committed only by one of this term after it: the paper's figure 8. */
  mayCommit(index: number): boolean {
    return this.#replica.log.matches(index, this.#replica.term)
  }

  /** Only with an entry of its own term committed it knows all that the leaders before it have committed. */
  knowsCommit(): boolean {
    return this.#replica.log.matches(this.#replica.log.commit, this.#replica.term)
  }

  applied(entries: readonly Entry[]): void {
    for (const entry of entries) if (entry.term === this.#replica.term) this.#uncommittedBytes -= entryBytes(entry)
  }

  /** The configuration has changed. False where this replica is no voter of it, and must step down. */
  configured(): boolean {
    const { id, membership } = this.#replica
    // The last that whoever is removed hears: so it may know.
    this.#replication.flush()
    this.#replication.configure()
    if (this.#transfer.to !== null && !membership.staysVoter(this.#transfer.to)) this.#transfer.stop()
    if (membership.isVoter(id)) {
      this.stored()
      return true
    }
    this.#sayFarewell()
    return false
  }

  hasNews(): boolean {
    return this.#replication.hasNews()
  }

  /** Sends what all inputs since the last Ready have brought; `keepsNews`: but for news of the commit index alone. */
  flush(keepsNews: boolean): void {
    const { log, membership } = this.#replica
    if (membership.state.autoLeave && log.applied >= this.#configIndex) {
      this.#configIndex = this.#push('config', NO_BYTES, LEAVE_JOINT)
    }
    if (this.knowsCommit() && this.#reads.begin(log.commit)) {
      this.#beat()
      this.#grantReads()
    }
    this.#replication.flush(keepsNews)
    this.#completeTransfer()
  }

  /** The leadership is lost. */
  abandon(): void {
    const { out } = this.#replica
    this.#reads.abandon((context) => out.refuse(context, 'NOT_LEADER', 'Cannot read: this replica leads no more'))
  }

  peers(): PeerStatus[] {
    return this.#replication.status()
  }

  #propose(data: Uint8Array, context: number): void {
    const { out, term, log, limits } = this.#replica
    if (this.#refusesInTransfer(context)) return
    const waiting = Math.max(this.#uncommittedBytes, log.unpersistedBytes)
    if (waiting > 0 && waiting + data.length > limits.uncommittedBytesMax) {
      out.refuse(context, 'OVERLOADED', `Cannot propose: ${waiting} bytes wait for disks, try again later`)
      return
    }
    out.accept(context, this.#push('command', data, null), term)
  }

  #change(input: Extract<Input, { type: 'change' }>): void {
    const { out, term, log, membership } = this.#replica
    const { change, data, context } = input
    if (this.#refusesInTransfer(context)) return
    const objection = membership.objection(change)
    if (log.applied < this.#configIndex) {
      out.refuse(context, 'CONFLICT', `Cannot change the group: entry ${this.#configIndex} must be applied first`)
    } else if (objection !== null) {
      const code = membership.joint ? 'CONFLICT' : 'INVALID_ARGUMENT'
      out.refuse(context, code, `Cannot change the group: ${objection}`)
    } else {
      this.#configIndex = this.#push('config', data, change)
      out.accept(context, this.#configIndex, term)
    }
  }

  #read(context: number): void {
    const { out, limits } = this.#replica
    if (this.#reads.count < limits.readsMax) this.#reads.request(context)
    else out.refuse(context, 'OVERLOADED', `Cannot read: ${this.#reads.count} reads wait for a majority`)
  }

  #handOver(to: ReplicaId, context: number): void {
    const { id, membership, out } = this.#replica
    if (to !== id && membership.staysVoter(to)) this.#transfer.start(to)
    else out.refuse(context, 'INVALID_ARGUMENT', `Cannot hand over to replica ${to}: it is not another voter`)
  }

  #push(type: Entry['type'], data: Uint8Array, change: ConfigChange | null): number {
    const { log, term } = this.#replica
    const entry: Entry = { index: log.lastIndex + 1, term, type, data, change }
    log.push(entry)
    this.#uncommittedBytes += entryBytes(entry)
    return entry.index
  }

  #refusesInTransfer(context: number): boolean {
    const { to } = this.#transfer
    if (to === null) return false
    this.#replica.out.refuse(context, 'NOT_LEADER', `Cannot propose: the leadership is being handed to replica ${to}`)
    return true
  }

  #grantReads(): void {
    const { out } = this.#replica
    const round = this.#replication.agreedRound(this.#reads.round)
    this.#reads.confirm(round, (context, index) => out.grant(context, index))
  }

  #beat(): void {
    this.#heartbeatTicks = 0
    const sleeps = this.#maySleep()
    this.#replication.heartbeat(this.#reads.round, sleeps)
    this.#replica.quiescent = sleeps
  }

  #maySleep(): boolean {
    const busy = this.#reads.count > 0 || this.#transfer.to !== null || this.#replica.membership.joint
    return this.#idleness.isLong && !busy && this.#replication.isSettled()
  }

  /** A leader whose own disk hangs hands over, and where that does not succeed in time, steps down. */
  #diskBearable(): boolean {
    if (!this.#replica.diskStalled) {
      this.#handedOver = false
      return true
    }
    if (this.#transfer.to !== null) return true
    const successor = this.#handedOver ? null : this.#replication.successor()
    if (successor === null) return false
    this.#handedOver = true
    this.#transfer.start(successor)
    return true
  }

  #completeTransfer(): void {
    const { to } = this.#transfer
    if (to === null) return
    if (this.#transfer.isDue(this.#replication.match(to), this.#replica.log.lastIndex)) this.#letCampaign(to)
  }

  /** The others learn what is committed from it, and do not wait for a timeout to elect. */
  #sayFarewell(): void {
    const { log } = this.#replica
    this.#replication.flush()
    const successor = this.#replication.successor()
    if (successor !== null && this.#replication.match(successor) === log.lastIndex) this.#letCampaign(successor)
  }

  #letCampaign(to: ReplicaId): void {
    const { id: from, term, out } = this.#replica
    out.send({ type: 'timeout-now', from, to, term })
  }
}
