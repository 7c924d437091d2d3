import type { HostId } from '../../../src/base/ids.ts'
import type { Message } from '../../../src/cluster/overlay/core/message.ts'
import { bytes } from './sim-overlay.ts'

/** Every message, with its bytes: type | length | body. */
export const MESSAGES: [string, Message, string][] = [
  [
    'digest: asks, sum over the hints, two positions',
    {
      type: 'digest',
      asks: true,
      positions: [
        { mark: 5, version: 300, resetTo: 0 },
        { mark: 6, version: 1, resetTo: 2 },
      ],
      hints: [1, 0xffff_ffff],
    },
    '01 00000010 | 03 00000001 ffffffff | 05 ac02 00 | 06 01 02',
  ],
  [
    'delta: a key, and a member that left',
    {
      type: 'delta',
      host: 'h1' as HostId,
      life: 9,
      from: 3,
      to: 7,
      last: 9,
      forgotten: 2,
      entries: [
        { key: 'kx', value: bytes('v'), version: 4 },
        { key: 'am', value: null, version: 7 },
      ],
    },
    '02 00000012 | 026831 09 03 07 09 02 | 026b78 02 0176 | 02616d 07',
  ],
  [
    'hint sums',
    { type: 'hint-sums', sums: Uint32Array.from({ length: 256 }, (_, at) => at) },
    `03 00000400 | ${Array.from({ length: 256 }, (_, at) => at.toString(16).padStart(8, '0')).join('')}`,
  ],
  [
    'hints: of two buckets, one hint and one deletion',
    {
      type: 'hints',
      news: true,
      more: false,
      buckets: [1, 255],
      hints: [
        { key: 'x', value: bytes('v'), timestamp: 300, by: 'h1' as HostId, ttlMs: 64 },
        { key: 'y', value: null, timestamp: 1, by: 'h2' as HostId, ttlMs: 1 },
      ],
    },
    '04 00000016 | 01 02 01ff | 0178 ac02 026831 8001 0176 | 0179 01 026832 03',
  ],
]
