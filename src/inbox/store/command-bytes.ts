import type { Message } from '../../base/message.ts'
import type { Command } from './command.ts'

/** Beside key and message. */
const OVERHEAD_BYTES = 64

/**
 * Approximate sizes of commands in the log, for limits. A message that several commands in a row share counts for the
 * first: so one for ten thousand inboxes is not refused for its size.
 */
export function commandBytesOf(): (command: Command) => number {
  let last: Message | null = null
  return (command) => {
    const bytes = OVERHEAD_BYTES + command.key.length
    const message =
      command.type === 'insert' ? command.message : command.type === 'attach' ? (command.will?.message ?? null) : null
    if (message === null || message === last) return bytes
    last = message
    return bytes + message.payload.length + message.properties.length + message.topic.length
  }
}
