import { crc32 } from 'node:zlib'
import type { Bounds } from '../engine/engine.ts'
import type { ServiceName } from '../range/coprocessor.ts'
import { afterPrefix, newcomerKey } from '../range/schema.ts'
import {
  type FamilyWrite,
  recordsPrefix,
  SNAPSHOT_LIMITS,
  type SnapshotOffer,
  SnapshotReceiver,
} from '../snapshot/index.ts'
import { newcomerRecord } from './newcomer.ts'
import { encodeState, goneKey, stateKey } from './raft-schema.ts'
import type { RangeLog } from './range-log.ts'

/** Takes in the state that is offered, in place of what the replica had in `boundaries`; its log begins anew. */
export function receiverOf(
  offer: SnapshotOffer,
  log: RangeLog,
  boundaries: readonly Bounds[],
  nowMs: number,
): SnapshotReceiver {
  const { descriptor, snapshot, to } = offer
  const hardState = { ...log.hardState, commit: 0 }
  const first = log.restart(0, 0, hardState)
  const state = { hardState: { ...hardState, commit: snapshot.index }, compacted: snapshot }
  return new SnapshotReceiver({
    ...{ offer, limits: SNAPSHOT_LIMITS, checksum: crc32, nowMs, boundaries },
    firstWrites: [
      ...first.map((write): FamilyWrite => ({ family: 'raft', write })),
      newcomerRecord(descriptor, to, snapshot),
    ],
    lastWrites: [
      { family: 'raft', write: { type: 'put', key: stateKey(descriptor.id), value: encodeState(state) } },
      { family: 'meta', write: { type: 'delete', key: newcomerKey(descriptor.service, descriptor.id) } },
    ],
  })
}

/** Of a replica that is gone the disk keeps but `gone`; null: nothing. */
export function forgetting(service: ServiceName, range: string, log: RangeLog, gone: Uint8Array | null): FamilyWrite[] {
  const records = recordsPrefix(service, range)
  const writes: FamilyWrite[] = [
    { family: 'meta', write: { type: 'deleteRange', start: records, end: afterPrefix(records)! } },
    ...log.remove().map((write): FamilyWrite => ({ family: 'raft', write })),
  ]
  if (gone !== null) writes.push({ family: 'raft', write: { type: 'put', key: goneKey(range), value: gone } })
  return writes
}
