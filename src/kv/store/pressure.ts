import { BrokerError } from '../../base/errors.ts'
import { GROWTH_REFUSED } from '../client/transport.ts'
import type { EngineStats } from '../engine/engine.ts'

const GIB = 1024 ** 3

export interface PressureLimits {
  /** Free bytes below which nothing that takes space is accepted; the larger of this and `freeShareMin` of the disk. */
  freeBytesMin: number
  /** Share of the disk, 0 to 1. */
  freeShareMin: number
  /** Files that wait for compaction at which writes are refused: RocksDB itself slows down at 20. */
  level0FilesMax: number
  /** A write that has been under way for longer holds new ones back. */
  writeMsMax: number
}

export const PRESSURE_LIMITS: PressureLimits = {
  freeBytesMin: GIB,
  freeShareMin: 0.05,
  level0FilesMax: 18,
  writeMsMax: 5_000,
}

/** Space that must be free again above the limit, as a share of it, before writes are taken: no flapping. */
const RELIEF_SHARE = 0.1

/**
 * Why the store takes only what frees space or none: the error that clients get; null while all is well. Space that is
 * freed, and a disk that has caught up, mean service again: nothing has to be restarted.
 * @param before what held until now
 */
export function judgePressure(
  stats: EngineStats,
  before: BrokerError | null,
  limits: PressureLimits,
): BrokerError | null {
  const freeMin = Math.max(limits.freeBytesMin, limits.freeShareMin * (stats.diskBytes ?? 0))
  const needed = before === null ? freeMin : freeMin * (1 + RELIEF_SHARE)
  if (stats.freeBytes < needed) {
    const free = `${Math.floor(stats.freeBytes / 1024 ** 2)} MiB are free`
    return overloaded(`the disk is nearly full (${free}, ${Math.ceil(needed / 1024 ** 2)} MiB are needed); make room`)
  }
  const { pressure } = stats
  if (pressure === undefined) return null
  if (pressure.stalled || pressure.level0Files > limits.level0FilesMax) return overloaded('the disk is behind')
  return pressure.oldestWriteMs > limits.writeMsMax ? overloaded('a write has not come back from the disk') : null
}

/** Why these commands are not taken. What only gives space back goes on, so a client takes out what does not. */
export function lackOfSpace<Command>(
  pressure: BrokerError | null,
  { grows }: { grows?(command: Command): boolean },
  commands: readonly Command[],
): BrokerError | null {
  if (pressure === null || !commands.some((command) => grows?.(command) ?? true)) return null
  return new BrokerError('OVERLOADED', pressure.message, { hint: GROWTH_REFUSED })
}

function overloaded(reason: string): BrokerError {
  return new BrokerError('OVERLOADED', `Cannot take what needs space: ${reason}`)
}
