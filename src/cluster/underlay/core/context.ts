import type { Random } from '../../../base/clock.ts'
import type { UnderlayCounters } from './counters.ts'
import type { GossipQueue } from './gossip-queue.ts'
import type { LocalHealth } from './local-health.ts'
import type { SwimOptions } from './options.ts'
import type { Outbox } from './outbox.ts'

/** What the parts of one machine share. */
export interface Context {
  readonly options: SwimOptions
  readonly random: Random
  readonly outbox: Outbox
  readonly gossip: GossipQueue
  readonly health: LocalHealth
  readonly counters: UnderlayCounters
}

/** Up to `count` of them, each at most once, in random order. Shuffles the array. Source: Fisher and Yates. */
export function choose<T>(from: T[], count: number, random: Random): T[] {
  const chosen = Math.min(count, from.length)
  for (let i = 0; i < chosen; i++) {
    const j = i + random.below(from.length - i)
    const swapped = from[i]!
    from[i] = from[j]!
    from[j] = swapped
  }
  return from.slice(0, chosen)
}
