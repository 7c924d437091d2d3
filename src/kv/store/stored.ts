import { assert } from '../../base/assert.ts'
import { compareBytes } from '../engine/bytes.ts'
import type { Engine, Write } from '../engine/engine.ts'
import type { ConfState } from '../raft/index.ts'
import { type RangeDescriptor, SERVICE_NAMES, type ServiceName } from '../range/coprocessor.ts'
import { decodeMergeState, type MergeState, NO_MERGE } from '../range/merge.ts'
import { FIRST_INDEX, type RangeChild } from '../range/range.ts'
import {
  afterPrefix,
  answersOf,
  appliedKey,
  configKey,
  decodeApplied,
  decodeDescriptor,
  decodeMark,
  descriptorKey,
  encodeApplied,
  encodeDescriptor,
  mergeKey,
  recordOf,
  servicePrefix,
  streamOf,
} from '../range/schema.ts'
import type { Streams } from '../range/streams.ts'
import { findMarker } from '../snapshot/index.ts'
import {
  decodeConfig,
  decodeGone,
  decodeNewcomer,
  type Gone,
  goneKey,
  LOSS_KEY,
  type NewcomerRecord,
} from './raft-schema.ts'
import { configOf, RangeLog } from './range-log.ts'

/** Term of the state that a range begins with. */
export const FIRST_TERM = 1

/** What a service begins with where nothing is stored. */
export interface Beginning {
  /** Where its key space is cut. */
  splits: readonly Uint8Array[]
  /** The voters; the same on all of them. None: its ranges come from elsewhere. */
  stores: readonly string[]
}

/** A replica whose data cannot be trusted. */
export interface Damaged {
  descriptor: RangeDescriptor
  reason: string
}

/** A range as its disk holds it. */
export interface StoredRange {
  descriptor: RangeDescriptor
  applied: RangeChild['applied']
  log: RangeLog
}

/** What is on disk of a service. Where a log is missing, what begins it goes to `meta` and `raft`. */
export function loadRanges(
  engine: Engine,
  service: ServiceName,
  storeId: string,
  meta: Write[],
  raft: Write[],
): { ranges: StoredRange[]; newcomers: NewcomerRecord[]; damaged: Damaged[] } {
  const prefix = servicePrefix(service)
  const cursor = engine.cursor('meta', { start: prefix, end: afterPrefix(prefix) })
  const ranges: StoredRange[] = []
  const newcomers: NewcomerRecord[] = []
  const damaged: Damaged[] = []
  while (cursor.next()) {
    const { kind, range: id } = recordOf(cursor.key, service)
    if (kind === 'n') newcomers.push(decodeNewcomer(new Uint8Array(cursor.value)))
    // What is there of a range besides its marker is worth nothing.
    if (kind !== 'd' || findMarker(engine, service, id) !== null) continue
    const descriptor = decodeDescriptor(new Uint8Array(cursor.value))
    try {
      ranges.push(withLog(engine, descriptor, storedApplied(engine, descriptor), meta, raft))
    } catch (error) {
      if (!hasOthers(descriptor, storeId)) throw error
      damaged.push({ descriptor, reason: (error as Error).message })
    }
  }
  cursor.close()
  return { ranges, newcomers, damaged }
}

/** Ranges on this disk that nobody else could make anew. */
export function aloneHere(engine: Engine, storeId: string): string[] {
  const alone: string[] = []
  for (const service of SERVICE_NAMES) {
    const prefix = servicePrefix(service)
    const cursor = engine.cursor('meta', { start: prefix, end: afterPrefix(prefix) })
    while (cursor.next()) {
      const { kind, range } = recordOf(cursor.key, service)
      if (kind === 'd' && !hasOthers(decodeDescriptor(new Uint8Array(cursor.value)), storeId)) alone.push(range)
    }
    cursor.close()
  }
  return alone
}

/** Whether another store votes: then the replica of this one can be given up, and made anew. */
export function hasOthers({ replicas }: RangeDescriptor, storeId: string): boolean {
  return replicas.some(({ store, role }) => role === 'voter' && store !== storeId)
}

/** One range that is whole on disk. */
export function loadRange(engine: Engine, service: ServiceName, id: string): StoredRange {
  const descriptor = decodeDescriptor(engine.get('meta', descriptorKey(service, id))!)
  const log = RangeLog.open(engine, id)
  assert(log !== null, `Range "${id}" has a log`)
  return { descriptor, applied: storedApplied(engine, descriptor), log }
}

