import { expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import type { Landscape } from '../../../src/kv/balance/index.ts'
import { type MetaCommand, MetaObserver, type MetaResponse } from '../../../src/kv/meta/index.ts'
import type { Member } from '../../../src/node/cluster/roster.ts'
import { Departure } from '../../../src/node/ranges/departure.ts'
import type { MetaRanges } from '../../../src/node/ranges/founding.ts'
import { Names } from '../../../src/node/ranges/names.ts'
import { rulesFromTexts } from '../../../src/node/ranges/rules.ts'
import { World } from '../../sim/world.ts'

const HOSTS = ['A', 'B', 'C', 'D'] as HostId[]

/** Node A of four, each with a name; one range, on the first three unless `on` says otherwise. */
function world(leadsMeta = false) {
  const time = new World({ seed: 1 })
  const { state } = new MetaObserver()
  const register = (host: HostId, leaving: boolean) =>
    state.apply({ type: 'member', member: { host, incarnation: 1, fenced: false, features: [], leaving } })
  for (const host of HOSTS) register(host, false)
  const written: MetaCommand[] = []
  const mutate = async (_key: Uint8Array, command: MetaCommand): Promise<MetaResponse> => {
    written.push(command)
    if (command.type === 'leave') register(command.host, command.leaving)
    if (command.type === 'gone') state.apply({ type: 'gone', gone: { host: command.host, goneMs: 0 } })
    return { type: 'done', revision: 1 }
  }
  const view = { on: ['A', 'B', 'C'], hosts: HOSTS, dead: [] as string[], held: 1, heard: true }
  const landscape = (): Landscape => ({
    self: null,
    stores: view.hosts.map((id) => ({
      ...{ id, zone: '', alive: !view.dead.includes(id), deadForMs: 0, draining: false, full: false },
      ...{ decommissioning: state.members.get(id)?.leaving ?? false, roles: ['inbox'], freeBytes: 2 ** 40 },
    })),
    ranges: !view.heard
      ? []
      : [
          {
            descriptor: {
              ...{
                id: 'inbox-1',
                service: 'inbox',
                epoch: { version: 1, confVersion: 1 },
                start: undefined,
                end: undefined,
              },
              replicas: view.on.map((store, at) => ({ store, replica: at + 1, role: 'voter' as const })),
            },
            ...{ leaderStore: view.on[0]!, sizeBytes: 0, writeLoad: 0, queryLoad: 0, splitHint: null, middleKey: null },
            ...{ lag: Object.fromEntries(view.on.map((id) => [id, 0])), busy: false, changedForMs: 1e9, ledForMs: 1e9 },
          },
        ],
  })
  let departed = false
  const members = HOSTS.map((id) => ({ name: `n${id}`, id, state: 'alive' }) as unknown as Member)
  const departure = new Departure({
    ...{
      meta: { mutate } as unknown as MetaRanges,
      state: () => state,
      self: HOSTS[0]!,
      log: silentLogger,
      clock: time.clock,
    },
    ...{ landscape, rules: () => rulesFromTexts(null, []), leadsMeta: () => leadsMeta, held: () => view.held },
    names: new Names(() => members),
    depart: () => {
      departed = true
    },
  })
  departure.start()
  return { departure, view, written, state, time, departed: () => departed }
}

test('a node that leaves ends itself when nothing is left on it, and not before', async () => {
  const { departure, view, written, time, departed, state } = world()
  expect(departure.info('nA')).toMatchObject({
    node: 'nA',
    id: 'A',
    state: 'member',
    plan: { replicas: 1, done: false },
  })
  expect(await departure.begin('nA', false)).toMatchObject({ state: 'leaving' })
  await time.run(10_000)
  expect(departed()).toBe(false)
  // Others say that it holds nothing, and its own store knows better; then nothing at all is heard.
  Object.assign(view, { on: ['B', 'C', 'D'] })
  await time.run(10_000)
  Object.assign(view, { held: 0, heard: false })
  await time.run(10_000)
  expect(departed()).toBe(false)
  Object.assign(view, { heard: true })
  await time.run(3_000)
  expect(departed()).toBe(false)
  await time.run(3_000)
  expect(departed()).toBe(true)
  expect(written).toEqual([
    { type: 'leave', host: 'A', leaving: true },
    { type: 'gone', host: 'A' },
  ])
  expect(state.gone.has('A')).toBe(true)
  expect(departure.info('A')).toEqual({ node: 'nA', id: 'A', state: 'gone', plan: null })
  await expect(departure.cancel('A')).rejects.toMatchObject({ code: 'CONFLICT', message: /nA is gone/ })
})

test('what cannot be done is refused, what is worse afterwards needs a yes', async () => {
  const { departure, view, written } = world()
  view.dead = ['B', 'C']
  await expect(departure.begin('nA', true)).rejects.toThrow(/Cannot decommission nA: range "inbox-1" has 1 of 3 voters/)
  Object.assign(view, { dead: [], hosts: HOSTS.slice(0, 3) })
  await expect(departure.begin('nA', false)).rejects.toThrow(
    /nA is not decommissioned without --yes: range "inbox-1" goes/,
  )
  expect(written).toEqual([])
  await departure.begin('nA', true)
  expect(await departure.cancel('nA')).toMatchObject({ state: 'member' })
  expect(departure.info('nA')).toMatchObject({ state: 'member' })
})

test.each([
  [true, ['B'], true],
  [false, ['B'], false],
  [true, [], false],
])(
  'another node that leaves, written off by the leader of the records if it is dead: %j %j',
  async (leads, dead, gone) => {
    const { departure, view, time, state, departed } = world(leads)
    await departure.begin('nB', true)
    Object.assign(view, { dead, on: ['A', 'C', 'D'] })
    await time.run(10_000)
    expect(state.gone.has('B')).toBe(gone)
    expect(departed()).toBe(false)
  },
)
