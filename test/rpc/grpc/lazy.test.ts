import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { systemClock, systemRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import { startRpc } from '../../../src/rpc/index.ts'

const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes('@grpc/grpc-js'))

test('gRPC is loaded by who starts rpc, not by who could', async () => {
  expect(loaded()).toBe(false)
  const rpc = await startRpc({
    cluster: 'test',
    node: 'a' as HostId,
    incarnation: 1,
    host: '127.0.0.1',
    port: 0,
    secrets: [],
    tls: null,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  })
  rpc.close()
  expect(loaded()).toBe(true)
})
