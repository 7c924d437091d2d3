import { expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import { Leaders } from '../../../src/kv/client/leaders.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'

const range = (...stores: string[]): RangeDescriptor => ({
  ...{ id: 'r1', service: 'inbox', epoch: { version: 1, confVersion: 1 }, start: undefined, end: undefined },
  replicas: stores.map((store, at) => ({ store, replica: at + 1, role: 'voter' })),
})
const silent = new BrokerError('TIMEOUT', 'No answer')

test('who does not answer is followed by the next replica, and the last by the first', () => {
  const leaders = new Leaders()
  const asked = [1, 2, 3, 4].map(() => {
    const store = leaders.of(range('s1', 's2', 's3'))
    leaders.doubt(range('s1', 's2', 's3'), silent)
    return store
  })
  expect(asked).toEqual(['s1', 's2', 's3', 's1'])
})

test('one replica is left of the range, and not where its leader was', () => {
  const leaders = new Leaders()
  leaders.learn(new BrokerError('NOT_LEADER', '', { hint: { range: 'r1', leader: 's1' } }))
  leaders.doubt(range('s3'), silent)
  expect(leaders.of(range('s3'))).toBe('s3')
})
