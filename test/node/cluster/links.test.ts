import { expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import type { Address, HostView, UnderlayNotice, UnderlayPort } from '../../../src/cluster/underlay/index.ts'
import { joinPeers } from '../../../src/node/cluster/links.ts'
import type { LinkKind, LinkState, Peers } from '../../../src/rpc/index.ts'

const id = (name: string) => name as HostId

function host(name: string, state: HostView['state'], rpc: string | null = '7947'): HostView {
  const metadata = new Map(rpc === null ? [] : [['rpc', rpc]])
  const address = '10.0.0.1:7946' as Address
  return { id: id(name), incarnation: 1, stateIncarnation: 1, life: 1, address, metadata, state }
}

/** Both sides, which write down what they are told. */
function world(members: HostView[] = []) {
  const told: string[] = []
  let notice: ((notice: UnderlayNotice) => void) | null = null
  let link: ((node: HostId, kind: LinkKind, state: LinkState) => void) | null = null
  const underlay = {
    members: () => members,
    on: (listener: typeof notice) => {
      notice = listener
      return () => {
        notice = null
      }
    },
    doubt: (node: HostId) => told.push(`doubt ${node}`),
  } as unknown as UnderlayPort
  const peers = {
    join: ({ node, address }) => told.push(`join ${node} ${address}`),
    alive: (node) => told.push(`alive ${node}`),
    forget: (node) => told.push(`forget ${node}`),
    watchLinks: (watcher) => {
      link = watcher
      return () => {
        link = null
      }
    },
  } as Partial<Peers> as Peers
  const end = joinPeers(underlay, peers)
  return {
    told: () => told.splice(0),
    hear: (heard: UnderlayNotice) => notice?.(heard),
    link: (node: string, state: LinkState) => link?.(id(node), 'raft', state),
    end,
  }
}

test('hosts that are there already are peers', () => {
  const { told } = world([host('a', 'alive'), host('b', 'dead', '10.0.0.9:1'), host('c', 'left')])
  expect(told()).toEqual(['join a 10.0.0.1:7947', 'alive a', 'join b 10.0.0.9:1'])
})

test('news of hosts reach the links', () => {
  const { told, hear } = world()
  hear({ type: 'joined', host: host('a', 'alive', null) })
  expect(told()).toEqual(['alive a'])
  hear({ type: 'changed', host: host('a', 'alive'), previous: host('a', 'alive', null) })
  expect(told()).toEqual(['join a 10.0.0.1:7947', 'alive a'])
  hear({ type: 'suspect', host: host('a', 'suspect'), by: id('b') })
  hear({ type: 'dead', host: host('a', 'dead'), by: id('b') })
  expect(told()).toEqual([])
  hear({ type: 'restarted', host: host('a', 'alive', '7000'), previous: host('a', 'dead') })
  expect(told()).toEqual(['join a 10.0.0.1:7000', 'alive a'])
  hear({ type: 'alive', host: host('a', 'alive', '7000'), previous: host('a', 'dead') })
  expect(told()).toEqual(['join a 10.0.0.1:7000', 'alive a'])
  hear({ type: 'left', host: host('a', 'left') })
  hear({ type: 'forgotten', host: host('b', 'dead') })
  expect(told()).toEqual(['forget a', 'forget b'])
  hear({ type: 'stalled', lateMs: 5 })
  expect(told()).toEqual([])
})

test('a link that breaks makes the underlay look; after the end nobody is told', () => {
  const { told, hear, link, end } = world()
  for (const state of ['connecting', 'open', 'refused', 'idle'] as const) link('a', state)
  expect(told()).toEqual([])
  link('a', 'waiting')
  expect(told()).toEqual(['doubt a'])
  end()
  link('a', 'waiting')
  hear({ type: 'left', host: host('a', 'left') })
  expect(told()).toEqual([])
})
