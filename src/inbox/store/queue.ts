/**
 * The queue: inserts, trims, the limit.
 *
 * Hot path: an insert reads and writes the tally once a batch and puts one entry; a trim reads nothing else and deletes
 * point by point (bench: `persistent`).
 */

import type { Command, InsertCommand, Response, TrimCommand } from './command.ts'
import { isRepeated, remember } from './dedup.ts'
import type { Box, Draft } from './draft.ts'
import { addTo, releaseEntry, removeEntry } from './entries.ts'
import { packetIdOf } from './entry.ts'
import { assign } from './group-assign.ts'
import type { Tally } from './records.ts'

export function insert(draft: Draft, command: InsertCommand): Response {
  const box = draft.box(command.key)
  const tally = box.tally.get()
  if (tally === null || tally.incarnation !== command.incarnation) return 'absent'
  const { message, qos, retain, subscriptionIds } = command
  if (qos === 0 && !tally.limits.queueQos0) return 'dropped'
  if (command.dedup !== null && isRepeated(draft, box, tally, command.dedup)) return 'repeated'
  if (command.dedup !== null) remember(draft, box, tally, command.dedup)
  const value = draft.cache.encode(message, qos, retain, subscriptionIds)
  draft.count.inserts++
  box.tally.set(tally)
  if (!makeRoom(draft, box, tally, value.length)) return 'dropped'
  const sequence = ++tally.tail
  addTo(draft, tally, 1, value.length)
  draft.putEntry(box, tally.incarnation, sequence, value)
  if (tally.attached) {
    const packetId = qos === 0 ? 0 : packetIdOf(sequence)
    draft.effects.push({
      type: 'grown',
      name: box.name,
      entry: { sequence, packetId, qos, dup: false, released: false, message, retain, subscriptionIds },
      bytes: value.length,
    })
  } else if (box.isGroup) assign(draft, box, tally)
  return 'ok'
}

/** False where the new entry is the one that gives way. */
function makeRoom(draft: Draft, box: Box, tally: Tally, bytes: number): boolean {
  const { messagesMax, bytesMax, dropNewest } = tally.limits
  let dropped = 0
  let fits = bytes <= bytesMax
  while (fits && (tally.messages >= messagesMax || tally.bytes + bytes > bytesMax)) {
    // What may be in flight never gives way; all between the window and the tail is there, but for what was dropped.
    const oldest = Math.max(tally.window, tally.droppedTo) + 1
    if (dropNewest || oldest > tally.tail) fits = false
    else {
      if (dropEntry(draft, box, tally, oldest)) dropped++
    }
  }
  if (dropped > 0) draft.effects.push({ type: 'dropped', key: box.key, reason: 'full-oldest', count: dropped })
  if (!fits) draft.effects.push({ type: 'dropped', key: box.key, reason: 'full-newest', count: 1 })
  draft.count.drops += dropped + (fits ? 0 : 1)
  return fits
}

/** False where an owner that skipped ahead had it trimmed. */
function dropEntry(draft: Draft, box: Box, tally: Tally, sequence: number): boolean {
  tally.droppedTo = sequence
  return removeEntry(draft, box, tally, sequence)
}

export function trim(draft: Draft, command: TrimCommand): Response {
  const box = draft.box(command.key)
  const tally = box.tally.get()
  if (tally === null || draft.owned(box, command) === null) return 'conflict'
  if (command.number <= tally.trim) return { type: 'trimmed', droppedTo: tally.droppedTo }
  const { ranges } = command
  for (let i = 0; i < ranges.length; i += 2) {
    for (let sequence = ranges[i]!; sequence <= ranges[i + 1]!; sequence++) {
      draft.deleteEntry(box, tally.incarnation, sequence)
    }
  }
  tally.trim = command.number
  tally.head = Math.max(tally.head, Math.min(command.floor, tally.tail + 1))
  tally.window = Math.max(tally.window, command.window)
  addTo(draft, tally, -command.messages, -command.bytes)
  box.tally.set(tally)
  return { type: 'trimmed', droppedTo: tally.droppedTo }
}

export function received(draft: Draft, command: Extract<Command, { type: 'received' }>): Response {
  const box = draft.box(command.key)
  const tally = box.tally.get()
  if (tally === null || draft.owned(box, command) === null) return 'conflict'
  if (!releaseEntry(draft, box, tally, command.sequence)) return 'none'
  box.tally.set(tally)
  return 'done'
}
