import type { AppendAnswer, HeartbeatAnswer, PeerStatus, ReplicaId } from './contract.ts'
import { Inflights, Progress } from './progress.ts'
import type { Replica } from './replica.ts'

/**
 * What the leader sends to the others, and what it knows of them. Appends go out when a Ready is taken, so that all
 * proposals of a turn share them.
 *
 * Source: Raft paper, 5.3; thesis, 10.2.1 (pipelining, the leader's own write beside it).
 */
export class Replication {
  readonly peers = new Map<ReplicaId, Progress>()
  readonly #replica: Replica
  #tick = 0

  constructor(replica: Replica) {
    this.#replica = replica
    this.configure()
  }

  /** Follows the configuration: newcomers are probed, whoever left is forgotten. */
  configure(): void {
    const { id, log, membership, limits } = this.#replica
    for (const peer of this.peers.keys()) if (!membership.members.includes(peer)) this.peers.delete(peer)
    for (const member of membership.members) {
      if (member === id || this.peers.has(member)) continue
      const inflights = new Inflights(limits.inflightCountMax, limits.inflightBytesMax)
      this.peers.set(member, new Progress(log.lastIndex + 1, this.#tick, inflights))
    }
  }

  /** Where a replica's log is known to be the leader's, on its disk. The leader's own counts like any other. */
  match(id: ReplicaId): number {
    return id === this.#replica.id ? this.#replica.log.persisted : (this.peers.get(id)?.match ?? 0)
  }

  /** True where more is known to be stored than before. */
  takeAppendAnswer(answer: AppendAnswer): boolean {
    const peer = this.peers.get(answer.from)
    if (peer === undefined) return false
    peer.heardTick = this.#tick
    const { log } = this.#replica
    if (answer.accepted) return answer.index <= log.lastIndex && peer.accepted(answer.index, log.firstIndex)
    if (answer.index > 0 && answer.index <= peer.match && answer.hintIndex === 0) {
      peer.emptied()
      return false
    }
    const hint = answer.hintTerm > 0 ? log.lastNotAbove(answer.hintIndex, answer.hintTerm).index : answer.hintIndex
    peer.refused(answer.index, hint)
    return false
  }

  /** A replica that answers heartbeats, yet lacks something, is sent an append, and so finds out what got lost. */
  takeHeartbeatAnswer(answer: HeartbeatAnswer): void {
    const peer = this.peers.get(answer.from)
    if (peer === undefined) return
    peer.heardTick = this.#tick
    peer.round = Math.max(peer.round, answer.round)
    peer.waiting = false
    peer.due = peer.state === 'probe' || peer.match < this.#replica.log.lastIndex
  }

  unreachable(id: ReplicaId): void {
    const peer = this.peers.get(id)
    if (peer?.state === 'replicate') peer.probe()
  }

  /** Either way the log goes on from what is known; not at once, since the disk may not be done. */
  snapshotReport(id: ReplicaId, arrived: boolean): void {
    const peer = this.peers.get(id)
    if (peer?.state !== 'snapshot') return
    if (!arrived) peer.snapshotIndex = 0
    peer.probe()
    peer.waiting = true
  }

  tick(): void {
    this.#tick++
  }

  /** Nobody could be heard while the group slept. */
  wake(): void {
    for (const peer of this.peers.values()) peer.heardTick = this.#tick
  }

  /** Whether a majority was heard within the shortest election timeout. */
  hasActiveQuorum(): boolean {
    const { id, membership } = this.#replica
    return membership.quorum.has((member) => {
      const peer = this.peers.get(member)
      return member === id || (peer !== undefined && this.#isActive(peer))
    })
  }

  /** The round that a majority has answered. */
  agreedRound(own: number): number {
    const { id, membership } = this.#replica
    return membership.quorum.agreed((member) => (member === id ? own : (this.peers.get(member)?.round ?? 0)))
  }

  /** Nobody needs anything. */
  isSettled(): boolean {
    const { log } = this.#replica
    for (const peer of this.peers.values()) {
      if (!this.#isActive(peer) || peer.state !== 'replicate' || peer.match < log.lastIndex) return false
    }
    return log.persisted === log.lastIndex && log.applied === log.lastIndex
  }

  /** The voter that lacks least; null where none was heard. */
  successor(): ReplicaId | null {
    const { membership } = this.#replica
    let best: ReplicaId | null = null
    for (const [id, peer] of this.peers) {
      if (!membership.staysVoter(id) || !this.#isActive(peer) || peer.state === 'snapshot') continue
      if (best === null || peer.match > this.match(best)) best = id
    }
    return best
  }

  heartbeat(round: number, quiesce = false): void {
    for (const id of this.peers.keys()) this.heartbeatTo(id, round, quiesce)
  }

  heartbeatTo(id: ReplicaId, round: number, quiesce = false): void {
    const peer = this.peers.get(id)
    if (peer === undefined) return
    const { log, term, id: from, out } = this.#replica
    out.send({ type: 'heartbeat', from, to: id, term, commit: Math.min(peer.match, log.commit), round, quiesce })
  }

  /** Sends what there is room for; `keepsNews`: an append without entries is not sent for the commit index alone. */
  flush(keepsNews = false): void {
    for (const [id, peer] of this.peers) this.#fill(id, peer, keepsNews)
  }

  /** Somebody who follows has not been told of the commit index, and can be. */
  hasNews(): boolean {
    for (const peer of this.peers.values()) {
      if (this.#lacksNews(peer) && this.#replica.log.term(peer.next - 1) !== null) return true
    }
    return false
  }

  status(): PeerStatus[] {
    return [...this.peers].map(([id, peer]) => {
      const { state, match, next, snapshotIndex, lost } = peer
      return { id, state, match, next, snapshotIndex, active: this.#isActive(peer), lost }
    })
  }

  #isActive(peer: Progress): boolean {
    return this.#tick - peer.heardTick < this.#replica.limits.electionTicks
  }

  #lacksNews({ state, sentCommit }: Progress): boolean {
    return state === 'replicate' && sentCommit < this.#replica.log.commit
  }

  #fill(id: ReplicaId, peer: Progress, keepsNews: boolean): void {
    const { log } = this.#replica
    if (peer.state === 'snapshot') return
    while (peer.hasRoom() && peer.next <= log.lastIndex) if (!this.#append(id, peer)) return
    if (!peer.hasRoom() && peer.state !== 'replicate') return
    const probes = peer.state === 'probe'
    const tells = !keepsNews && this.#lacksNews(peer)
    if (probes || tells || peer.due) this.#append(id, peer)
  }

  /** False where nothing could be sent. */
  #append(id: ReplicaId, peer: Progress): boolean {
    const { log, out, term, id: from, limits } = this.#replica
    const previousIndex = peer.next - 1
    const previousTerm = log.term(previousIndex)
    if (previousTerm === null || peer.next < log.firstIndex) {
      this.#snapshot(id, peer)
      return false
    }
    const entries = peer.hasRoom() ? log.slice(peer.next, log.lastIndex, limits.appendBytesMax) : []
    if (entries.length === 0 && peer.hasRoom() && peer.next <= log.lastIndex) return false
    out.send({ type: 'append', from, to: id, term, previousIndex, previousTerm, entries, commit: log.commit })
    peer.sent(entries, log.commit)
    return true
  }

  /** Only to a replica that answers: to one that is away it would be read for nothing. */
  #snapshot(id: ReplicaId, peer: Progress): void {
    peer.due = false
    const { log, out, term, id: from } = this.#replica
    const snapshot = this.#isActive(peer) ? log.snapshot() : null
    if (snapshot === null) return
    peer.startSnapshot(snapshot.index)
    out.send({ type: 'snapshot', from, to: id, term, snapshot })
  }
}
