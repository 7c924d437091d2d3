import { expect, test } from 'vitest'
import { namingLog } from '../../../src/node/cluster/naming-log.ts'

test('hosts have their names in sentences, and their ids in fields', () => {
  const lines: [string, object, string][] = []
  const keep = (level: string) => (fields: object, message: string) => void lines.push([level, fields, message])
  const log = namingLog(
    { debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') },
    (id) => ({ i1: 'n1', i2: 'n2' })[id] ?? null,
  )
  log.info({ host: 'i1', by: 'i2' }, 'Host i1 is asked, says i2')
  log.warn({ host: 'i9' }, 'Host i9 is i1')
  log.error({}, 'i1')
  log.debug({ host: 1 }, 'i2')
  expect(lines).toEqual([
    ['info', { host: 'i1', by: 'i2' }, 'Host n1 is asked, says n2'],
    ['warn', { host: 'i9' }, 'Host i9 is i1'],
    ['error', {}, 'i1'],
    ['debug', { host: 1 }, 'i2'],
  ])
})
