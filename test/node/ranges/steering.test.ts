import { expect, test } from 'vitest'
import { BALANCERS, rulesFrom } from '../../../src/kv/balance/index.ts'
import { type MetaCommand, MetaObserver, type MetaResponse } from '../../../src/kv/meta/index.ts'
import { formatBalancers, formatRules } from '../../../src/node/cli/balancers.ts'
import type { MetaRanges } from '../../../src/node/ranges/founding.ts'
import { Names } from '../../../src/node/ranges/names.ts'
import { BALANCER_SECTION, rulesOf } from '../../../src/node/ranges/rules.ts'
import { Steering } from '../../../src/node/ranges/steering.ts'

const REPLICATION = { dist: 3, inbox: 5, retain: 3 }

/** A `meta` range that does what it is told, with compare-and-set. */
function world() {
  const { state } = new MetaObserver()
  const written: MetaCommand[] = []
  let raced = false
  const mutate = async (_key: Uint8Array, command: MetaCommand): Promise<MetaResponse> => {
    written.push(command)
    if (command.type !== 'set') throw new Error('Only settings')
    const [change] = command.changes
    const { section, name, value, expected } = change!
    const current = state.setting(section, name)
    if (raced || (current?.version ?? 0) !== expected) {
      return { type: 'refused', reason: 'conflict', detail: 'it has another version', revision: 0, current }
    }
    state.revision++
    if (value === null) state.apply({ type: 'setting-removed', section, name })
    else state.apply({ type: 'setting', setting: { section, name, value, version: state.revision } })
    return { type: 'done', revision: state.revision }
  }
  const steering = new Steering({
    ...{ meta: { mutate } as unknown as MetaRanges, replication: REPLICATION, now: () => 0, state: () => state },
    rules: () => rulesOf(REPLICATION, state),
    landscape: () => ({ self: null, stores: [], ranges: [] }),
    names: new Names(() => []),
  })
  const race = () => {
    raced = true
  }
  return { steering, state, written, race }
}

test('every rule is listed with its source, and reads back as what is in force', () => {
  const { steering, state } = world()
  const rules = steering.rules()
  const find = (name: string) => rules.find((rule) => rule.name === name)
  expect(find('services.inbox.voters')).toEqual({
    ...{ name: 'services.inbox.voters', value: '5', source: 'configuration', otherwise: '5' },
  })
  expect(find('services.dist.learnersOn')).toMatchObject({ value: 'mqtt,inbox', source: 'default' })
  expect(find('services.cluster.learnersOn')).toMatchObject({ value: 'mqtt,dist,inbox,retain,api', source: 'default' })
  expect(find('enabled.merge')).toMatchObject({ value: 'false', source: 'default' })
  const inForce = rulesOf(REPLICATION, state)
  const again = rulesFrom(rules.map(({ name, value }) => [name, value]))
  for (const service of ['cluster', 'dist', 'inbox', 'retain']) {
    expect(again.services[service]).toMatchObject(inForce.services[service]!)
  }
})

test('a rule is set under the version that was seen, and unset to what the configuration says', async () => {
  const { steering, state, written } = world()
  expect(await steering.set('services.inbox.voters', '3')).toMatchObject({ value: '3', source: 'set', otherwise: '5' })
  expect(steering.rules().find(({ name }) => name === 'services.inbox.voters')).toMatchObject({ source: 'set' })
  await steering.set('services.inbox.voters', '7')
  await steering.set('services.dist.preSplit', '61,6d')
  expect(written.map((command) => command.type === 'set' && command.changes[0]!.expected)).toEqual([0, 1, 0])
  const expected = { value: '5', source: 'configuration' }
  expect(await steering.unset('services.inbox.voters')).toMatchObject(expected)
  expect(state.setting(BALANCER_SECTION, 'services.inbox.voters')).toBeNull()
  // Nothing is written where nothing is set.
  expect(await steering.unset('services.inbox.voters')).toMatchObject(expected)
  expect(written).toHaveLength(4)
})

test.each([
  ['services.inbox.voters', '4', /"services.inbox.voters" is 4 and must be 1, 3, 5, 7 or 9/],
  ['enabled.merge', 'yes', /"enabled.merge" is "yes" and must be true or false/],
  ['enabled.catch-up', 'false', /cannot be switched off/],
  ['services.inbox.mergeBytes', '536870912', /must not be above half of splitBytes/],
  ['services.moon.voters', '3', /"services.moon.voters" is no rule; there are enabled.drain, /],
  ['coolDown', '3', /"coolDown" is no rule; there are .*coolDownMs/],
])('%s = %s is refused before anything is proposed', async (name, value, message) => {
  const { steering, written } = world()
  await expect(steering.set(name, value)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  await expect(steering.set(name, value)).rejects.toThrow(message)
  expect(written).toEqual([])
})

test('who was faster is told', async () => {
  const { steering, race } = world()
  race()
  await expect(steering.set('enabled.merge', 'true')).rejects.toMatchObject({
    ...{ code: 'CONFLICT', message: 'Cannot change rule "enabled.merge": it has another version' },
  })
})

test('tables of balancers and rules', async () => {
  const { steering } = world()
  await steering.set('enabled.zones', 'false')
  const list = steering.list()
  expect(list.balancers.map(({ name }) => name)).toEqual([...BALANCERS])
  const plan = [
    { balancer: 'drain', range: 'dist-1', node: 'n1', id: 'A', action: 'transfer', reason: 'n1 pauses' } as const,
  ]
  const shown = formatBalancers({ ...list, plan })
  expect(shown).toMatch(/^BALANCER +STATE +SOURCE +WOULD DO\ndrain +on +default +1\n/)
  expect(shown).toMatch(/^zones +off +set +-$/m)
  expect(shown).toMatch(/^dist-1 +drain +transfer +n1 +n1 pauses$/m)
  expect(formatBalancers(list)).toMatch(/They would do nothing now\.\n$/)
  expect(formatRules(list.rules)).toMatch(/^enabled\.zones +false +set +true$/m)
  expect(formatRules(list.rules)).toMatch(/^services\.retain\.learnersOn +- +default +-$/m)
})
