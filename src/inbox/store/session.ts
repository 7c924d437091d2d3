/** The life of a session: attach, detach, removal, expiry. */
import type { InboxSubscription } from '../contract.ts'
import type {
  AttachCommand,
  AttachedAnswer,
  Command,
  DetachCommand,
  DueCommand,
  EndedEffect,
  Response,
} from './command.ts'
import type { Box, Draft } from './draft.ts'
import { admit, isFenced } from './nodes.ts'
import { decodeSubscription, newTally, type Session, sessionEndMs, toTallyLimits } from './records.ts'
import { after, PART_FILTER, partStart, partsBounds, textOf } from './schema.ts'
import { arm, disarm, isHere, nextIncarnation } from './timers.ts'
import { fireAgain, numbersOf, settleWill } from './will.ts'

/** Assumed of an owner until its first trim tells what it needs. */
const FIRST_CREDIT = 32

/**
 * Most sequences ahead of the last one pushed that an owner with this credit asks for: a part of the queue's limit, so
 * that most of a full queue can give way.
 */
export function lookaheadOf(messagesMax: number, credit: number): number {
  return Math.max(1, Math.min(credit * 2, 8_192, Math.floor(messagesMax / 4)))
}

export function attach(draft: Draft, command: AttachCommand): AttachedAnswer | 'fenced' | 'held' {
  if (!admit(draft, command.node, command.nodeIncarnation)) return 'fenced'
  const box = draft.box(command.key)
  const before = box.session.get()
  if (before?.connection === command.connection) return answer(draft, box, before, null, null)
  if (before?.attached && isElsewhere(draft, before, command)) {
    // Its connection hears of it, where it still can.
    const { incarnation } = before
    draft.effects.push({ type: 'attached', name: box.name, incarnation, connection: command.connection })
    return 'held'
  }
  const previous = before?.attached ? { connection: before.connection, node: before.node } : null
  let ended: AttachedAnswer['ended'] = null
  let session: Session
  if (before !== null && !isOver(before, command, draft.nowMs)) {
    resume(draft, box, before)
    session = { ...before, resumed: true }
  } else {
    if (before !== null) ended = replace(draft, box, before, command.cleanStart)
    session = create(draft, box, command)
  }
  setOwner(draft, box, session, command)
  draft.effects.push({
    type: 'attached',
    name: box.name,
    incarnation: session.incarnation,
    connection: command.connection,
  })
  return answer(draft, box, session, ended, previous)
}

/** A node that may still act on the session has it: it gives it up, or is fenced, before another one gets it. */
function isElsewhere(draft: Draft, { node, nodeIncarnation }: Session, by: AttachCommand): boolean {
  return node !== by.node && !isFenced(draft, node, nodeIncarnation)
}

/** By the entry's time: an elapsed session is not resumed, whether or not its timer has fired. */
function isOver(session: Session, command: AttachCommand, nowMs: number): boolean {
  return command.cleanStart || session.expirySeconds === 0 || sessionEndMs(session) <= nowMs
}

function resume(draft: Draft, box: Box, session: Session): void {
  const elapsed = (box.will.get()?.dueMs ?? 0) > 0 && box.will.get()!.dueMs <= draft.nowMs
  const moment = session.attached ? 'taken-over' : elapsed ? 'delay-over' : 'returned'
  settleWill(draft, box, session.incarnation, { moment, expirySeconds: session.expirySeconds, cleanStart: false })
  disarmExpiry(draft, box, session)
  const tally = box.tally.get()!
  // The owner before was not heard of again: what it might have pushed may have been sent.
  if (session.attached) tally.sentUpTo = Math.min(tally.window, tally.tail)
  box.tally.set(tally)
}

