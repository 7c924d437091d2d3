import { type Random, seededRandom } from '../../src/base/clock.ts'

/** What goes wrong while clients go on. */
export const FAULTS = [
  'crash',
  'power loss',
  'all power lost',
  'symmetric partition',
  'asymmetric partition',
  'partial partition',
  'pause',
  'slow disk',
  'hung disk',
  'wiped disk',
  'clock jump',
  'slow network',
  'transfer',
  'split',
] as const
export type Fault = (typeof FAULTS)[number]

/** One run, decided by its seed. */
export interface Plan {
  seed: number
  nodes: number
  /** Of faults and of what clients do. */
  durationMs: number
  /** How much longer than usual pauses, cuts and outages last. */
  patience: number
  /** Mean time between two of a kind; absent = never. */
  meanMs: Partial<Record<Fault, number>>
  delayMsMax: number
  /** Mean time between two acts of a client. */
  actMs: number
  /** Where the ranges of sessions are cut before it begins. */
  splits: readonly string[]
}

/** Mean times where a fault is in the plan at all, in ms of simulated time. */
const MEANS: Record<Fault, number> = {
  crash: 5_000,
  'power loss': 7_000,
  'all power lost': 14_000,
  'symmetric partition': 6_000,
  'asymmetric partition': 7_000,
  'partial partition': 7_000,
  pause: 6_000,
  'slow disk': 5_000,
  'hung disk': 6_000,
  'wiped disk': 9_000,
  'clock jump': 5_000,
  'slow network': 5_000,
  transfer: 3_000,
  split: 4_000,
}
/** Of faults that each plan has. */
const SHARE = 0.4

export function planOf(seed: number, given: Partial<Plan> = {}): Plan {
  const random = seededRandom(seed * 7_919 + 31)
  const chance = (share: number) => random.float() < share
  const meanMs: Partial<Record<Fault, number>> = {}
  // Some runs are undisturbed: what must never happen there is asked more strictly.
  const calm = chance(0.12)
  for (const fault of FAULTS) {
    const mean = MEANS[fault] * (0.4 + 0.8 * random.float())
    if (chance(SHARE) && !calm) meanMs[fault] = mean
  }
  return {
    seed,
    nodes: oneOf(random, [3, 3, 3, 4, 5]),
    durationMs: 4_000 + random.below(5_000),
    patience: 1,
    meanMs,
    delayMsMax: oneOf(random, [2, 5, 20]),
    actMs: oneOf(random, [150, 250, 400]),
    splits: ['a\0k', 'a\0p', 'b'].filter(() => chance(0.4)),
    ...given,
  }
}

export function oneOf<Item>(random: Random, items: readonly Item[]): Item {
  return items[random.below(items.length)]!
}
