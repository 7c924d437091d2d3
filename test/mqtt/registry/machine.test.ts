import { expect, test } from 'vitest'
import { Rendezvous } from '../../../src/mqtt/registry/hash.ts'
import type { ClientMessage } from '../../../src/mqtt/registry/message.ts'
import { ClientRegistry } from '../../../src/mqtt/registry/registry.ts'

const MEMBERS = ['n1', 'n2', 'n3']
const ownerOf = (key: string) => new Rendezvous(MEMBERS).ownerOf(key)!
/** A key that falls to the node. */
const keyOf = (owner: string, from = 0) => {
  for (let i = from; ; i++) if (ownerOf(`c${i}`) === owner) return `c${i}`
}

function machine(name = 'n1') {
  const registry = new ClientRegistry<string>(name, 1)
  registry.setMembers(MEMBERS, 0)
  /** What it says since the last look, but digests. */
  const said = () => {
    const lines: string[] = []
    for (const [to, messages] of registry.messages()) {
      for (const message of messages) {
        if (message.type === 'digest') continue
        const fields = Object.entries(message).flatMap(([name, value]) =>
          name === 'type' || name === 'key' ? [] : [value],
        )
        lines.push([to, message.type, ...fields].join(' '))
      }
    }
    const { granted, refused, evicted } = registry.outcomes()
    for (const token of granted) lines.push(`granted ${token}`)
    for (const token of refused) lines.push(`refused ${token}`)
    for (const token of evicted) lines.push(`evicted ${token}`)
    return lines
  }
  const hear = (from: string, message: ClientMessage, nowMs = 0, run = 1) =>
    registry.received(from, run, [message], nowMs)
  return { registry, said, hear }
}

test('of two with one time the node decides, in whatever order they come', () => {
  for (const [first, second] of [
    ['n2', 'n3'],
    ['n3', 'n2'],
  ] as const) {
    const { said, hear } = machine()
    const key = keyOf('n1')
    hear(first, { type: 'claim', key, time: 5, fresh: false })
    hear(second, { type: 'claim', key, time: 5, fresh: false })
    expect(said()).toEqual(['n2 close 5'])
  }
})

test('a CONNECT is granted as soon as the one before is withdrawn', () => {
  const { said, hear } = machine()
  const key = keyOf('n1')
  hear('n2', { type: 'claim', key, time: 5, fresh: true })
  hear('n3', { type: 'claim', key, time: 6, fresh: true })
  expect(said()).toEqual(['n2 granted 5', 'n2 close 5'])
  hear('n2', { type: 'withdraw', key, time: 5 })
  expect(said()).toEqual(['n3 granted 6'])
})

test('of two CONNECTs that both wait the later stays', () => {
  const { said, hear } = machine()
  const key = keyOf('n1')
  hear('n2', { type: 'claim', key, time: 1, fresh: false })
  hear('n3', { type: 'claim', key, time: 9, fresh: true })
  hear('n2', { type: 'claim', key, time: 8, fresh: true })
  expect(said()).toEqual(['n2 close 1', 'n2 close 8'])
  hear('n2', { type: 'withdraw', key, time: 1 })
  hear('n2', { type: 'withdraw', key, time: 8 })
  expect(said()).toEqual(['n3 granted 9'])
})

test('a claim that is repeated is answered again', () => {
  const { said, hear } = machine()
  const key = keyOf('n1')
  for (let i = 0; i < 2; i++) {
    hear('n2', { type: 'claim', key, time: 5, fresh: true })
    expect(said()).toEqual(['n2 granted 5'])
  }
})

test('what an earlier run of a node says does not count', () => {
  const { registry, said, hear } = machine()
  const key = keyOf('n1')
  hear('n2', { type: 'claim', key, time: 5, fresh: true }, 0, 2)
  hear('n2', { type: 'claim', key, time: 9, fresh: true }, 0, 1)
  hear('n2', { type: 'reset' }, 0, 1)
  expect([registry.owned, registry.stale, said()]).toEqual([1, 2, ['n2 granted 5']])
  hear('n2', { type: 'claim', key, time: 3, fresh: true }, 0, 3)
  expect(said()).toEqual(['n2 granted 3'])
})

test('a newer connection of the same node takes its claim along; the older one releases nothing', () => {
  const { registry, said } = machine()
  const key = keyOf('n2')
  registry.claim(key, 'old', 50, 0)
  // The clock went back: the later CONNECT counts as later all the same.
  registry.claim(key, 'new', 40, 0)
  expect(said()).toEqual(['n2 claim 50 true', 'n2 withdraw 50', 'n2 claim 51 true'])
  registry.release(key, 'old', 0)
  expect([said(), registry.held]).toEqual([[], 1])
  registry.release(key, 'new', 0)
  expect([said(), registry.held]).toEqual([['n2 withdraw 51'], 0])
})

test('only the owner of now, and only once, closes a connection', () => {
  const { registry, said, hear } = machine()
  const key = keyOf('n2')
  registry.claim(key, 'c', 5, 0)
  hear('n2', { type: 'granted', key, time: 5 })
  expect(said()).toEqual(['n2 claim 5 true', 'granted c'])
  hear('n3', { type: 'close', key, time: 5 })
  hear('n2', { type: 'close', key, time: 4 })
  expect(said()).toEqual([])
  for (let i = 0; i < 2; i++) hear('n2', { type: 'close', key, time: 5 })
  expect(said()).toEqual(['evicted c'])
})

test('a CONNECT whose owner is gone is claimed elsewhere at once; a gone owner is told nothing', () => {
  const { registry, said, hear } = machine()
  const key = keyOf('n2')
  registry.claim(key, 'c', 5, 0)
  said()
  registry.setMembers(['n1', 'n3'], 0)
  const elsewhere = new Rendezvous(['n1', 'n3']).ownerOf(key)!
  expect(said()).toEqual(elsewhere === 'n1' ? ['granted c'] : ['n3 claim 5 true'])
  if (elsewhere === 'n3') hear('n3', { type: 'granted', key, time: 5 })
  said()
  // It is back: what it may know of before is of no use.
  registry.setMembers(MEMBERS, 0)
  registry.tick(200)
  expect(said()).toEqual([...(elsewhere === 'n3' ? ['n3 withdraw 5'] : []), 'n2 claim 5 false'])
})

test('after a reset nothing is taken back that was claimed before it', () => {
  const { registry, said, hear } = machine()
  const key = keyOf('n2')
  registry.claim(key, 'c', 5, 0)
  hear('n2', { type: 'granted', key, time: 5 })
  said()
  hear('n2', { type: 'resync' })
  registry.release(key, 'c', 0)
  expect(said()).toEqual(['n2 reset'])
  registry.claim(key, 'd', 6, 0)
  registry.tick(200)
  expect(said()).toEqual(['n2 claim 6 true'])
})

test('a clock that is behind takes a later time, a bounded number of times', () => {
  const { registry, said, hear } = machine()
  const key = keyOf('n2')
  registry.claim(key, 'c', 5, 0)
  said()
  for (let time = 5; time < 13; time++) {
    hear('n2', { type: 'behind', key, time, by: time })
    expect(said()).toEqual([`n2 withdraw ${time}`, `n2 claim ${time + 1} true`])
  }
  hear('n2', { type: 'behind', key, time: 13, by: 13 })
  expect(said()).toEqual(['refused c'])
})
