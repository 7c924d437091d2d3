/** A session's filter list: the truth that its routes are derived from. */
import type { SubscribeOutcome } from '../contract.ts'
import type { Command, Response } from './command.ts'
import type { Draft } from './draft.ts'
import { decodeSubscription, encodeSubscription } from './records.ts'
import { PART_FILTER, partStart, textKey } from './schema.ts'

export function subscribe(draft: Draft, command: Extract<Command, { type: 'subscribe' }>): Response {
  const box = draft.box(command.key)
  const session = draft.owned(box, command)
  if (session === null) return 'conflict'
  const prefix = partStart(command.key, session.incarnation, PART_FILTER)
  const outcomes = command.subscriptions.map(({ filter, options }): SubscribeOutcome => {
    const key = textKey(prefix, filter)
    const known = draft.get(key) !== undefined
    if (!known && session.filters >= session.filtersMax) return 'quota'
    draft.put(key, encodeSubscription(options, true))
    if (!known) session.filters++
    return known ? 'replaced' : 'new'
  })
  box.session.set(session)
  return { type: 'subscribed', outcomes }
}

export function confirm(draft: Draft, command: Extract<Command, { type: 'confirm' }>): Response {
  const box = draft.box(command.key)
  if (draft.owned(box, command) === null) return 'conflict'
  const prefix = partStart(command.key, command.incarnation, PART_FILTER)
  for (const filter of command.filters) {
    const key = textKey(prefix, filter)
    const stored = draft.get(key)
    if (stored !== undefined) draft.put(key, encodeSubscription(decodeSubscription(filter, stored).options, false))
  }
  return 'done'
}

export function unsubscribe(draft: Draft, command: Extract<Command, { type: 'unsubscribe' }>): Response {
  const box = draft.box(command.key)
  const session = draft.owned(box, command)
  if (session === null) return 'conflict'
  const prefix = partStart(command.key, session.incarnation, PART_FILTER)
  const existed = command.filters.map((filter) => {
    const key = textKey(prefix, filter)
    if (draft.get(key) === undefined) return false
    draft.delete(key)
    session.filters--
    return true
  })
  box.session.set(session)
  return { type: 'unsubscribed', existed }
}
