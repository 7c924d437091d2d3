import type { Message } from '../../base/message.ts'
import type { Box, Draft } from './draft.ts'
import { decodeWill, encodeWill, NEVER_SECONDS, type Numbers, type StoredWill } from './records.ts'
import { firingKey } from './schema.ts'
import { arm, disarm } from './timers.ts'

/** What happened to the connection or the session that the will belongs to. */
export type WillMoment =
  /** DISCONNECT with reason 0x00. */
  | 'disconnected'
  /** The connection ended in any other way, a DISCONNECT with 0x04 included. */
  | 'lost'
  /** Another connection attaches while this one is. */
  | 'taken-over'
  /** A connection attaches after this one ended; the will waits for its delay. */
  | 'returned'
  /** The session ends by its expiry, or is found to have ended. */
  | 'ended'
  /** The delay is over. */
  | 'delay-over'
  /** The session is removed by an operator. */
  | 'removed'

export type WillDecision = 'discard' | 'fire' | 'arm'

export interface WillCase {
  moment: WillMoment
  /** Will delay interval of the will. */
  delaySeconds: number
  /** Session expiry interval of the will's session, as it is at that moment. */
  expirySeconds: number
  /** Of the connection that attaches; false for other moments. */
  cleanStart: boolean
}

/**
 * What becomes of a will.
 *
 * It is published when its delay is over or its session ends, whichever is first; not after DISCONNECT with 0x00; not
 * where the session goes on with a new connection before the delay is over [MQTT-3.1.2-8], [MQTT-3.1.3-9]. A clean
 * start ends the old session, and so does any attach where its expiry is 0 (MQTT 5.0 3.1.4, takeover).
 */
export function willDecision({ moment, delaySeconds, expirySeconds, cleanStart }: WillCase): WillDecision {
  switch (moment) {
    case 'disconnected':
    case 'removed':
      return 'discard'
    case 'ended':
    case 'delay-over':
      return 'fire'
    case 'lost':
      return delaySeconds === 0 || expirySeconds === 0 ? 'fire' : 'arm'
    case 'taken-over':
    case 'returned':
      return cleanStart || delaySeconds === 0 || expirySeconds === 0 ? 'fire' : 'discard'
  }
}

/** When an armed will fires, ms since 1970: after its delay, at the session's end at the latest. */
export function willDueMs(nowMs: number, delaySeconds: number, expirySeconds: number): number {
  const seconds = expirySeconds === NEVER_SECONDS ? delaySeconds : Math.min(delaySeconds, expirySeconds)
  return nowMs + seconds * 1_000
}

/** Applies a decision to the inbox's will, where there is one. */
export function settleWill(draft: Draft, box: Box, incarnation: number, given: Omit<WillCase, 'delaySeconds'>): void {
  const will = box.will.get()
  if (will === null) return
  const decision = willDecision({ ...given, delaySeconds: will.delaySeconds })
  if (will.dueMs > 0) disarm(draft, { dueMs: will.dueMs, kind: 'will', number: 0, start: box.key })
  if (decision === 'arm') {
    const dueMs = willDueMs(draft.nowMs, will.delaySeconds, given.expirySeconds)
    box.will.set({ ...will, dueMs })
    arm(draft, { dueMs, kind: 'will', number: 0, start: box.key })
    return
  }
  box.will.set(null)
  if (decision === 'fire') fire(draft, box, incarnation, will)
}

/** Milliseconds until an announced will that was not confirmed is announced again: its host is gone then. */
const FIRING_MS = 30_000

/** Announces the will; it stays stored until the command `fired` says that it is out. */
function fire(draft: Draft, box: Box, incarnation: number, will: StoredWill): void {
  const numbers = numbersOf(box, incarnation)
  const number = numbers.next++
  numbers.firing.push(number)
  box.numbers.set(numbers)
  // Its expiry interval runs from now, when it is published. HLC as in `hlc.ts`, the same on every replica.
  const message: Message = { ...will.message, timestamp: Math.max(will.message.timestamp + 1, draft.nowMs * 1_024) }
  announce(draft, box, number, message)
  draft.count.wills++
}

function announce(draft: Draft, box: Box, number: number, message: Message): void {
  const dueMs = draft.nowMs + FIRING_MS
  draft.put(firingKey(box.key, number), encodeWill({ message, delaySeconds: 0, dueMs }))
  arm(draft, { dueMs, kind: 'firing', number, start: box.key })
  draft.effects.push({ type: 'will', key: box.key, number, message })
}

/** Nobody confirmed in time: again. */
export function fireAgain(draft: Draft, box: Box, number: number, dueMs: number): void {
  const stored = draft.get(firingKey(box.key, number))
  if (stored === undefined) return
  const will = decodeWill(stored)
  if (will.dueMs === dueMs) announce(draft, box, number, will.message)
}

/** The will is out. */
export function fired(draft: Draft, box: Box, number: number): 'done' | 'none' {
  const key = firingKey(box.key, number)
  const stored = draft.get(key)
  if (stored === undefined) return 'none'
  disarm(draft, { dueMs: decodeWill(stored).dueMs, kind: 'firing', number, start: box.key })
  draft.delete(key)
  const numbers = box.numbers.get()
  if (numbers !== null) {
    numbers.firing = numbers.firing.filter((each) => each !== number)
    // Without a session nothing else needs the numbers: a later one begins above them.
    const idle = numbers.firing.length === 0 && box.session.get() === null
    box.numbers.set(idle ? null : numbers)
  }
  return 'done'
}

/** Publish numbers of the client id; a new session goes on above all that were given out before. */
export function numbersOf(box: Box, incarnation: number): Numbers {
  return box.numbers.get() ?? { next: incarnation, received: [], firing: [] }
}
