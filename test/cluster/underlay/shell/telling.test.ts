import { expect, test } from 'vitest'
import type { Clock } from '../../../../src/base/clock.ts'
import type { HostId } from '../../../../src/base/ids.ts'
import type { Logger } from '../../../../src/base/logging.ts'
import type { UnderlayNotice } from '../../../../src/cluster/underlay/contract.ts'
import type { Address, ClusterId, HostView } from '../../../../src/cluster/underlay/core/index.ts'
import { LagMeter } from '../../../../src/cluster/underlay/shell/lag-meter.ts'
import { Narrator } from '../../../../src/cluster/underlay/shell/narrator.ts'
import { World } from '../../../sim/world.ts'

const view = (change: Partial<HostView> = {}): HostView => ({
  ...{ id: 'h2' as HostId, incarnation: 3, life: 5, address: '10.0.0.2:7946' as Address, metadata: new Map() },
  ...{ state: 'alive', stateIncarnation: 3, ...change },
})

function narrator(clock: Clock = new World({ seed: 1 }).clock): { lines: string[]; narrator: Narrator } {
  const lines: string[] = []
  const at = (level: string) => (_fields: object, line: string) => lines.push(`${level}: ${line}`)
  const log: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  return { lines, narrator: new Narrator(log, clock, 'farm', ['10.0.0.1:7946', 'flock:7946']) }
}

const contact = '10.0.0.9:7946' as Address
const [clusterId, into] = ['c1' as ClusterId, 'c2' as ClusterId]
const h2 = 'h2' as HostId
const h3 = 'h3' as HostId

test.each<[UnderlayNotice, string]>([
  [{ type: 'joined', host: view() }, 'info: Host h2 at 10.0.0.2:7946 is a member'],
  [
    { type: 'alive', host: view(), previous: view({ state: 'dead' }) },
    'info: Host h2 .* is alive again, after it was dead',
  ],
  [{ type: 'suspect', host: view({ state: 'suspect' }), by: h3 }, 'info: Host h2 .* does not answer, says h3'],
  [{ type: 'dead', host: view({ state: 'dead' }), by: h3 }, 'warn: Host h2 .* is dead'],
  [{ type: 'dead', host: view({ state: 'dead' }), by: h2 }, 'info: Host h2 .* pauses: it is expected back'],
  [{ type: 'left', host: view({ state: 'left' }) }, 'info: Host h2 .* left the cluster for ever'],
  [{ type: 'restarted', host: view(), previous: view() }, 'info: Host h2 .* was restarted'],
  [{ type: 'changed', host: view(), previous: view() }, 'debug: Host h2 tells news'],
  [
    { type: 'changed', host: view(), previous: view({ address: contact }) },
    'info: Host h2 .* was at 10.0.0.9:7946 before',
  ],
  [{ type: 'forgotten', host: view() }, 'info: Host h2 .* is forgotten'],
  [{ type: 'waiting', reason: 'expecting', sees: 2, expect: 3 }, 'info: Waits for 3 hosts .* this one sees 2 of them'],
  [{ type: 'waiting', reason: 'listening', sees: 1, expect: 0 }, 'info: The only seed is this host'],
  [
    { type: 'waiting', reason: 'seeds-silent', sees: 1, expect: 0 },
    'info: Waits .* at 10.0.0.1:7946, flock:7946: .* never',
  ],
  [{ type: 'formed', clusterId, formedAtMs: 1 }, 'info: Founded cluster "farm"'],
  [{ type: 'adopted', clusterId, contact }, 'info: Joined cluster "farm" through 10.0.0.9:7946'],
  [{ type: 'dissolve', clusterId, into, contact }, 'warn: The fresh cluster .* ends: .* at 10.0.0.9:7946'],
  [{ type: 'refused-cluster', clusterId, address: contact }, 'error: Another cluster named "farm" is at 10.0.0.9:7946'],
  [
    { type: 'duplicate-id', address: contact, refused: true },
    'error: .* in use at 10.0.0.9:7946: was the data folder copied',
  ],
  [
    { type: 'duplicate-id', address: contact, refused: false },
    'warn: A second host .* at 10.0.0.9:7946, and was refused',
  ],
  [{ type: 'refuted', by: h3, incarnation: 4 }, 'info: Host h3 took this host for gone'],
  [{ type: 'stalled', lateMs: 2_500.4 }, 'warn: This process stood still for 2500 ms'],
  [{ type: 'stalled', lateMs: 250 }, 'debug: This process stood still for 250 ms'],
  [{ type: 'departed' }, 'info: The other hosts know'],
])('%j is said as: %s', (notice, line) => {
  const told = narrator()
  told.narrator.tell(notice)
  expect(told.lines).toHaveLength(1)
  expect(told.lines[0]).toMatch(new RegExp(`^${line}`))
})

test('refused packets are told once a minute and reason, with their number', async () => {
  const world = new World({ seed: 1 })
  const told = narrator(world.clock)
  for (let i = 0; i < 100; i++) told.narrator.refused('plain', 'a')
  told.narrator.refused('undecryptable', 'b')
  expect(told.lines).toEqual([
    'warn: Packets are refused: they are not encrypted, and this host has a cluster.secret',
    'warn: Packets are refused: they are encrypted with another cluster.secret, or damaged',
  ])
  await world.run(59_000)
  told.narrator.refused('plain', 'a')
  expect(told.lines).toHaveLength(2)
  await world.run(2_000)
  told.narrator.refused('plain', 'a')
  expect(told.lines).toHaveLength(3)
})

test('lag is what a timer is late', () => {
  let nowMs = 0
  let due: (() => void) | null = null
  const clock: Clock = {
    now: () => 0,
    monotonic: () => nowMs,
    after: (_ms, callback) => {
      due = callback
      return () => {
        due = null
      }
    },
  }
  const lags: number[] = []
  const meter = new LagMeter(clock, (lagMs) => lags.push(lagMs))
  meter.start()
  for (const lateMs of [0, 50, 99, 100, 3_000, 0]) {
    nowMs += 200 + lateMs
    due!()
  }
  expect(lags).toEqual([100, 3_000])
  meter.stop()
  expect(due).toBeNull()
})
