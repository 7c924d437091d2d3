import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import {
  balance,
  checkRules,
  decommissionPlan,
  explain,
  RULES,
  type Rules,
  type RuleText,
  rulesFrom,
} from '../../../src/kv/balance/index.ts'
import { Cluster } from './model.ts'

describe('rules that make no sense are refused by name', () => {
  const cases: [string, Partial<Rules>][] = [
    ['enabled.nothing', { enabled: { nothing: true } as never }],
    ['enabled.catch-up', { enabled: { 'catch-up': false } }],
    ['coolDownMs', { coolDownMs: -1 }],
    ['copiesMax', { copiesMax: 0 }],
    ['copiesPerStoreMax', { copiesPerStoreMax: 0 }],
    ['proposalsMax', { proposalsMax: 0 }],
    ['services.inbox.voters', { services: { inbox: { voters: 4 } } }],
    ['services.inbox.voters', { services: { inbox: { voters: 11 } } }],
    ['services.inbox.rangesMax', { services: { inbox: { rangesMax: 0 } } }],
    ['services.inbox.splitBytes', { services: { inbox: { splitBytes: 0 } } }],
    ['services.inbox.splitLoad', { services: { inbox: { splitLoad: Number.NaN } } }],
    ['services.inbox.mergeBytes', { services: { inbox: { splitBytes: 100, mergeBytes: 51 } } }],
    ['services.inbox.preSplit', { services: { inbox: { rangesMax: 1, preSplit: [new Uint8Array(1)] } } }],
  ]
  test.each(cases)('%s', (name, rules) => {
    expect(() => checkRules({ ...RULES, ...rules })).toThrow(BrokerError)
    expect(() => checkRules({ ...RULES, ...rules })).toThrow(`"${name}"`)
  })

  test('the defaults are fine', () => {
    expect(() => checkRules(RULES)).not.toThrow()
  })
})

describe('rules as text', () => {
  test('take the place of the built-in ones', () => {
    expect(rulesFrom([])).toEqual(RULES)
    const rules = rulesFrom([
      ['enabled.merge', 'true'],
      ['enabled.zones', 'false'],
      ['coolDownMs', '60000'],
      ['services.dist.voters', '5'],
      ['services.dist.learnersOn', ''],
      ['services.inbox.preSplit', '61,6D00'],
      ['services.inbox.learnersOn', 'mqtt,dist'],
    ])
    expect(rules).toMatchObject({ enabled: { merge: true, zones: false }, coolDownMs: 60_000, copiesMax: 8 })
    expect(rules.services.dist).toEqual({ voters: 5, learnersOn: [] })
    const preSplit = [Uint8Array.of(0x61), Uint8Array.of(0x6d, 0)]
    expect(rules.services.inbox).toEqual({ preSplit, learnersOn: ['mqtt', 'dist'] })
    expect(rules.services.cluster).toEqual(RULES.services.cluster)
    expect(rulesFrom([])).toEqual(RULES)
  })

  const cases: RuleText[] = [
    ['enabled.merge', 'yes'],
    ['enabled.nothing', 'true'],
    ['enabled', 'true'],
    ['enabled.merge.now', 'true'],
    ['enabled.catch-up', 'false'],
    ['services', '3'],
    ['services.inbox', '3'],
    ['services..voters', '3'],
    ['services.__proto__.voters', '3'],
    ['services.inbox.toString', '3'],
    ['services.inbox.voters', 'three'],
    ['services.inbox.voters', '2'],
    ['services.inbox.voters.x', '3'],
    ['services.inbox.preSplit', '6'],
    ['services.inbox.preSplit', 'xy'],
    ['coolDownMs', '-1'],
    ['coolDownMs', '1e3'],
    ['coolDownMs.x', '1'],
    ['constructor', '1'],
    ['', ''],
  ]
  test.each(cases)('%s=%s is refused by name', (name, text) => {
    expect(() => rulesFrom([[name, text]])).toThrow(BrokerError)
    expect(() => rulesFrom([[name, text]])).toThrow(`Cannot balance by these rules: "${name}"`)
  })
})

test('one round has no more proposals than the rule allows, but a draining store is emptied at once', () => {
  const cluster = new Cluster()
  for (const id of ['n1', 'n2', 'n3', 'n4']) cluster.addStore(id)
  for (let i = 0; i < 20; i++) cluster.addRange(`r${i}`, 'inbox', ['n1', 'n2', 'n3'])
  const plan = () => balance(cluster.landscape(), cluster.nowMs, { ...RULES, proposalsMax: 3 })
  expect(plan()).toHaveLength(3)
  cluster.stores.get('n1')!.draining = true
  expect(plan().filter(({ balancer }) => balancer === 'drain')).toHaveLength(20)
})

test('a range whose change never succeeds does not hold up the others for ever', () => {
  const cluster = new Cluster()
  for (const id of ['n1', 'n2', 'n3', 'n4']) cluster.addStore(id)
  for (let i = 0; i < 5; i++) cluster.addRange(`r${i}`, 'inbox', ['n1', 'n2', 'n3'])
  Object.assign(cluster.stores.get('n3')!, { alive: false, deadForMs: 3_600_000 })
  const first = (nowMs: number) => balance(cluster.landscape(), nowMs, { ...RULES, proposalsMax: 1 })[0]!.range
  const turns = [0, 1, 2, 3, 4, 5].map((minute) => first(minute * 60_000))
  expect(turns).toEqual(['r0', 'r1', 'r2', 'r3', 'r4', 'r0'])
})

test('of three cold neighbours two are merged, whichever has its turn', () => {
  const cluster = new Cluster()
  for (const id of ['n1', 'n2', 'n3']) cluster.addStore(id)
  const keys = [undefined, Uint8Array.of(1), Uint8Array.of(2), undefined]
  for (let i = 0; i < 3; i++) {
    const range = cluster.addRange(`r${i}`, 'inbox', ['n1', 'n2', 'n3'])
    range.descriptor = { ...range.descriptor, start: keys[i], end: keys[i + 1] }
  }
  const rules = { ...RULES, enabled: { merge: true, 'leader-spread': false } }
  const merged = (minute: number) => balance(cluster.landscape(), minute * 60_000, rules).map(({ range }) => range)
  expect([0, 1, 2].map(merged)).toEqual([['r0'], ['r1'], ['r0']])
})

test('a store that nobody speaks of is neither used nor replaced', () => {
  const cluster = new Cluster()
  for (const id of ['n1', 'n2', 'n4']) cluster.addStore(id)
  cluster.addRange('r1', 'inbox', ['n1', 'n2', 'n3'])
  expect(balance(cluster.landscape(), 0, RULES)).toEqual([])
  expect(explain(cluster.landscape(), 0, RULES, 'r1')).toContain('voter on n3: unknown store')
  expect(explain(cluster.landscape(), 0, RULES, 'r2')).toEqual(['No store speaks of range "r2"'])
})

test('a store that holds nothing may go at once', () => {
  const cluster = new Cluster()
  for (const id of ['n1', 'n2']) cluster.addStore(id)
  cluster.addRange('r1', 'inbox', ['n1'])
  expect(decommissionPlan(cluster.landscape(), 0, RULES, 'n2')).toMatchObject({ done: true, refused: [], replicas: 0 })
})
