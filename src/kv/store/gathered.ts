import type { Batch, Family, Write } from '../engine/engine.ts'
import type { FamilyWrite } from '../snapshot/index.ts'

/** Of a batch that nobody waits for. */
const LAZY_WRITES_MAX = 4_096

/** What a turn gathers for the next batch, and what follows it. */
export interface Gathered {
  raft: Write[]
  meta: Write[]
  data: Write[]
  /** Whose data it is. */
  families: { family: Family; from: number; until: number }[]
  /** After all others: what comes and goes with whole replicas. */
  last: FamilyWrite[]
  /** The batch holds what a vote or an answer promises, or a client waits for: it is synced. */
  sync: boolean
  /** Somebody waits until it is readable. */
  urgent: boolean
  /** There is enough for a batch already: it follows at once on the one under way. */
  ample: boolean
  /** Called once the batch is durable, as far as it was synced, and readable; in order. */
  landings: (() => void)[]
  /** What can be seen by now: all are observed, then all answered. */
  shows: Show[]
}

export interface Show {
  observe(): void
  answer(): void
}

export function nothingGathered(): Gathered {
  const writes = { raft: [], meta: [], data: [], families: [], last: [] }
  return { ...writes, sync: false, urgent: false, ample: false, landings: [], shows: [] }
}

export function hasWrites({ raft, meta, data, last, landings }: Gathered): boolean {
  return raft.length > 0 || meta.length > 0 || data.length > 0 || last.length > 0 || landings.length > 0
}

/** Only effects of committed entries, which are seen already: the next batch that somebody waits for takes them along. */
export function mayWait({ sync, urgent, last, data }: Gathered): boolean {
  return !sync && !urgent && last.length === 0 && data.length < LAZY_WRITES_MAX
}

/** The writes with their families: the log first, as it tells the story. */
export function inFamilies({ raft, meta, data, families, last }: Gathered): Batch['writes'] {
  const writes: Batch['writes'] = []
  for (const write of raft) writes.push({ family: 'raft', write })
  for (const { family, from, until } of families) {
    for (let i = from; i < until; i++) writes.push({ family, write: data[i]! })
  }
  for (const write of meta) writes.push({ family: 'meta', write })
  for (const each of last) writes.push(each)
  return writes
}
