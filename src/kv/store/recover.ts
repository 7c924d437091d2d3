import type { Batch, Engine } from '../engine/engine.ts'
import type { Replica, ServiceName } from '../range/coprocessor.ts'
import {
  appliedKey,
  configKey,
  decodeApplied,
  decodeDescriptor,
  descriptorKey,
  encodeDescriptor,
  mergeKey,
  newcomerKey,
  recordOf,
} from '../range/schema.ts'
import { findMarker } from '../snapshot/index.ts'
import { encodeConfig, encodeLogEntry, encodeState, entryKey, stateKey } from './raft-schema.ts'
import { RangeLog } from './range-log.ts'
import { storedConfig } from './stored.ts'

/**
 * Beyond what this replica knows of terms, replica numbers and configurations: the lost ones may have gone on for a
 * while, and nothing that they have told shall ever be newer than what follows here.
 */
const SKIPPED = 1_000

/** What recovering one range here would mean. */
export interface Recovery {
  range: string
  service: ServiceName
  /** What this replica was. */
  role: Replica['role'] | null
  /** Stores of the replicas that are given up. */
  others: readonly string[]
  applied: number
  commit: number
  /** The last entry here, and its term: of several replicas, the one with the highest term, then index, knows most. */
  last: number
  lastTerm: number
  /** Changes of the group in the log that will not be made. */
  changes: number
  /** Why it cannot be done; null: it can. */
  refused: string | null
  /** Nothing need be done: it is the only replica. */
  alone: boolean
}

/** All ranges of which this store has something. The engine must be at rest. */
export function planRecovery(engine: Engine, store: string): Recovery[] {
  const found: Recovery[] = []
  const cursor = engine.cursor('meta', {})
  try {
    while (cursor.next()) {
      const service = Buffer.from(cursor.key.subarray(0, Math.max(0, cursor.key.indexOf(0)))).toString() as ServiceName
      const { kind, range } = recordOf(cursor.key, service)
      if (kind === 'd' || kind === 'n') found.push(planOf(engine, store, service, range))
    }
  } finally {
    cursor.close()
  }
  // One that is emptied has both records.
  return found.filter(({ range }, at) => found.findIndex((other) => other.range === range) === at)
}

/**
 * Makes this store's replica of a range its only voter. What others have committed and this one lacks is lost. The entries
 * of its log stay, but for changes of the group, which would bring lost replicas back: they become entries without effect.
 */
export function recoveryWrites(engine: Engine, store: string, { range, service }: Recovery): Batch['writes'] {
  const descriptor = decodeDescriptor(engine.get('meta', descriptorKey(service, range))!)
  const { version, confVersion } = descriptor.epoch
  const { replica } = descriptor.replicas.find((each) => each.store === store)!
  const { next } = storedConfig(engine, descriptor)
  const log = RangeLog.open(engine, range)!
  const { term, commit } = log.hardState
  const applied = decodeApplied(engine.get('meta', appliedKey(service, range))!).index
  const config = { voters: [replica], outgoing: [], learners: [], learnersNext: [], autoLeave: false }
  const alone = {
    ...descriptor,
    epoch: { version, confVersion: confVersion + SKIPPED },
    replicas: [{ store, replica, role: 'voter' as const }],
  }
  const compacted = { index: log.firstIndex() - 1, term: log.term(log.firstIndex() - 1)! }
  const hardState = { term: term + SKIPPED, vote: null, commit }
  const writes: Batch['writes'] = changesOf(log, applied).map((entry) => {
    const value = encodeLogEntry({ ...entry, type: 'empty', data: new Uint8Array(0), change: null })
    return { family: 'raft', write: { type: 'put', key: entryKey(range, entry.index), value } }
  })
  writes.push(
    { family: 'raft', write: { type: 'put', key: stateKey(range), value: encodeState({ hardState, compacted }) } },
    { family: 'meta', write: { type: 'put', key: descriptorKey(service, range), value: encodeDescriptor(alone) } },
    {
      family: 'meta',
      write: { type: 'put', key: configKey(service, range), value: encodeConfig(config, next + SKIPPED) },
    },
  )
  return writes
}

function planOf(engine: Engine, store: string, service: ServiceName, range: string): Recovery {
  const none = { range, service, role: null, others: [], applied: 0, commit: 0, last: 0, lastTerm: 0, changes: 0 }
  const refused = (why: string): Recovery => ({ ...none, refused: why, alone: false })
  if (engine.get('meta', newcomerKey(service, range)) !== undefined) {
    return refused('this node has a replica without a state: it was still to be copied here')
  }
  if (findMarker(engine, service, range) !== null) return refused('its state was being copied here, and is not whole')
  try {
    const descriptor = decodeDescriptor(engine.get('meta', descriptorKey(service, range))!)
    const own = descriptor.replicas.find((each) => each.store === store)
    const others = descriptor.replicas.filter((each) => each.store !== store).map((each) => each.store)
    if (own === undefined) return refused('this node has no part in it any more')
    const stored = engine.get('meta', appliedKey(service, range))
    const log = RangeLog.open(engine, range)
    if (stored === undefined || log === null) return refused('this node has no log of it, or nothing applied')
    const { index: applied } = decodeApplied(stored)
    const last = log.lastIndex()
    const changes = changesOf(log, applied).length
    const { config } = storedConfig(engine, descriptor)
    const alone = others.length === 0 && config.voters.length === 1 && config.outgoing.length === 0 && changes === 0
    const merging = engine.get('meta', mergeKey(service, range)) !== undefined
    // It is written along with other things alone, so that what is applied may be ahead of it.
    const commit = Math.max(applied, log.hardState.commit)
    return {
      ...{ range, service, role: own.role, others, applied, commit, last, lastTerm: log.term(last)!, changes },
      refused: merging ? 'a merge with its neighbour is under way, which only both of them together can end' : null,
      alone: alone && !merging,
    }
  } catch (error) {
    return refused(`its records here are damaged: ${(error as Error).message}`)
  }
}

function changesOf(log: RangeLog, applied: number) {
  const from = Math.max(applied + 1, log.firstIndex())
  const found = []
  for (let index = from; index <= log.lastIndex(); ) {
    const entries = log.entries(index, log.lastIndex() + 1, 2 ** 20)
    for (const entry of entries) if (entry.type === 'config') found.push(entry)
    index += entries.length
  }
  return found
}
