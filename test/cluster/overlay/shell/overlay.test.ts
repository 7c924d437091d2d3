import { expect, test } from 'vitest'
import { BrokerError } from '../../../../src/base/errors.ts'
import type { HostId } from '../../../../src/base/ids.ts'
import type { MetricSink } from '../../../../src/base/metrics.ts'
import { encodePayload } from '../../../../src/cluster/overlay/core/wire.ts'
import { Overlay } from '../../../../src/cluster/overlay/index.ts'
import { World } from '../../../sim/world.ts'
import { bytes, text } from '../sim-overlay.ts'
import { FakeUnderlay } from './fake-underlay.ts'

function pair(): { world: World; nodes: { underlay: FakeUnderlay; overlay: Overlay }[] } {
  const world = new World({ seed: 1 })
  const underlays = [new FakeUnderlay('h0'), new FakeUnderlay('h1')]
  for (const underlay of underlays) for (const peer of underlays) underlay.peers.set(peer.self.id, peer)
  // One is seen before the overlay is there, the other afterwards.
  underlays[0]!.sees('h1', 'alive', 'joined')
  const nodes = underlays.map((underlay) => ({
    underlay,
    overlay: new Overlay({ underlay, clock: world.clock, random: world.random }),
  }))
  underlays[1]!.sees('h0', 'alive', 'joined')
  return { world, nodes }
}

function figures(overlay: Overlay): Map<string, number> {
  const found = new Map<string, number>()
  const take = (name: string, _: string, value: number, labels: object = {}) => {
    found.set([name, ...Object.values(labels)].join(' '), value)
  }
  overlay.collect({ counter: take, gauge: take, histogram: () => {} } satisfies MetricSink)
  return found
}

test('an agent: join, update, leave, seen and watched by the other', async () => {
  const { world, nodes } = pair()
  const [mine, theirs] = nodes.map(({ overlay }) => overlay.agent('mqtt'))
  const seen: string[] = []
  const end = theirs!.watch((event) => {
    if (event.type === 'left') seen.push(`left ${event.host}`)
    else
      seen.push(`${event.type} ${event.member.host} ${event.member.metadata.get('v')} of ${theirs!.members().length}`)
  })
  theirs!.join(new Map([['v', '0']]))
  mine!.join(new Map([['v', '1']]))
  expect([mine!.joined, nodes[0]!.overlay.agent('mqtt') === mine]).toEqual([true, true])
  await world.run(1_000)
  mine!.update(new Map([['v', '2']]))
  await world.run(1_000)
  expect(theirs!.members().map(({ host, metadata }) => `${host} ${metadata.get('v')}`)).toEqual(['h0 2', 'h1 0'])
  expect(theirs!.members()).toBe(theirs!.members())
  mine!.leave()
  await world.run(1_000)
  end()
  theirs!.leave()
  await world.run(1_000)
  expect(seen).toEqual(['joined h1 0 of 1', 'joined h0 1 of 2', 'changed h0 2 of 2', 'left h0'])
  expect([mine!.joined, mine!.members()]).toEqual([false, []])
})

test('an agent that is asked for later knows who is there', async () => {
  const { world, nodes } = pair()
  nodes[0]!.overlay.agent('mqtt').join(new Map([['v', '1']]))
  await world.run(1_000)
  expect(nodes[1]!.overlay.agent('mqtt').members()).toEqual([{ host: 'h0', metadata: new Map([['v', '1']]) }])
})

test('members follow the life of their hosts; a suspect stays', async () => {
  const { world, nodes } = pair()
  nodes[1]!.overlay.agent('mqtt').join(new Map())
  await world.run(1_000)
  const { underlay, overlay } = nodes[0]!
  const agent = overlay.agent('mqtt')
  const seen: string[] = []
  agent.watch((event) => seen.push(event.type))
  underlay.sees('h1', 'suspect', 'suspect')
  expect(agent.members()).toHaveLength(1)
  underlay.sees('h1', 'dead', 'dead')
  expect(agent.members()).toHaveLength(0)
  underlay.sees('h1', 'alive', 'alive')
  await world.run(1_000)
  underlay.sees('h1', 'left', 'left')
  underlay.sees('h1', 'dead', 'restarted', 2)
  await world.run(5_000)
  expect(seen).toEqual(['left', 'joined', 'left'])
})

