import { expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { RULES } from '../../../src/kv/balance/index.ts'
import type { Answerer, Control, Question } from '../../../src/node/cluster/control.ts'
import type { Member } from '../../../src/node/cluster/roster.ts'
import { Gather, PAGE_MAX } from '../../../src/node/ranges/gather.ts'
import { Names } from '../../../src/node/ranges/names.ts'
import type { ToldPage } from '../../../src/node/ranges/views.ts'

function member(name: string, given: Partial<Member> = {}): Member {
  return {
    ...{ name, id: `id-${name}` as HostId, address: '', rpc: null, state: 'alive', since: '', version: '', zone: null },
    ...{ roles: [], incarnation: 1, self: name === 'n1', ...given },
  }
}

const EMPTY: ToldPage = { ranges: [], more: false }

function gatherOf(members: Member[], answer: (to: string) => Promise<object>) {
  const answerers = new Map<string, Answerer>()
  const control = {
    handle: (ask: string, answerer: Answerer) => void answerers.set(ask, answerer),
    ask: (to: HostId) => answer(to),
  } as unknown as Control
  const gather = new Gather({
    ...{ control, members: () => members, names: new Names(() => members), ranges: () => [], heard: () => [] },
    landscape: () => ({ self: null, stores: [], ranges: [] }),
    rules: () => RULES,
    clock: { now: () => 0, monotonic: () => 0, after: () => () => {} },
  })
  return { gather, answered: (question: Question) => answerers.get(question.ask)!(question) as ToldPage }
}

test('who does not answer is named, by the name of its node, and fails nothing', async () => {
  const members = [
    ...[member('n1'), member('n2'), member('n3'), member('n4', { state: 'dead' }), member('n5', { state: 'left' })],
    member('n6', { state: 'suspect' }),
  ]
  const { gather } = gatherOf(members, async (to) => {
    if (to === 'id-n2') throw new BrokerError('TIMEOUT', 'No answer from node "id-n2"')
    return to === 'id-n3' ? EMPTY : { more: 'strange' }
  })
  const { nodes, ranges, next } = await gather.list({ service: null, id: null, after: '', limit: 10 })
  expect(nodes.map(({ name, error }) => [name, error])).toEqual([
    ['n1', null],
    ['n2', 'No answer from node "n2"'],
    ['n3', null],
    ['n4', 'it is dead'],
    ['n6', 'Its answer is not understood'],
  ])
  expect([ranges, next]).toEqual([[], null])
  await expect(gather.range('dist-1')).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: 'There is no range "dist-1", as far as is known without n2, n4, n6',
  })
})

test('what another node asks is bounded', () => {
  const { answered } = gatherOf([member('n1')], async () => EMPTY)
  for (const limit of [PAGE_MAX + 1, -1, 'x', undefined]) expect(answered({ ask: 'ranges', limit })).toEqual(EMPTY)
})

test('nodes by name or id', () => {
  const names = new Names(() => [
    member('n1'),
    member('twin', { id: 'a' as HostId }),
    member('twin', { id: 'b' as HostId }),
  ])
  expect([names.find('n1'), names.find('id-n1'), names.find('b')]).toEqual(['id-n1', 'id-n1', 'b'])
  expect(() => names.find('twin')).toThrow('2 nodes have the name "twin": give the id, one of a, b')
  expect(() => names.find('n9')).toThrow('There is no node "n9"; there are n1, twin')
  expect([names.of('id-n1'), names.of('?')]).toEqual(['n1', '?'])
})
