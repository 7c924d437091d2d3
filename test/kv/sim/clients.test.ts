import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import { type Client, Clients } from './clients.ts'
import type { Command } from './logic.ts'

test('a run waits for alarms that nobody has answered: they may ring after the look at what is there in the end', () => {
  const later: (() => void)[] = []
  const answers: (() => void)[] = []
  const mutateWith: Client['mutateWith'] = (_key, { type }: Command, done) => {
    const answer = () => done(null, { done: true, value: '1' }, 0)
    if (type === 'arm') answers.push(answer)
    else answer()
  }
  const client = { mutateWith, query: () => new Promise<never>(() => {}), close: async () => {} }
  const clients = new Clients(
    {
      ...{ random: seededRandom(1), after: (_ms, work) => void later.push(work), nowMs: () => 0, staleReads: false },
      connect: () => client as unknown as Client,
    },
    1,
  )
  for (const work of later.splice(0)) work()
  clients.stop()
  expect(answers.length).toBeGreaterThan(0)
  expect(clients.underWay).toBe(answers.length)
  for (const answer of answers) answer()
  expect(clients.underWay).toBe(0)
})
