import { expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import type { TenantId } from '../../../src/base/ids.ts'
import type { Logger } from '../../../src/base/logging.ts'
import { RefusalLog } from '../../../src/mqtt/connection/refusal-log.ts'

test('refused publishes are a line a second, which says how many were not told of', () => {
  const lines: object[] = []
  let nowMs = 5
  const log = { warn: (fields: object) => lines.push(fields) } as unknown as Logger
  const refusals = new RefusalLog(log, { monotonic: () => nowMs } as unknown as Clock)
  const error = new Error('full')
  const tenant = 't' as TenantId
  for (let i = 0; i < 100; i++) refusals.note(error, tenant)
  nowMs += 999
  refusals.note(error, tenant)
  expect(lines).toEqual([{ err: error, tenant }])
  nowMs += 1
  refusals.note(error, tenant)
  nowMs += 1_000
  refusals.note(error, tenant)
  expect(lines.slice(1)).toEqual([
    { err: error, tenant, unsaid: 100 },
    { err: error, tenant },
  ])
})
