/** QoS 2 publishes of a session's own client: a packet id is bound to a publish number until PUBREL. */
import type { Command, Response } from './command.ts'
import type { Draft } from './draft.ts'
import type { Numbers } from './records.ts'
import { numbersOf } from './will.ts'

export function receive(draft: Draft, command: Extract<Command, { type: 'receive' }>): Response {
  const box = draft.box(command.key)
  const session = draft.owned(box, command)
  if (session === null) return 'conflict'
  const numbers = numbersOf(box, session.incarnation)
  const known = numbers.received.find(({ packetId }) => packetId === command.packetId)
  if (known !== undefined) return { type: 'number', number: known.number, repeated: true, floor: floorOf(numbers) }
  const number = numbers.next++
  numbers.received.push({ packetId: command.packetId, number })
  box.numbers.set(numbers)
  return { type: 'number', number, repeated: false, floor: floorOf(numbers) }
}

export function release(draft: Draft, command: Extract<Command, { type: 'release' }>): Response {
  const box = draft.box(command.key)
  if (draft.owned(box, command) === null) return 'conflict'
  const numbers = box.numbers.get()
  const at = numbers?.received.findIndex(({ packetId }) => packetId === command.packetId) ?? -1
  if (numbers === null || at < 0) return 'none'
  numbers.received.splice(at, 1)
  box.numbers.set(numbers)
  return 'done'
}

/** No lower number comes again: those below are released, and their wills are out. */
function floorOf(numbers: Numbers): number {
  const received = numbers.received[0]?.number ?? numbers.next
  return Math.min(received, numbers.firing[0] ?? received)
}
