import type { ReplicaId, VoteAnswer, VoteRequest } from './contract.ts'
import type { Outcome, Quorum } from './quorum.ts'
import type { Replica } from './replica.ts'

/**
 * One try to be elected. A pre-vote asks who would vote, and changes nobody's term: a replica that cannot win, since it
 * was away or removed, disturbs nobody.
 *
 * Source: Ongaro, thesis, 9.6.
 */
export class Campaign {
  readonly pre: boolean
  /** The term that it wants to lead. */
  readonly term: number
  readonly transfer: boolean
  readonly #votes = new Map<ReplicaId, boolean>()

  constructor(pre: boolean, term: number, transfer: boolean) {
    this.pre = pre
    this.term = term
    this.transfer = transfer
  }

  /** The first answer of each counts. */
  record(from: ReplicaId, granted: boolean): void {
    if (!this.#votes.has(from)) this.#votes.set(from, granted)
  }

  outcome(quorum: Quorum): Outcome {
    return quorum.outcome(this.#votes)
  }
}

/**
 * The wish for votes itself waits for the disk: a candidate that forgot its term in a crash, and with it the end of its
 * log, could otherwise use votes that were given to the longer log.
 */
export function requestVotes(replica: Replica, { pre, term, transfer }: Campaign): void {
  const { id: from, log, membership, out } = replica
  for (const to of membership.members) {
    if (to === from || !membership.isVoter(to)) continue
    const { lastIndex, lastTerm } = log
    const ask = { pre, lastIndex, lastTerm, transfer }
    const request: VoteRequest = { type: 'vote-request', from, to, term, ...ask, ...committed(replica) }
    if (pre) out.send(request)
    else out.promise(request)
  }
}

/** Where a leader is heard, only that leader's own wish can be behind a campaign. Source: thesis, 4.2.3. */
export function isHeeded(replica: Replica, request: VoteRequest): boolean {
  return request.term >= replica.term && (request.transfer || !replica.hearsLeader)
}

/** Tells a pre-candidate at once; a candidate will hear from the leader. */
export function refuseVote(replica: Replica, request: VoteRequest): void {
  if (request.pre) answer(replica, request, false)
}

/** Gives the vote, once in a term, to a log that holds at least as much. Source: Raft paper, 5.2 and 5.4.1. */
export function answerVote(replica: Replica, request: VoteRequest): void {
  const free = replica.vote === request.from || (replica.vote === null && replica.leader === null)
  const mayVote = free || request.term > replica.term
  const granted = mayVote && holdsEnough(replica, request)
  if (granted && !request.pre) {
    replica.vote = request.from
    replica.timer.reset()
  }
  answer(replica, request, granted)
}

/** At least what this replica has, or had before it was emptied. Source: Raft paper, 5.4.1. */
function holdsEnough({ log, floor }: Replica, { lastIndex, lastTerm }: VoteRequest): boolean {
  const aboveFloor = lastTerm > floor.term || (lastTerm === floor.term && lastIndex >= floor.index)
  return aboveFloor && log.isUpToDate(lastIndex, lastTerm)
}

/** The answer to a pre-vote promises nothing; one to a vote waits for the disk. */
function answer(replica: Replica, { from: to, term, pre }: VoteRequest, granted: boolean): void {
  const { id: from, out, term: own } = replica
  const what = { term: granted ? term : own, pre, granted }
  const answer: VoteAnswer = { type: 'vote-answer', from, to, ...what, ...committed(replica) }
  if (pre) out.send(answer)
  else out.promise(answer)
}

/**
 * What another replica knows to be committed is so here too, where the logs agree on it. True where that is news.
 */
export function learnCommit(
  { log }: Replica,
  { commit, commitTerm }: Pick<VoteRequest, 'commit' | 'commitTerm'>,
): boolean {
  if (commit <= log.commit || !log.matches(commit, commitTerm)) return false
  log.commitTo(commit)
  return true
}

function committed({ log }: Replica): { commit: number; commitTerm: number } {
  return { commit: log.commit, commitTerm: log.term(log.commit) ?? 0 }
}
