/** Who sends how many of its connections where: pure, so that every node comes to the same from the same figures. */
import type { HostId } from '../../base/ids.ts'
import type { MoveOrder } from '../../mqtt/index.ts'

/** A node that serves clients. */
export interface NodeLoad {
  id: HostId
  name: string
  connections: number
  /** What MQTT 5 clients are told that should come to it; null: nothing. */
  reference: string | null
}

/** What one node is to do; the rate is set by who asks for it. */
export interface Move extends Omit<MoveOrder, 'perSecond'> {
  from: HostId
}

/**
 * Nodes with more than `(1 + spreadPercent / 100) * mean` connections give away what is above the mean. Those below are
 * named to clients in proportion to what they lack.
 */
export function planMoves(nodes: readonly NodeLoad[], spreadPercent: number): Move[] {
  const total = nodes.reduce((sum, { connections }) => sum + connections, 0)
  const mean = total / nodes.length
  const keep = Math.ceil(mean)
  const above = nodes.filter(({ connections }) => connections > mean * (1 + spreadPercent / 100) && connections > keep)
  const lacks = nodes
    .map(({ reference, connections }) => ({ reference, lack: Math.max(0, mean - connections) }))
    .filter(({ lack }) => lack > 0)
  const lacking = lacks.reduce((sum, { lack }) => sum + lack, 0)
  return above.map(({ id, connections }) => {
    const count = connections - keep
    const to = lacks
      .map(({ reference, lack }) => ({ reference, count: Math.round((count * lack) / lacking) }))
      .filter((share): share is { reference: string; count: number } => share.reference !== null && share.count > 0)
    return { from: id, count, keep, to }
  })
}

/** Between two looks of a node that evens itself out. */
export const LOOK_MS = 15_000
const LOOK_MS_MAX = 3_600_000

/**
 * How long to wait before the next look. Clients that know one address alone come back to where they were sent away: a
 * node whose excess does not fall by half is looked at ever more rarely.
 * @param before what it had too many at the last look, 0 = nothing
 */
export function nextLookMs(before: number, now: number, waitedMs: number): number {
  return now > 0 && before > 0 && now > before / 2 ? Math.min(waitedMs * 2, LOOK_MS_MAX) : LOOK_MS
}
