import { expect, test } from 'vitest'
import { TimedWork } from '../../../src/kv/store/timed-work.ts'

test('work that is due is asked for in the generation that is applied, though another one is shown yet', () => {
  const descriptor = { id: 'inbox-1', epoch: { version: 1, confVersion: 1 } }
  const range = {
    descriptor,
    latest: { ...descriptor, epoch: { version: 2, confVersion: 1 } },
    due: () => ['ring'],
    nextDueMs: () => 5,
  }
  const work = new TimedWork(range as never, { leads: true } as never)
  work.schedule(1)
  expect(work.take(4, 10)).toBeNull()
  expect(work.take(5, 10)).toMatchObject({ range: 'inbox-1', epochVersion: 2, commands: ['ring'] })
})
