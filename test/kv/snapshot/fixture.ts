import { crc32 } from 'node:zlib'
import type { Engine, Family } from '../../../src/kv/engine/engine.ts'
import type { ConfState } from '../../../src/kv/raft/index.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import {
  answersKey,
  appliedKey,
  configKey,
  descriptorKey,
  encodeApplied,
  encodeDescriptor,
  encodeMark,
  markKey,
} from '../../../src/kv/range/schema.ts'
import {
  type FamilyWrite,
  recordsPrefix,
  SNAPSHOT_LIMITS,
  type SnapshotLimits,
  type SnapshotOffer,
  SnapshotSender,
  TokenBucket,
} from '../../../src/kv/snapshot/index.ts'

export const bytes = (text: string) => new Uint8Array(Buffer.from(text))

export const CONFIG: ConfState = { voters: [1, 2], outgoing: [], learners: [], learnersNext: [], autoLeave: false }
export const DESCRIPTOR: RangeDescriptor = {
  id: 'r1',
  service: 'inbox',
  epoch: { version: 2, confVersion: 3 },
  start: bytes('b'),
  end: bytes('y'),
  replicas: [
    { store: 's1', replica: 1, role: 'voter' },
    { store: 's2', replica: 2, role: 'voter' },
  ],
}
export const INDEX = 57
export const LIMITS: SnapshotLimits = {
  ...SNAPSHOT_LIMITS,
  chunkBytes: 100,
  windowChunks: 3,
  silenceMsMax: 2_000,
  answerMsMax: 2_000,
}
export const checksum = (data: Uint8Array, before: number) => crc32(data, before)

export function put(family: Family, key: Uint8Array | string, value: Uint8Array | string): FamilyWrite {
  const toBytes = (from: Uint8Array | string) => (typeof from === 'string' ? bytes(from) : from)
  return { family, write: { type: 'put', key: toBytes(key), value: toBytes(value) } }
}

/** The records of a whole range. */
export function records(descriptor: RangeDescriptor = DESCRIPTOR, index = INDEX): FamilyWrite[] {
  const { id, service } = descriptor
  return [
    put('meta', descriptorKey(service, id), encodeDescriptor(descriptor)),
    put('meta', appliedKey(service, id), encodeApplied({ index, nowMs: 5, hash: 6 })),
    put('meta', configKey(service, id), 'config'),
    put('meta', markKey(service, id, 'n1'), encodeMark({ number: 9, nowMs: 4 })),
    put('meta', answersKey(service, id, 'n1', 8), 'answers '.repeat(40)),
  ]
}

/** Everything on disk but of other services, as text. */
export function dump(engine: Engine): Map<string, string> {
  const all = new Map<string, string>()
  for (const family of ['raft', 'meta', 'inbox'] as const) {
    const cursor = engine.cursor(family, {})
    while (cursor.next()) {
      const key = Buffer.from(cursor.key).toString('latin1')
      all.set(`${family} ${key}`, Buffer.from(cursor.value).toString('latin1'))
    }
    cursor.close()
  }
  return all
}

export function offerOf(stream: number, descriptor: RangeDescriptor = DESCRIPTOR, index = INDEX): SnapshotOffer {
  return { type: 'offer', stream, from: 1, to: 2, term: 4, snapshot: { index, term: 3, config: CONFIG }, descriptor }
}

export function senderOf(engine: Engine, offer: SnapshotOffer, bucket: TokenBucket, nowMs = 0): SnapshotSender {
  const { service, id, start, end } = offer.descriptor
  const prefix = recordsPrefix(service, id)
  const past = prefix.slice()
  past[past.length - 1] = 1
  const source = {
    data: engine.cursor(service, { start, end }),
    records: engine.cursor('meta', { start: prefix, end: past }),
  }
  return new SnapshotSender({ offer, source, bucket, limits: LIMITS, checksum, nowMs })
}

export function plenty(): TokenBucket {
  return new TokenBucket(1e9, 1e9, 0)
}
