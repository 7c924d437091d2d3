import type { HostId } from '../../../src/base/ids.ts'
import type { Address, HostRecord } from '../../../src/cluster/underlay/core/index.ts'
import type { Message } from '../../../src/cluster/underlay/core/message.ts'

export const record = (metadata: Record<string, string> = {}): HostRecord => ({
  id: 'h2' as HostId,
  incarnation: 3,
  life: 2 ** 52 + 1,
  address: '10.0.0.2:7946' as Address,
  metadata: new Map(Object.entries(metadata)),
})

/** Hexadecimal with comments. */
export function hex(...lines: string[]): Uint8Array {
  return Uint8Array.from(
    Buffer.from(
      lines
        .map((line) => line.replace(/\|.*/, ''))
        .join('')
        .replaceAll(' ', ''),
      'hex',
    ),
  )
}

/** Every message, and its bytes. */
export const MESSAGES: [Message, string[]][] = [
  [{ type: 'ping', seq: 7, target: 'h2' as HostId }, ['01 0007', '00000007', '02 6832']],
  [{ type: 'ping', seq: 7, target: '' }, ['01 0005', '00000007', '00 | anybody']],
  [
    { type: 'ping-req', seq: 8, target: 'h2' as HostId, address: '10.0.0.2:7946' as Address },
    ['02 0015', '00000008', '02 6832', '0d 31302e302e302e323a37393436 | 10.0.0.2:7946'],
  ],
  [{ type: 'ack', seq: 0xffffffff, id: 'h2' as HostId }, ['03 0007', 'ffffffff', '02 6832']],
  [{ type: 'nack', seq: 9 }, ['04 0004', '00000009']],
  [
    { type: 'alive', record: record({ zone: 'é' }) },
    [
      '05 002b',
      '02 6832           | id',
      '000000000003      | incarnation',
      '0010000000000001  | life',
      '0d 31302e302e302e323a37393436',
      '000a              | metadata',
      '0004 7a6f6e65     | "zone"',
      '0002 c3a9         | "é"',
    ],
  ],
  [
    { type: 'suspect', id: 'h2' as HostId, incarnation: 3, by: 'h3' as HostId },
    ['06 000c', '02 6832', '000000000003', '02 6833'],
  ],
  [
    { type: 'dead', id: 'h2' as HostId, incarnation: 2 ** 47, by: 'h3' as HostId },
    ['07 000c', '02 6832', '800000000000', '02 6833'],
  ],
  [{ type: 'left', id: 'h2' as HostId, incarnation: 3 }, ['08 0009', '02 6832', '000000000003']],
  [{ type: 'push-pull' }, ['09 0000']],
  [
    { type: 'state', state: 'dead', incarnation: 4, ageSeconds: 60, record: record() },
    [
      '0a 002c',
      '02           | dead',
      '000000000004 | incarnation of the state',
      '0000003c     | age',
      '02 6832 000000000003 0010000000000001 0d 31302e302e302e323a37393436 0000',
    ],
  ],
  [
    {
      type: 'hello',
      address: '[::1]:1' as Address,
      seq: 1,
      echo: 2,
      supports: 'h1' as HostId,
      expect: 3,
      sees: 2,
      digest: 0xdeadbeef,
      formedAtMs: 5,
      fresh: true,
      asks: true,
      known: ['10.0.0.2:7946' as Address],
    },
    [
      '0b 0031',
      '07 5b3a3a315d3a31 | address [::1]:1',
      '00000001 00000002 | seq, echo',
      '02 6831           | supports',
      '0003 0002         | expect, sees',
      'deadbeef          | digest',
      '000000000005      | formed',
      '03                | fresh, asks',
      '01 0d 31302e302e302e323a37393436',
    ],
  ],
  [{ type: 'payload', bytes: hex('01ff') }, ['0c 0002', '01ff']],
]
