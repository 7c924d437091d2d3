import type { AppendMessage, HeartbeatMessage, SnapshotMessage } from './contract.ts'
import { Membership } from './membership.ts'
import type { Replica } from './replica.ts'

/** Entries from the leader. The answer says what is on the disk, so it waits for it. */
export function takeAppend(replica: Replica, message: AppendMessage): void {
  const { log } = replica
  const { previousIndex, previousTerm, entries } = message
  if (!inSequence(message)) return
  if (previousIndex < log.commit) accept(replica, message.from, log.commit)
  else if (log.matches(previousIndex, previousTerm)) {
    const last = log.extend(previousIndex, entries)
    log.commitTo(Math.min(message.commit, last))
    accept(replica, message.from, last)
  } else refuse(replica, message)
}

/** Answers at once, since it only says who leads; to an invitation to sleep it answers where it cannot follow it. */
export function takeHeartbeat(replica: Replica, message: HeartbeatMessage): void {
  const { log, id, term } = replica
  if (message.commit <= log.lastIndex) log.commitTo(message.commit)
  else answerEmpty(replica, message)
  replica.quiescent = message.quiesce && log.commit === message.commit && log.lastIndex === message.commit
  if (replica.quiescent) return
  replica.out.send({ type: 'heartbeat-answer', from: id, to: message.from, term, round: message.round })
}

/** A snapshot whose data the host holds ready. It is taken only where the log does not have what it stands for. */
export function takeSnapshot(replica: Replica, message: SnapshotMessage): void {
  const { log, floor } = replica
  const { snapshot } = message
  if (snapshot.index < floor.index) return
  if (snapshot.index > log.commit) {
    if (log.matches(snapshot.index, snapshot.term)) log.commitTo(snapshot.index)
    else {
      log.restore(snapshot)
      replica.membership = new Membership(snapshot.config)
    }
  }
  accept(replica, message.from, log.commit)
}

/** To whoever leads, or campaigns, in a term that is over: the answer tells the new term. */
export function refuseOld(replica: Replica, to: number): void {
  const { id, term } = replica
  const nothing = { accepted: false, index: 0, hintIndex: 0, hintTerm: 0 }
  replica.out.promise({ type: 'append-answer', from: id, to, term, ...nothing })
}

function accept(replica: Replica, to: number, index: number): void {
  const { id, term } = replica
  replica.out.promise({
    type: 'append-answer',
    from: id,
    to,
    term,
    accepted: true,
    index,
    hintIndex: 0,
    hintTerm: 0,
  })
}

/** The leader takes it for stored here: this replica was emptied meanwhile, which the leader must know. */
function answerEmpty(replica: Replica, { from: to, commit: index }: HeartbeatMessage): void {
  const { id: from, term, log } = replica
  if (log.lastIndex > 0) return
  const hint = { hintIndex: 0, hintTerm: 0 }
  replica.out.promise({ type: 'append-answer', from, to, term, accepted: false, index, ...hint })
}

/** The hint skips a whole term of entries that cannot agree. Source: Raft paper, end of 5.3. */
function refuse(replica: Replica, message: AppendMessage): void {
  const { id, term, log } = replica
  const hint = log.lastNotAbove(message.previousIndex, message.previousTerm)
  replica.out.promise({
    type: 'append-answer',
    from: id,
    to: message.from,
    term,
    accepted: false,
    index: message.previousIndex,
    hintIndex: hint.index,
    hintTerm: hint.term,
  })
}

/** From the wire, so not asserted: an append that is not one run of entries is dropped. */
function inSequence({ previousIndex, previousTerm, term, entries }: AppendMessage): boolean {
  let before = previousTerm
  for (let at = 0; at < entries.length; at++) {
    const entry = entries[at]!
    if (entry.index !== previousIndex + 1 + at || entry.term < before || entry.term > term) return false
    before = entry.term
  }
  return true
}
