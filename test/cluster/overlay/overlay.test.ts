import { describe, expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { bucketOf as bucket } from '../../../src/cluster/overlay/core/hint-map.ts'
import type { Delta, Message } from '../../../src/cluster/overlay/core/message.ts'
import { HINT_TTL_MS_MAX, LAN, VALUE_BYTES_MAX } from '../../../src/cluster/overlay/core/options.ts'
import { markOf } from '../../../src/cluster/overlay/core/replica.ts'
import { encodePayload } from '../../../src/cluster/overlay/core/wire.ts'
import { bytes, text } from './sim-overlay.ts'
import { type WiredNode, Wires } from './wires.ts'

const members = (node: WiredNode, agent: string) =>
  node.core.members(agent).map(({ host, metadata }) => `${host} ${text(metadata)}`)
const keys = (node: WiredNode, prefix = '') =>
  node.core.keys(prefix).map(({ host, key, value }) => `${key} ${host} ${text(value)}`)

describe('members and keys', () => {
  test('a member joins, changes and leaves, and everybody hears of it, itself too', () => {
    const wires = new Wires(5)
    const [a, ...others] = wires.nodes
    a!.join('mqtt', '1')
    expect(a!.told()).toEqual(['member-joined mqtt h0'])
    wires.run(500)
    for (const node of others) {
      expect(node.told()).toEqual(['member-joined mqtt h0'])
      expect(members(node, 'mqtt')).toEqual(['h0 1'])
      expect(members(node, 'dist')).toEqual([])
    }
    a!.join('mqtt', '2')
    a!.join('mqtt', '2')
    wires.run(500)
    for (const node of others)
      expect([node.told(), members(node, 'mqtt')]).toEqual([['member-changed mqtt h0'], ['h0 2']])
    a!.step({ type: 'leave', agent: 'mqtt' })
    a!.step({ type: 'leave', agent: 'mqtt' })
    expect(a!.told()).toEqual(['member-changed mqtt h0', 'member-left mqtt h0'])
    wires.run(500)
    for (const node of others) expect([node.told(), members(node, 'mqtt')]).toEqual([['member-left mqtt h0'], []])
  })

  test('keys of one name are of each host its own', () => {
    const wires = new Wires(3)
    for (const node of wires.nodes) node.set('range/1', node.id)
    wires.nodes[0]!.set('other', 'x')
    wires.run(500)
    for (const node of wires.nodes) {
      expect(keys(node, 'range/').sort()).toEqual(['range/1 h0 h0', 'range/1 h1 h1', 'range/1 h2 h2'])
      expect(text(node.core.get('h0' as HostId, 'other')!)).toBe('x')
      expect(node.core.get('h1' as HostId, 'other')).toBeNull()
    }
    wires.nodes[1]!.step({ type: 'delete', key: 'range/1' })
    wires.run(500)
    expect(wires.nodes[0]!.told()).toContain('key-deleted range/1 h1')
    expect(keys(wires.nodes[0]!, 'range/')).toEqual(['range/1 h0 h0', 'range/1 h2 h2'])
  })

  test('writes of one turn leave together, at once', () => {
    const wires = new Wires(2)
    wires.run(5_000)
    wires.sent.length = 0
    for (let i = 0; i < 20; i++) wires.nodes[0]!.set(`k${i}`)
    wires.run(LAN.batchMs)
    // A position, the question, the delta.
    expect(wires.sent.map(({ messages }) => messages.map(({ type }) => type))).toEqual([
      ['digest'],
      ['digest'],
      ['delta'],
    ])
    expect(keys(wires.nodes[1]!)).toHaveLength(20)
  })

  test('what one interval lost comes with the next', () => {
    const wires = new Wires(2)
    wires.passes = () => false
    wires.nodes[0]!.set('k')
    wires.run(10_000)
    expect(keys(wires.nodes[1]!)).toEqual([])
    wires.passes = () => true
    wires.run(LAN.syncIntervalMs * 1.1 + LAN.askTimeoutMs)
    expect(keys(wires.nodes[1]!)).toEqual(['k h0 '])
  })

  test('what was asked for and did not come is asked for again', () => {
    const wires = new Wires(2, { syncIntervalMs: 1e9 })
    wires.run(5_000)
    const [a, b] = wires.nodes
    let lost = 0
    // More than there are rounds of rumours.
    wires.passes = () => !(wires.sent.at(-1)!.messages.some(({ type }) => type === 'delta') && lost++ < 4)
    a!.set('k')
    wires.run(3_000)
    expect([lost, keys(b!)]).toEqual([5, ['k h0 ']])
  })

  test('who hears of news from several asks one of them', () => {
    const wires = new Wires(4, { syncIntervalMs: 1e9 })
    wires.run(5_000)
    const [a, b, c, d] = wires.nodes
    wires.sent.length = 0
    wires.passes = (from) => from === a!.id || from === c!.id
    const positions = [{ mark: markOf(d!.id, 1), version: 1, resetTo: 0 }]
    const payload = encodePayload([{ type: 'digest', asks: true, positions, hints: null }])
    for (const { id: from } of [a!, c!, d!]) b!.step({ type: 'payload', from, payload })
    expect(wires.sent.map(({ to }) => to)).toEqual(['h0'])
    wires.run(LAN.askTimeoutMs + LAN.gossipIntervalMs)
    expect(wires.sent.filter(({ from }) => from === 'h1').map(({ to }) => to)).toEqual(['h0', 'h0'])
  })

  test('more than one answer holds comes in several, one after the other', () => {
    const wires = new Wires(2)
    wires.run(2_000)
    for (let i = 0; i < 30; i++) wires.nodes[0]!.set(`k${i}`, 'x'.repeat(VALUE_BYTES_MAX))
    wires.run(50)
    expect(keys(wires.nodes[1]!)).toHaveLength(30)
    for (const { bytes: payload } of wires.sent) expect(payload.length).toBeLessThanOrEqual(LAN.answerBytesMax + 64)
    const entries = wires.sent.flatMap(({ messages }) => messages).filter((message) => message.type === 'delta')
    expect(entries.flatMap((delta) => delta.entries)).toHaveLength(30)
  })
})

describe('hosts', () => {
  test('entries go with their host, and are asked for again when it is back', () => {
    const wires = new Wires(3)
    const [a, b] = wires.nodes
    b!.join('mqtt')
    b!.set('k')
    wires.run(500)
    a!.told()
    a!.down(b!)
    expect(a!.told()).toEqual(['member-left mqtt h1', 'key-deleted k h1'])
    expect([members(a!, 'mqtt'), keys(a!)]).toEqual([[], []])
    // The third still sees it, and what it tells of it is not used.
    wires.run(5_000)
    expect(keys(a!)).toEqual([])
    a!.up(b!)
    wires.run(50)
    expect(a!.told()).toEqual(['member-joined mqtt h1', 'key-set k h1'])
  })

  test('another life replaces the one before, and relays of that one are not listened to', () => {
    const wires = new Wires(3)
    const [a, b, c] = wires.nodes
    b!.join('mqtt', 'old')
    b!.set('k')
    wires.run(500)
    a!.told()
    const again = { id: b!.id, life: 2 }
    a!.up(again)
    expect(a!.told()).toEqual(['member-left mqtt h1', 'key-deleted k h1'])
    wires.run(5_000)
    expect(keys(c!)).toEqual(['k h1 '])
    const late: Delta = {
      ...{ type: 'delta', host: b!.id, life: 1, from: 0, to: 1, last: 1, forgotten: 0 },
      entries: [{ key: 'kx', value: bytes('1'), version: 1 }],
    }
    a!.step({ type: 'payload', from: c!.id, payload: encodePayload([late]) })
    expect([keys(a!), a!.core.counters.foreignDeltas]).toEqual([[], 1])
    a!.step({ type: 'payload', from: c!.id, payload: encodePayload([{ ...late, life: 2 }]) })
    expect(keys(a!)).toEqual(['x h1 1'])
  })

  test('of hosts that the underlay does not show nothing is taken, whoever sends it', () => {
    const wires = new Wires(2)
    const [a] = wires.nodes
    const delta: Delta = {
      ...{ type: 'delta', host: 'h9' as HostId, life: 1, from: 0, to: 1, last: 1, forgotten: 0 },
      entries: [{ key: 'kx', value: bytes('1'), version: 1 }],
    }
    a!.step({ type: 'payload', from: 'h1' as HostId, payload: encodePayload([delta]) })
    expect(a!.core.counters.foreignDeltas).toBe(1)
    const other: Delta = { ...delta, host: 'h1' as HostId }
    a!.step({ type: 'payload', from: 'h9' as HostId, payload: encodePayload([other]) })
    expect(a!.core.counters.strangers).toBe(1)
    expect(keys(a!)).toEqual([])
    a!.step({ type: 'payload', from: 'h1' as HostId, payload: encodePayload([other]) })
    expect(keys(a!)).toEqual(['x h1 1'])
  })

  test('a new host asks each host for its own entries, so that nothing comes twice', () => {
    const wires = new Wires(8)
    for (const node of wires.nodes) node.set('k', 'x'.repeat(500))
    wires.run(5_000)
    const fresh = wires.nodes[0]!
    for (const node of wires.nodes.slice(1)) fresh.down(node)
    const before = fresh.core.counters.staleDeltas
    for (const node of wires.nodes.slice(1)) fresh.up(node)
    wires.run(LAN.batchMs)
    expect(keys(fresh)).toHaveLength(8)
    expect(fresh.core.counters.staleDeltas).toBe(before)
  })

  test('deletions are forgotten everywhere, and a host that missed one reads all anew', () => {
    const wires = new Wires(3)
    const [a, b, c] = wires.nodes
    for (const key of ['x', 'y', 'z']) a!.set(key)
    wires.run(500)
    wires.passes = (from, to) => from !== c!.id && to !== c!.id
    a!.step({ type: 'delete', key: 'y' })
    wires.run(LAN.tombstoneKeepMs + 5_000)
    expect([a!.core.sizes.entries, b!.core.sizes.entries, c!.core.sizes.entries]).toEqual([2, 2, 3])
    wires.passes = () => true
    c!.told()
    wires.run(2_000)
    expect(c!.told()).toEqual(['key-deleted y h0'])
    expect(c!.core.counters.resets).toBe(1)
  })
})

describe('lies', () => {
  const lie = (fields: Partial<Delta>): Message => ({
    ...{ type: 'delta', host: 'h0' as HostId, life: 1, from: 0, to: 50, last: 50, forgotten: 0 },
    ...{ entries: [{ key: 'kx', value: bytes('lie'), version: 50 }], ...fields },
  })

  test('what somebody tells of a host is put right by that host', () => {
    const wires = new Wires(4)
    const [a, b, ...others] = wires.nodes
    a!.set('x', 'truth')
    wires.run(500)
    b!.step({ type: 'payload', from: 'h2' as HostId, payload: encodePayload([lie({ from: 1 })]) })
    expect(keys(b!)).toEqual(['x h0 lie'])
    wires.run(3_000)
    for (const node of [a!, b!, ...others]) expect(keys(node)).toEqual(['x h0 truth'])
    expect(a!.core.counters.refutations).toBeGreaterThan(0)
  })

  test('nobody writes our entries, and no version of ours is believed that nobody can know', () => {
    const wires = new Wires(2)
    const [a] = wires.nodes
    a!.set('x', 'truth')
    const { version } = { version: 2 ** 47 }
    for (const message of [
      lie({ from: 1, to: version, last: version }),
      { type: 'digest', asks: true, positions: [{ mark: markOf(a!.id, 1), version, resetTo: 0 }], hints: null },
    ] satisfies Message[]) {
      a!.step({ type: 'payload', from: 'h1' as HostId, payload: encodePayload([message]) })
    }
    expect([keys(a!), a!.core.counters.refutations]).toEqual([['x h0 truth'], 0])
  })

  test('a later version of ours than we wrote is answered, whether it is claimed or told', () => {
    const wires = new Wires(2)
    const [a] = wires.nodes
    const claim = (version: number): Message => {
      return { type: 'digest', asks: true, positions: [{ mark: markOf(a!.id, 1), version, resetTo: 0 }], hints: null }
    }
    const hear = (message: Message) => {
      a!.step({ type: 'payload', from: 'h1' as HostId, payload: encodePayload([message]) })
      return a!.core.counters.refutations
    }
    expect([hear(claim(50)), hear(claim(51)), hear(claim(52)), hear(claim(52))]).toEqual([1, 1, 2, 2])
    const to = 60
    expect([hear(lie({ to, last: to })), hear(lie({ to, last: to }))]).toEqual([3, 3])
  })

  test('one payload has one bounded answer, whatever it asks for', () => {
    const wires = new Wires(3)
    const [a] = wires.nodes
    for (let i = 0; i < 20; i++) a!.set(`k${i}`, 'x'.repeat(VALUE_BYTES_MAX))
    for (let i = 0; i < 200; i++) {
      a!.step({ type: 'set-hint', key: `h${i}`, value: new Uint8Array(1_000), ttlMs: HINT_TTL_MS_MAX })
    }
    wires.passes = () => false
    wires.sent.length = 0
    const digest: Message = {
      ...{ type: 'digest', asks: true, hints: [1, 1] },
      positions: Array.from({ length: 500 }, () => ({ mark: markOf(a!.id, 1), version: 0, resetTo: 0 })),
    }
    const sums: Message = { type: 'hint-sums', sums: new Uint32Array(256) }
    const payload = encodePayload([digest, digest, sums, sums, digest])
    a!.step({ type: 'payload', from: 'h1' as HostId, payload })
    const answers = wires.sent.filter(
      ({ to, messages }) => to === 'h1' && messages.some(({ type }) => type === 'delta'),
    )
    expect(answers).toHaveLength(1)
    expect(answers[0]!.bytes.length).toBeLessThanOrEqual(LAN.answerBytesMax + 64)
  })
})

describe('hints', () => {
  test('everybody writes, the last wins, and deletions hold', () => {
    const wires = new Wires(5)
    const set = (node: WiredNode, value: string) =>
      node.step({ type: 'set-hint', key: 'leader', value: bytes(value), ttlMs: 60_000 })
    wires.nodes.forEach((node, at) => {
      wires.run(1)
      set(node, `${at}`)
    })
    wires.run(1_000)
    for (const node of wires.nodes) expect(text(node.core.hint('leader')!)).toBe('4')
    wires.nodes[2]!.step({ type: 'delete-hint', key: 'leader' })
    wires.run(1_000)
    for (const node of wires.nodes) {
      expect([node.core.hint('leader'), node.core.hints('')]).toEqual([null, []])
      expect(node.told().at(-1)).toBe('hint-deleted leader')
    }
  })

  test('they expire everywhere, and outlive their writer', () => {
    const wires = new Wires(3)
    wires.nodes[0]!.step({ type: 'set-hint', key: 'x', value: bytes('1'), ttlMs: 30_000 })
    wires.run(1_000)
    for (const node of wires.nodes.slice(1)) node.down(wires.nodes[0]!)
    wires.run(28_000)
    for (const node of wires.nodes) expect(node.core.hints('')).toHaveLength(1)
    wires.run(3_000)
    for (const node of wires.nodes) {
      expect(node.core.sizes.hints).toBe(0)
      expect(node.told()).toContain('hint-deleted x')
    }
  })

  test('a host that heard of none gets all of them, and gives its own', () => {
    const wires = new Wires(2)
    const [a, b] = wires.nodes
    wires.passes = () => false
    for (let i = 0; i < 300; i++) {
      a!.step({ type: 'set-hint', key: `a${i}`, value: new Uint8Array(900), ttlMs: 600_000 })
    }
    b!.step({ type: 'set-hint', key: 'b', value: bytes('1'), ttlMs: 600_000 })
    wires.run(60_000)
    wires.passes = () => true
    wires.run(10_000)
    for (const node of wires.nodes) expect(node.core.sizes.hints).toBe(301)
    for (const { bytes: payload } of wires.sent) expect(payload.length).toBeLessThanOrEqual(LAN.answerBytesMax + 64)
  })

  test('what a comparison found is not told on: others find it so', () => {
    const wires = new Wires(3)
    const [a, b] = wires.nodes
    wires.passes = () => false
    a!.step({ type: 'set-hint', key: 'x', value: bytes('1'), ttlMs: 600_000 })
    wires.run(60_000)
    wires.passes = () => true
    wires.run(10_000)
    expect(b!.core.hints('')).toHaveLength(1)
    const hints = wires.sent.flatMap(({ from, messages }) => (from === a!.id ? [] : messages))
    expect(hints.filter((message) => message.type === 'hints' && message.news)).toEqual([])
  })

  test('who sends a whole bucket is given what it lacks of it, and only that', () => {
    const wires = new Wires(2)
    const [a, b] = wires.nodes
    const set = (key: string) => a!.step({ type: 'set-hint', key, value: bytes('1'), ttlMs: 600_000 })
    set('x')
    set('y')
    wires.run(5_000)
    wires.sent.length = 0
    wires.passes = () => false
    const push = { type: 'hints', news: false, more: false, hints: [] } as const
    a!.step({ type: 'payload', from: b!.id, payload: encodePayload([{ ...push, buckets: [bucket('x')] }]) })
    a!.step({ type: 'payload', from: b!.id, payload: encodePayload([{ ...push, buckets: [] }]) })
    const given = wires.sent.flatMap(({ messages }) => messages)
    expect(given.map((message) => message.type === 'hints' && message.hints.map(({ key }) => key))).toEqual([['x']])
  })

  test('while there is news, different sums are expected, for a while', () => {
    const wires = new Wires(2)
    const [a, b] = wires.nodes
    a!.step({ type: 'set-hint', key: 'x', value: bytes('1'), ttlMs: 600_000 })
    wires.passes = () => false
    wires.sent.length = 0
    const payload = encodePayload([{ type: 'digest', asks: true, positions: [], hints: [1, 1] }])
    for (let i = 0; i < 5; i++) {
      expect(wires.sent).toEqual([])
      a!.step({ type: 'payload', from: b!.id, payload })
    }
    expect(wires.sent.flatMap(({ messages }) => messages.map(({ type }) => type))).toEqual(['hint-sums'])
  })

  test('more than one answer holds, all of one bucket', () => {
    const wires = new Wires(2, { answerBytesMax: 20_000 })
    const [a, b] = wires.nodes
    wires.passes = () => false
    // 40,000 bytes.
    const mine = Array.from({ length: 20_000 }, (_, i) => `k${i}`).filter((key) => bucket(key) === 7)
    for (const key of mine.slice(0, 40)) {
      a!.step({ type: 'set-hint', key, value: new Uint8Array(1_000), ttlMs: 600_000 })
    }
    wires.run(60_000)
    wires.passes = () => true
    wires.run(60_000)
    expect(b!.core.sizes.hints).toBe(40)
  })
})

test('what is refused', () => {
  const wires = new Wires(1)
  const { core } = wires.nodes[0]!
  const value = bytes('v')
  expect(core.refuses({ type: 'set', key: '', value })).toBe('key')
  expect(core.refuses({ type: 'set', key: 'k'.repeat(257), value })).toBe('key')
  expect(core.refuses({ type: 'set', key: 'é'.repeat(129), value })).toBe('key')
  expect(core.refuses({ type: 'set', key: '\ud800', value })).toBe('key')
  expect(core.refuses({ type: 'set', key: 'é'.repeat(128), value })).toBeNull()
  expect(core.refuses({ type: 'join', agent: '', metadata: value })).toBe('key')
  expect(core.refuses({ type: 'leave', agent: '' })).toBe('key')
  expect(core.refuses({ type: 'delete', key: '' })).toBe('key')
  expect(core.refuses({ type: 'delete-hint', key: '' })).toBe('key')
  expect(core.refuses({ type: 'join', agent: 'a', metadata: new Uint8Array(VALUE_BYTES_MAX + 1) })).toBe('value')
  expect(core.refuses({ type: 'set-hint', key: 'k', value: new Uint8Array(1_025), ttlMs: 1 })).toBe('value')
  for (const ttlMs of [0, -1, 1.5, HINT_TTL_MS_MAX + 1, Number.NaN]) {
    expect(core.refuses({ type: 'set-hint', key: 'k', value, ttlMs })).toBe('ttl')
  }
  expect(core.refuses({ type: 'set-hint', key: 'k', value, ttlMs: HINT_TTL_MS_MAX })).toBeNull()
  for (let i = 0; i < 63; i++) wires.nodes[0]!.set(`k${i}`, 'x'.repeat(VALUE_BYTES_MAX))
  expect(core.refuses({ type: 'set', key: 'z', value: new Uint8Array(VALUE_BYTES_MAX) })).toBe('full')
  expect(core.refuses({ type: 'delete', key: 'k0' })).toBeNull()
  expect(() => wires.nodes[0]!.set('')).toThrow('refused')
})
