import { expect, test } from 'vitest'
import type { CommandBatch } from '../../../src/kv/client/transport.ts'
import { STORE_LIMITS } from '../../../src/kv/store/limits.ts'
import { Proposals } from '../../../src/kv/store/proposals.ts'

const ignore = () => {}

function batchOf(stream: string): CommandBatch<string> {
  const run = { stream, previous: 0, first: 1, count: 1, answered: 0 }
  return { range: 'r', epochVersion: 1, run, keys: [], commands: ['c'], bytes: 1 }
}

/** Of a range that takes everything; entries say the time at which they were proposed. */
function proposals(): Proposals<string, string, never, never, never> {
  const range = {
    check: () => null,
    propose: (_runs: unknown, _commands: unknown, nowMs: number) => ({ type: 'commands', nowMs }),
  }
  return new Proposals(range as never, { ...STORE_LIMITS, entryCommandsMax: 1 }, { watcher: null } as never)
}

test('work that was due is so in its entry too, where the clock is set back while it waits', () => {
  const queue = proposals()
  queue.push(batchOf('client'), ignore)
  queue.pushOwn(batchOf(''), ignore, 5_000)
  expect(queue.next(4_000)!.entry.nowMs).toBe(5_000)
  expect(queue.next(3_000)!.entry.nowMs).toBe(5_000)
  // That is over with it.
  queue.push(batchOf('client'), ignore)
  expect(queue.next(3_000)!.entry.nowMs).toBe(3_000)
})
