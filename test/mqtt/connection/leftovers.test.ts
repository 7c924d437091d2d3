import { expect, test } from 'vitest'
import type { InboxId, TenantId } from '../../../src/base/ids.ts'
import type { Inbox, InboxHead, InboxKey } from '../../../src/inbox/index.ts'
import { Leftovers } from '../../../src/mqtt/connection/leftovers.ts'
import { START_MS, TestClock } from '../../inbox/harness.ts'

const key: InboxKey = { tenant: 't' as TenantId, inbox: 'c' as InboxId }

function setup() {
  const clock = new TestClock()
  const it = { removed: [] as number[], head: null as Partial<InboxHead> | null, fails: false, asked: 0 }
  const inbox = {
    head: async () => {
      it.asked++
      if (it.fails) throw new Error('no quorum')
      return it.head
    },
    remove: async (_key: InboxKey, incarnation: number) => it.removed.push(incarnation) > 0,
  }
  const pass = async () => {
    clock.advance(5_000)
    for (let i = 0; i < 10; i++) await Promise.resolve()
  }
  return { it, pass, leftovers: new Leftovers(inbox as unknown as Inbox, clock) }
}

test('a session that a client went on without is taken away, as soon as it can be told', async () => {
  const { it, pass, leftovers } = setup()
  it.head = { incarnation: 7, connection: null, detachedAtMs: START_MS - 1 }
  it.fails = true
  leftovers.note(key)
  await pass()
  expect(it.removed).toEqual([])
  it.fails = false
  await pass()
  expect(it.removed).toEqual([7])
  const { asked } = it
  await pass()
  expect(it.asked).toBe(asked)
})

test.each([
  ['that somebody has', { incarnation: 7, connection: 'x', detachedAtMs: null }],
  ['that the client has come back to since', { incarnation: 7, connection: null, detachedAtMs: START_MS + 1 }],
  ['that is none', null],
])('one %s stays', async (_what, head) => {
  const { it, pass, leftovers } = setup()
  it.head = head
  leftovers.note(key)
  await pass()
  expect([it.asked, it.removed]).toEqual([1, []])
})