function replace(draft: Draft, box: Box, session: Session, cleanStart: boolean): NonNullable<AttachedAnswer['ended']> {
  const over = !session.attached && sessionEndMs(session) <= draft.nowMs
  const moment = session.attached ? 'taken-over' : over ? 'ended' : 'returned'
  settleWill(draft, box, session.incarnation, { moment, expirySeconds: session.expirySeconds, cleanStart })
  const subscriptions = subscriptionsOf(draft, box, session)
  endSession(draft, box, session, 'replaced', subscriptions)
  return { incarnation: session.incarnation, subscriptions }
}

function create(draft: Draft, box: Box, command: AttachCommand): Session {
  const incarnation = nextIncarnation(draft)
  box.tally.set(newTally(incarnation, toTallyLimits(command.limits)))
  draft.count.sessions++
  return {
    incarnation,
    connection: '',
    attached: false,
    attachment: 0,
    resumed: false,
    node: '',
    nodeIncarnation: 0,
    user: '',
    address: '',
    protocol: 5,
    expirySeconds: 0,
    detachedAtMs: 0,
    filters: 0,
    filtersMax: 0,
  }
}

function setOwner(draft: Draft, box: Box, session: Session, command: AttachCommand): void {
  if (!session.attached) draft.count.attached++
  session.connection = command.connection
  session.attached = true
  session.attachment++
  session.node = command.node
  session.nodeIncarnation = command.nodeIncarnation
  session.user = command.user
  session.address = command.address
  session.protocol = command.protocol
  session.expirySeconds = command.expirySeconds
  session.detachedAtMs = 0
  session.filtersMax = command.limits.filtersMax
  box.session.set(session)
  const tally = box.tally.get()!
  tally.attached = true
  tally.trim = 0
  tally.limits = toTallyLimits(command.limits)
  tally.window =
    Math.max(tally.sentUpTo, tally.droppedTo, tally.head - 1) + lookaheadOf(tally.limits.messagesMax, FIRST_CREDIT)
  box.tally.set(tally)
  if (command.will !== null) box.will.set({ ...command.will, dueMs: 0 })
}

function answer(
  draft: Draft,
  box: Box,
  session: Session,
  ended: AttachedAnswer['ended'],
  previous: AttachedAnswer['previous'],
): AttachedAnswer {
  return {
    type: 'attached',
    incarnation: session.incarnation,
    attachment: session.attachment,
    sessionPresent: session.resumed,
    subscriptions: session.filters === 0 ? [] : subscriptionsOf(draft, box, session),
    received: box.numbers.get()?.received.map((each) => ({ ...each })) ?? [],
    ended,
    previous,
  }
}

export function detach(draft: Draft, command: DetachCommand): Response {
  const box = draft.box(command.key)
  const session = box.session.get()
  // Gone, or detached by an earlier try: done already.
  if (session === null) return 'done'
  if (command.incarnation !== 0 && session.incarnation !== command.incarnation) return 'conflict'
  if (session.connection !== command.connection) return 'conflict'
  if (session.attached) letGo(draft, box, session, command)
  return 'done'
}

/** The connection is gone. */
export function letGo(
  draft: Draft,
  box: Box,
  session: Session,
  how: Pick<DetachCommand, 'expirySeconds' | 'discardWill' | 'sentUpTo'>,
): void {
  release(draft, box, session, how.sentUpTo)
  draft.effects.push({ type: 'freed', name: box.name })
  if (how.expirySeconds !== null) session.expirySeconds = how.expirySeconds
  const { expirySeconds, incarnation } = session
  const moment = how.discardWill ? 'disconnected' : 'lost'
  settleWill(draft, box, incarnation, { moment, expirySeconds, cleanStart: false })
  if (expirySeconds === 0) endSession(draft, box, session, 'expired', subscriptionsOf(draft, box, session))
  else armExpiry(draft, box, session)
}

