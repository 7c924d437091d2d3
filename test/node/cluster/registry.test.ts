import { expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import type { Agent, AgentMember, Overlay } from '../../../src/cluster/overlay/index.ts'
import type { HostRecord, Metadata, UnderlayNotice, UnderlayPort } from '../../../src/cluster/underlay/index.ts'
import { OverlayRegistry } from '../../../src/node/cluster/registry.ts'
import type { ServiceInstance } from '../../../src/rpc/index.ts'

const own: ServiceInstance = {
  ...{ service: 'dist', id: 'n1.7', node: 'n1' as HostId, address: '10.0.0.1:7947', version: '1.2.3' },
  ...{ tags: ['zone=a', 'big'], weight: 2, draining: false, load: 0.5 },
}

/** An overlay of one agent a name, and an underlay with two hosts. */
function world() {
  const members = new Map<string, Map<string, Metadata>>()
  const watchers = new Set<() => void>()
  const join = (agent: string, node: string, metadata: Metadata | null) => {
    const group = members.get(agent) ?? new Map<string, Metadata>()
    members.set(agent, group)
    if (metadata === null) group.delete(node)
    else group.set(node, metadata)
    for (const watcher of watchers) watcher()
  }
  const agent = (name: string) =>
    ({
      join: (metadata: Metadata) => join(name, 'n1', metadata),
      leave: () => join(name, 'n1', null),
      members: () =>
        [...(members.get(name) ?? [])].map(([node, metadata]) => ({ host: node, metadata }) as AgentMember),
      watch: (watcher: () => void) => {
        watchers.add(watcher)
        return () => watchers.delete(watcher)
      },
    }) as unknown as Agent
  const addresses: Record<string, string> = { n1: '10.0.0.1:7946', n2: '10.0.0.2:7946' }
  const record = (node: string): HostRecord | null =>
    addresses[node] === undefined
      ? null
      : ({ id: node, address: addresses[node], metadata: new Map([['rpc', '7947']]) } as unknown as HostRecord)
  let listener: (notice: UnderlayNotice) => void = () => {}
  const underlay = {
    self: record('n1')!,
    member: record,
    on: (given: typeof listener) => {
      listener = given
      return () => {
        listener = () => {}
      }
    },
  } as unknown as UnderlayPort
  const registry = new OverlayRegistry({ agent } as unknown as Overlay, underlay)
  return {
    registry,
    join,
    moves: (node: string, address: string) => {
      addresses[node] = address
      const host = { ...record(node)!, state: 'alive', stateIncarnation: 1 } as const
      listener({ type: 'changed', host, previous: host })
    },
  }
}

test('what is announced is what is found, and the same until it changes', () => {
  const { registry } = world()
  const changes: string[] = []
  const end = registry.watch('dist', () => changes.push('dist'))
  expect(registry.instances('dist')).toEqual([])
  registry.announce(own)
  expect(registry.instances('dist')).toEqual([own])
  expect(registry.instances('dist')).toBe(registry.instances('dist'))
  registry.announce({ ...own, draining: true, tags: [] })
  expect(registry.instances('dist')).toEqual([{ ...own, draining: true, tags: [] }])
  expect(registry.instances('inbox')).toEqual([])
  registry.withdraw('dist')
  expect(registry.instances('dist')).toEqual([])
  expect(changes).toEqual(['dist', 'dist', 'dist'])
  end()
  registry.announce(own)
  expect(changes).toHaveLength(3)
})

test('an instance is where its host is', () => {
  const { registry, join, moves } = world()
  join('dist', 'n2', new Map([['id', 'n2.1']]))
  const found = { service: 'dist', id: 'n2.1', node: 'n2', address: '10.0.0.2:7947', version: '' }
  expect(registry.instances('dist')).toEqual([{ ...found, tags: [], weight: 1, draining: false, load: 0 }])
  const changes: string[] = []
  registry.watch('dist', () => changes.push('dist'))
  moves('n2', '10.0.0.3:7946')
  expect(registry.instances('dist')[0]!.address).toBe('10.0.0.3:7947')
  expect(changes).toEqual(['dist'])
})

test('what is not understood is left out, or stands for nothing told', () => {
  const { registry, join } = world()
  join('dist', 'n2', new Map())
  join('dist', 'gone', new Map([['id', 'x']]))
  expect(registry.instances('dist')).toEqual([])
  const odd: [string, string][] = [
    ['id', 'x'],
    ['weight', '-1'],
    ['load', 'much'],
    ['draining', '1'],
  ]
  join('dist', 'n2', new Map(odd))
  expect(registry.instances('dist')).toMatchObject([{ weight: 1, load: 0, draining: false }])
})