test('keys and hints are watched by prefix, and copied', async () => {
  const { world, nodes } = pair()
  const [a, b] = nodes.map(({ overlay }) => overlay)
  const seen: string[] = []
  b!.keys.watch('range/', (event) =>
    seen.push(`${event.type} ${event.host} ${event.key} ${event.type === 'set' ? text(event.value) : ''}`),
  )
  const end = b!.hints.watch('leader/', (event) =>
    seen.push(`${event.type} ${event.key} ${event.type === 'set' ? `${text(event.value)} by ${event.by}` : ''}`),
  )
  const value = bytes('1')
  a!.keys.set('range/1', value)
  a!.keys.set('other', value)
  a!.hints.set('leader/1', value, 60_000)
  a!.hints.set('other', value, 60_000)
  value.fill(0)
  await world.run(1_000)
  expect(seen.sort()).toEqual(['set h0 range/1 1', 'set leader/1 1 by h0'])
  expect(text(b!.keys.get('h0' as HostId, 'range/1')!)).toBe('1')
  expect(b!.keys.entries('range/')).toHaveLength(1)
  expect(text(b!.hints.get('leader/1')!)).toBe('1')
  expect(b!.hints.entries('')).toHaveLength(2)
  seen.length = 0
  a!.keys.delete('range/1')
  a!.hints.delete('leader/1')
  await world.run(1_000)
  end()
  a!.hints.set('leader/2', value, 60_000)
  await world.run(1_000)
  expect(seen.sort()).toEqual(['deleted h0 range/1 ', 'deleted leader/1 '])
})

test('a watcher that writes is told of it after what was before', () => {
  const { nodes } = pair()
  const { keys } = nodes[0]!.overlay
  const seen: string[] = []
  keys.watch('', ({ key }) => {
    seen.push(key)
    if (key === 'a') keys.set('b', bytes(''))
  })
  keys.watch('', ({ key }) => seen.push(`second ${key}`))
  keys.set('a', bytes(''))
  expect(seen).toEqual(['a', 'second a', 'b', 'second b'])
})

test('an agent can be joined and changed at once, also by a watcher', () => {
  const { nodes } = pair()
  const { overlay } = nodes[0]!
  const agent = overlay.agent('mqtt')
  overlay.keys.watch('', () => {
    agent.join(new Map())
    agent.update(new Map([['v', '1']]))
  })
  overlay.keys.set('a', bytes(''))
  expect(agent.members()).toEqual([{ host: 'h0', metadata: new Map([['v', '1']]) }])
})

test('what cannot be written is an error that says why', () => {
  const { overlay } = pair().nodes[0]!
  const failed = (write: () => void) => {
    try {
      write()
    } catch (error) {
      return [(error as BrokerError).code, (error as Error).message]
    }
    return null
  }
  expect(failed(() => overlay.agent('mqtt').update(new Map()))).toEqual([
    'INVALID_ARGUMENT',
    'Cannot change the metadata in agent "mqtt": this host has not joined it; join first',
  ])
  expect(failed(() => overlay.keys.set('', bytes('')))).toEqual([
    'INVALID_ARGUMENT',
    'Cannot set "" on the overlay: names have 1 to 256 bytes of well-formed text',
  ])
  expect(failed(() => overlay.keys.set('k', new Uint8Array(16_385)))?.[0]).toBe('INVALID_ARGUMENT')
  expect(failed(() => overlay.hints.set('k', bytes(''), 0))?.[1]).toContain('1 ms to 1 h')
  const fill = () => {
    for (let i = 0; i < 70; i++) overlay.keys.set(`k${i}`, new Uint8Array(16_384))
  }
  expect(failed(fill)?.[0]).toBe('QUOTA_EXCEEDED')
  expect(failed(() => overlay.keys.delete('k0'))).toBeNull()
  expect(new BrokerError('QUOTA_EXCEEDED', '')).toBeInstanceOf(Error)
})

test('metadata of another version are none, and counted', () => {
  const { underlay, overlay } = pair().nodes[0]!
  const entry = { key: 'amqtt', value: bytes('\u0005x'), version: 1 }
  const delta = { type: 'delta', host: 'h1' as HostId, life: 1, from: 0, to: 1, last: 1, forgotten: 0 } as const
  overlay.agent('mqtt')
  underlay.receive('h1' as HostId, encodePayload([{ ...delta, entries: [entry] }]))
  expect(overlay.agent('mqtt').members()).toEqual([{ host: 'h1', metadata: new Map() }])
  underlay.receive('h1' as HostId, bytes('noise'))
  const found = figures(overlay)
  expect(found.get('flockmq_overlay_refused_total malformed_metadata')).toBe(1)
  expect(found.get('flockmq_overlay_refused_total malformed')).toBe(1)
  expect(found.get('flockmq_overlay_hosts')).toBe(1)
  expect(found.get('flockmq_overlay_entries')).toBe(1)
})

test('a stopped one is silent', async () => {
  const { world, nodes } = pair()
  const { underlay, overlay } = nodes[0]!
  overlay.keys.set('a', bytes(''))
  await world.run(1_000)
  overlay.stop()
  expect(underlay.listeners).toBe(0)
  underlay.sent.length = 0
  overlay.keys.set('b', bytes(''))
  await world.run(5_000)
  expect(underlay.sent).toEqual([])
  expect(overlay.keys.entries('')).toHaveLength(1)
})
