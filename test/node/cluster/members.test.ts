import { expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { metadataBytes } from '../../../src/cluster/underlay/core/index.ts'
import type { Address, HostRecord } from '../../../src/cluster/underlay/index.ts'
import { METADATA_BYTES_MAX } from '../../../src/cluster/underlay/index.ts'
import { formatMembers } from '../../../src/node/cli/members.ts'
import { identityOf, metadataOf, rpcAddressOf } from '../../../src/node/cluster/identity.ts'
import type { Member } from '../../../src/node/cluster/roster.ts'

const NOW = Date.parse('2026-01-02T03:04:05Z')

function member(given: Partial<Member>): Member {
  return {
    ...{ name: 'n1', id: '0123456789abcdef' as HostId, address: '10.0.0.1:7946', rpc: '10.0.0.1:7947', state: 'alive' },
    ...{ since: new Date(NOW - 5_000).toISOString(), version: '0.1.0', zone: null, roles: ['mqtt', 'dist'] },
    ...{ incarnation: 3, self: false, ...given },
  }
}

test('the table of members', () => {
  const members = [
    member({ self: true }),
    member({ name: 'a-longer-name', state: 'suspect', zone: 'eu', rpc: null, since: new Date(NOW).toISOString() }),
    member({ name: 'x', state: 'dead', since: new Date(NOW - 93_784_000).toISOString() }),
  ]
  expect(formatMembers({ cluster: { name: 'c', id: 'i' }, members }, NOW)).toBe(
    `cluster c (i): 3 known, 1 alive, * is the node that was asked
NAME           ID        STATE    SINCE  ADDRESS        RPC            VERSION  ZONE  ROLES      INCARNATION
n1*            01234567  alive    5s     10.0.0.1:7946  10.0.0.1:7947  0.1.0    -     mqtt,dist  3
a-longer-name  01234567  suspect  0s     10.0.0.1:7946  -              0.1.0    eu    mqtt,dist  3
x              01234567  dead     1d2h   10.0.0.1:7946  10.0.0.1:7947  0.1.0    -     mqtt,dist  3
`,
  )
  expect(formatMembers({ cluster: { name: 'c', id: null }, members: [] }, NOW)).toMatch(/^cluster c \(not formed yet/)
})

test.each([
  [0, '0s'],
  [61_000, '1m1s'],
  [3_600_000, '1h0m'],
  [-5_000, '0s'],
])('%d ms are %s', (ms, text) => {
  const members = [member({ since: new Date(NOW - ms).toISOString() })]
  expect(formatMembers({ cluster: { name: 'c', id: 'i' }, members }, NOW)).toContain(` ${text} `)
})

const record = (metadata: ReadonlyMap<string, string>, address = '10.0.0.1:7946'): HostRecord => {
  return { id: 'h' as HostId, incarnation: 1, life: 1, address: address as Address, metadata }
}

test('what a node tells of itself comes back; the longest fits', () => {
  const identity = { name: 'n', version: '1', zone: 'z', roles: ['mqtt', 'dist'], rpc: '7947' }
  expect(identityOf(record(metadataOf(identity)))).toEqual(identity)
  const bare = { name: 'n', version: '', zone: null, roles: [], rpc: null }
  expect(identityOf(record(metadataOf(bare)))).toEqual(bare)
  expect(identityOf(record(new Map()))).toEqual({ ...bare, name: 'h' })
  const longest = {
    ...{ name: '\u{1f426}'.repeat(64), version: '10.20.30-beta.1', zone: 'z'.repeat(64) },
    ...{ roles: ['mqtt', 'dist', 'inbox', 'retain'], rpc: `[${'f'.repeat(39)}]:65535` },
  }
  expect(metadataBytes(metadataOf(longest))).toBeLessThanOrEqual(METADATA_BYTES_MAX)
})

test('an rpc port alone is at the address of the host', () => {
  const told = (rpc: string) => metadataOf({ name: '', version: '', zone: null, roles: [], rpc })
  expect(rpcAddressOf(record(told('7947')))).toBe('10.0.0.1:7947')
  expect(rpcAddressOf(record(told('7947'), '[fd00::1]:1'))).toBe('[fd00::1]:7947')
  expect(rpcAddressOf(record(told('10.0.0.9:1')))).toBe('10.0.0.9:1')
  expect(rpcAddressOf(record(new Map()))).toBeNull()
})