/** What is known of a replica that was here and is gone for ever. */
export function storedGone(engine: Engine, range: string): Gone | null {
  const stored = engine.get('raft', goneKey(range))
  return stored === undefined ? null : decodeGone(stored)
}

/** Whether this disk has ever lost writes: what a range here was may be among them. */
export function hasLost(engine: Engine): boolean {
  return engine.get('raft', LOSS_KEY) !== undefined
}

/** Whether any of the first ranges was here and is gone for ever: whoever began again would vote under its old number. */
export function hadFirst(engine: Engine, service: ServiceName, count: number): boolean {
  return Array.from({ length: count }, (_, i) => firstName(service, i)).some((id) => storedGone(engine, id) !== null)
}

const firstName = (service: ServiceName, i: number): string => `${service}-${i + 1}`

/** The range's part in a merge. */
export function storedMerge(engine: Engine, { service, id }: RangeDescriptor): MergeState {
  const stored = engine.get('meta', mergeKey(service, id))
  return stored === undefined ? NO_MERGE : decodeMergeState(stored)
}

/** The group's configuration, and the first number that no replica has had. */
export function storedConfig(engine: Engine, descriptor: RangeDescriptor): { config: ConfState; next: number } {
  const { service, id, replicas } = descriptor
  const stored = engine.get('meta', configKey(service, id))
  if (stored !== undefined) return decodeConfig(stored)
  return { config: configOf(replicas), next: Math.max(...replicas.map(({ replica }) => replica)) + 1 }
}

export function loadStreams(engine: Engine, range: { descriptor: RangeDescriptor; streams: Streams }): void {
  const { id, service } = range.descriptor
  const end = appliedKey(service, id).slice(0, -1)
  const cursor = engine.cursor('meta', { start: end, end: afterPrefix(end) })
  while (cursor.next()) {
    const { kind, rest } = recordOf(cursor.key, service)
    if (kind === 's') range.streams.load(streamOf(rest), decodeMark(cursor.value))
    if (kind !== 'w') continue
    const { stream, first } = answersOf(rest)
    range.streams.loadAnswers(stream, first, cursor.value)
  }
  cursor.close()
}

/** A folder of before there were logs has none: its log begins with what was applied. */
function withLog(
  engine: Engine,
  descriptor: RangeDescriptor,
  stored: RangeChild['applied'],
  meta: Write[],
  raft: Write[],
): StoredRange {
  const { id, service } = descriptor
  const log = RangeLog.open(engine, id)
  if (log !== null) return { descriptor, applied: stored, log }
  const applied = { ...stored, index: Math.max(FIRST_INDEX, stored.index) }
  meta.push({ type: 'put', key: appliedKey(service, id), value: encodeApplied(applied) })
  const begun = RangeLog.begin(engine, id, applied.index, FIRST_TERM)
  raft.push(...begun.writes)
  return { descriptor, applied, log: begun.log }
}

function storedApplied(engine: Engine, { service, id }: RangeDescriptor): RangeChild['applied'] {
  const applied = engine.get('meta', appliedKey(service, id))
  assert(applied !== undefined, `Range "${id}" has no applied state`)
  return decodeApplied(applied)
}

/** The first ranges of a service, on the stores where it begins. */
export function beginRanges(
  engine: Engine,
  service: ServiceName,
  { splits, stores }: Beginning,
  meta: Write[],
  raft: Write[],
): StoredRange[] {
  if (stores.length === 0) return []
  const keys = [...splits].sort(compareBytes)
  const applied = { index: FIRST_INDEX, nowMs: 0, hash: 0 }
  return Array.from({ length: keys.length + 1 }, (_, i): StoredRange => {
    const descriptor: RangeDescriptor = {
      id: firstName(service, i),
      service,
      epoch: { version: 1, confVersion: 1 },
      start: keys[i - 1],
      end: keys[i],
      replicas: stores.map((store, at) => ({ store, replica: at + 1, role: 'voter' })),
    }
    meta.push({ type: 'put', key: descriptorKey(service, descriptor.id), value: encodeDescriptor(descriptor) })
    meta.push({ type: 'put', key: appliedKey(service, descriptor.id), value: encodeApplied(applied) })
    const { log, writes } = RangeLog.begin(engine, descriptor.id, FIRST_INDEX, FIRST_TERM)
    raft.push(...writes)
    return { descriptor, applied, log }
  })
}
