import { expect, test } from 'vitest'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import { emptyRange } from '../../../src/kv/snapshot/index.ts'
import { newcomerRecord } from '../../../src/kv/store/newcomer.ts'
import { RangeLog } from '../../../src/kv/store/range-log.ts'
import { setup } from './merge-setup.ts'

test('a state that was not ended is taken away again, but not what another range has by now', async () => {
  const { world, cluster, append, read } = setup({ stores: ['s1'] })
  await world.resolve(append('z', 'x'))
  const engine = cluster.engine('s1')
  const descriptor: RangeDescriptor = {
    ...{ id: 'inbox-9', service: 'inbox', epoch: { version: 2, confVersion: 2 } },
    ...{ start: undefined, end: undefined, replicas: [{ store: 's1', replica: 2, role: 'learner' }] },
  }
  const snapshot = { index: 5, term: 1 }
  const writes = [
    ...emptyRange(descriptor, { replica: 2, snapshot, boundaries: [{}] }, []),
    newcomerRecord(descriptor, 2, snapshot),
    ...RangeLog.begin(engine, descriptor.id, 0, 0).writes.map((write) => ({ family: 'raft', write }) as const),
  ]
  await world.resolve(engine.write({ writes, sync: true }))
  cluster.crash('s1')
  cluster.start('s1')
  await world.run(200)
  expect(await world.resolve(read('z'))).toBe('x')
})
