import type { Engine } from '../engine/engine.ts'
import { engineReader } from '../range/boundary.ts'
import { attempt, demand, type VerifyReport, visitRecords } from '../range/verify.ts'
import {
  decodeConfig,
  decodeGone,
  decodeLogEntry,
  decodeState,
  goneKey,
  indexOf,
  type LogState,
  rangeOfKey,
  stateKey,
} from './raft-schema.ts'

/** What family `raft` tells of one range's log. */
interface LogRecords {
  state: LogState | null
  /** Of the last entry seen; null before the first. */
  last: { index: number; term: number } | null
  first: number | null
  /** A replica that was here is gone: then there need not be a log. */
  gone: number | null
}

/**
 * Reads all logs: their entries follow on each other and on what was compacted away, their terms only rise, and they reach
 * at least as far as what was applied. `applied`: by range, for all that are whole;
 * `newcomers`: those that have no state yet.
 */
export function verifyLogs(
  engine: Engine,
  applied: ReadonlyMap<string, number>,
  newcomers: ReadonlySet<string>,
  report: VerifyReport,
): void {
  const logs = new Map<string, LogRecords>()
  visitRecords(engineReader(engine, 'raft'), report, (key, value) => {
    const range = rangeOfKey(key)
    let log = logs.get(range)
    if (log === undefined) {
      log = { state: null, last: null, first: null, gone: null }
      logs.set(range, log)
    }
    const index = indexOf(key)
    if (index === null) {
      if (Buffer.compare(key, goneKey(range)) === 0) {
        log.gone = decodeGone(value).replica
        return
      }
      demand(Buffer.compare(key, stateKey(range)) === 0, 'It is of no kind that a log has')
      log.state = decodeState(value)
    } else readEntry(log, index, value)
  })
  for (const [range, log] of logs) {
    attempt(stateKey(range), report, () => {
      if (newcomers.has(range) || (log.gone !== null && log.state === null && log.last === null)) return
      const index = applied.get(range)
      demand(index !== undefined, `There is a log of range "${range}", and no such range`)
      checkLog(log, index)
    })
  }
  for (const range of applied.keys()) {
    if (logs.has(range)) continue
    // A folder of before there were logs has none at all.
    if (logs.size > 0) report.damage(stateKey(range), `Range "${range}" has no log`)
  }
}

/** The configuration of a range's group must at least be readable. */
export function verifyConfig(value: Uint8Array): void {
  const { voters } = decodeConfig(value).config
  demand(voters.length > 0, 'The group has no voter')
}

function readEntry(log: LogRecords, index: number, value: Uint8Array): void {
  const { last } = log
  const { term } = decodeLogEntry(index, value)
  log.first ??= index
  log.last = { index, term }
  if (last === null) return
  demand(index === last.index + 1, `Entry ${index} follows on entry ${last.index}`)
  demand(term >= last.term, `Its term ${term} is before the one of the entry before, ${last.term}`)
}

function checkLog({ state, last, first }: LogRecords, applied: number): void {
  demand(state !== null, 'The log has entries, and no state')
  const { hardState, compacted } = state
  const end = last ?? compacted
  demand(first === null || first === compacted.index + 1, `The log begins with entry ${first} after ${compacted.index}`)
  demand(end.term <= hardState.term, `The last entry is of term ${end.term}, the replica is in term ${hardState.term}`)
  demand(hardState.commit <= end.index, `What is committed, ${hardState.commit}, is beyond the end, ${end.index}`)
  demand(applied <= end.index, `What is applied, ${applied}, is beyond the end, ${end.index}`)
  demand(applied >= compacted.index, `What is applied, ${applied}, is before the beginning, ${compacted.index}`)
}