function release(draft: Draft, box: Box, session: Session, sentUpTo: number): void {
  session.attached = false
  session.detachedAtMs = draft.nowMs
  box.session.set(session)
  draft.count.attached--
  const tally = box.tally.get()!
  tally.attached = false
  // An older connection may have sent further than this one got to send again.
  tally.sentUpTo = Math.max(tally.sentUpTo, Math.min(sentUpTo, tally.window))
  tally.window = Math.max(tally.sentUpTo, tally.droppedTo)
  box.tally.set(tally)
}

export function remove(draft: Draft, command: Extract<Command, { type: 'remove' }>): Response {
  const box = draft.box(command.key)
  const session = box.session.get()
  if (session === null) return 'none'
  if (command.incarnation !== null && command.incarnation !== session.incarnation) return 'none'
  const { incarnation, expirySeconds } = session
  settleWill(draft, box, incarnation, { moment: 'removed', expirySeconds, cleanStart: false })
  endSession(draft, box, session, 'removed', subscriptionsOf(draft, box, session))
  return 'done'
}

/** A timer came due on the leader. */
export function due(draft: Draft, command: DueCommand): Response {
  disarm(draft, { ...command, start: command.key })
  if (!isHere(draft, command.key)) return 'none'
  const box = draft.box(command.key)
  const session = box.session.get()
  if (command.kind === 'firing') {
    fireAgain(draft, box, command.number, command.dueMs)
  } else if (session !== null && command.kind === 'will') {
    if (box.will.get()?.dueMs !== command.dueMs) return 'none'
    const { incarnation, expirySeconds } = session
    settleWill(draft, box, incarnation, { moment: 'delay-over', expirySeconds, cleanStart: false })
  } else if (session !== null && sessionEndMs(session) === command.dueMs) {
    const { incarnation, expirySeconds } = session
    settleWill(draft, box, incarnation, { moment: 'ended', expirySeconds, cleanStart: false })
    endSession(draft, box, session, 'expired', subscriptionsOf(draft, box, session))
  }
  return 'done'
}

/** Takes everything of the session away; its will is settled before. */
function endSession(
  draft: Draft,
  box: Box,
  session: Session,
  reason: EndedEffect['reason'],
  subscriptions: InboxSubscription[],
): void {
  const { key, name } = box
  const { incarnation } = session
  const tally = box.tally.get()!
  if (session.filters > 0 || tally.tail > 0) {
    const bounds = partsBounds(key, incarnation)
    draft.deleteRange(bounds.start, bounds.end)
  }
  disarmExpiry(draft, box, session)
  const numbers = box.numbers.get()
  if (numbers !== null) {
    // Wills on their way out are known by their numbers until they are confirmed.
    const firing = numbersOf(box, incarnation).firing
    box.numbers.set(firing.length === 0 ? null : { ...numbers, received: [] })
  }
  box.session.set(null)
  box.tally.set(null)
  draft.count.sessions--
  if (session.attached) draft.count.attached--
  draft.count.messages -= tally.messages
  draft.count.bytes -= tally.bytes
  draft.effects.push({ type: 'ended', key, name, incarnation, reason, subscriptions })
}

function armExpiry(draft: Draft, box: Box, session: Session): void {
  const dueMs = sessionEndMs(session)
  if (dueMs !== Number.POSITIVE_INFINITY) arm(draft, { dueMs, kind: 'expiry', number: 0, start: box.key })
}

function disarmExpiry(draft: Draft, box: Box, session: Session): void {
  const dueMs = sessionEndMs(session)
  if (dueMs !== Number.POSITIVE_INFINITY) disarm(draft, { dueMs, kind: 'expiry', number: 0, start: box.key })
}

export function subscriptionsOf(draft: Draft, box: Box, session: Session): InboxSubscription[] {
  if (session.filters === 0) return []
  const prefix = partStart(box.key, session.incarnation, PART_FILTER)
  return draft
    .scan({ start: prefix, end: after(prefix) })
    .map(({ key, value }) => decodeSubscription(textOf(key, prefix), value))
}
