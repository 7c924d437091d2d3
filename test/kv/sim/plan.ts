import { type Random, seededRandom } from '../../../src/base/clock.ts'

/** What can go wrong, or be done, while clients go on. */
export const FAULTS = [
  'crash',
  'power loss',
  'symmetric partition',
  'asymmetric partition',
  'partial partition',
  'flapping partition',
  'bridge partition',
  'deserted leader',
  'bad network',
  'slow disk',
  'hung disk',
  'failed disk',
  'wiped disk',
  'damaged log',
  'damaged state',
  'full disk',
  'pause',
  'clock jump',
  'false suspicion',
  'membership',
  'split',
  'merge',
  'transfer',
  'client restart',
] as const
export type Fault = (typeof FAULTS)[number]

/** One run, decided by its seed. */
export interface Plan {
  seed: number
  stores: number
  /** The stores on which the service begins. */
  voters: number
  splits: readonly string[]
  clients: number
  durationMs: number
  /** Mean time between two of a kind; absent = never. */
  meanMs: Partial<Record<Fault, number>>
  lossPercent: number
  duplicatePercent: number
  delayMsMax: number
  /** Packets cross as bytes. */
  codec: boolean
  /** What clients say and hear may be lost, doubled and overtaken. */
  clientDatagrams: boolean
  /** Of a log, beyond what is needed. */
  logBytes: number
  /** Of entries in one append; one always fits. */
  appendBytesMax: number
  /** Shortest election timeout, in ticks; a group sleeps after half as long again. Null: both as shipped. */
  electionTicks: number | null
  /** Batches gather for so long where much comes; where that is long, little is much. */
  gatherMs: number
  /** When all is healed, as many as may stay dead do at first. */
  minorityStaysDead: boolean
}

/** Mean times where a fault is in the plan at all, in ms of simulated time. */
const MEANS: Record<Fault, number> = {
  crash: 2_400,
  'power loss': 9_000,
  'symmetric partition': 3_600,
  'asymmetric partition': 4_200,
  'partial partition': 4_200,
  'flapping partition': 6_000,
  'bridge partition': 4_800,
  'deserted leader': 3_600,
  'bad network': 4_200,
  'slow disk': 4_200,
  'hung disk': 4_800,
  'failed disk': 7_200,
  'wiped disk': 4_800,
  'damaged log': 3_600,
  'damaged state': 3_000,
  'full disk': 6_000,
  pause: 3_600,
  'clock jump': 3_000,
  'false suspicion': 3_000,
  membership: 900,
  split: 1_800,
  merge: 900,
  transfer: 1_000,
  'client restart': 4_800,
}
/** Of faults that each plan has. */
const SHARE = 0.55

/** While these may be under way, nobody knows who is needed. */
export const MOVING: readonly Fault[] = ['membership', 'wiped disk', 'damaged log']

export const LETTERS = 'abcdefgh'

export function planOf(seed: number, given: Partial<Plan> = {}): Plan {
  const random = seededRandom(seed * 7_919 + 17)
  const chance = (share: number) => random.float() < share
  const stores = given.stores ?? 3 + random.below(5)
  const voters = oneOf(random, stores >= 5 ? [1, 3, 3, 5] : [1, 3, 3])
  const meanMs: Partial<Record<Fault, number>> = {}
  for (const fault of FAULTS) if (chance(SHARE)) meanMs[fault] = MEANS[fault] * (0.35 + 0.7 * random.float())
  const calmsDown = chance(0.3)
  if (calmsDown) for (const fault of MOVING) delete meanMs[fault]
  return {
    ...{ seed, stores, voters: Math.min(voters, stores) },
    splits: [...LETTERS].slice(1).filter(() => chance(0.35)),
    clients: 2 + random.below(2),
    durationMs: 4_000 + random.below(6_000),
    meanMs,
    lossPercent: chance(0.5) ? random.below(8) : 0,
    duplicatePercent: chance(0.5) ? random.below(8) : 0,
    delayMsMax: oneOf(random, [2, 5, 20, 60]),
    codec: chance(0.5),
    clientDatagrams: chance(0.4),
    logBytes: oneOf(random, [1_000, 5_000, 20_000, 1 << 20]),
    appendBytesMax: oneOf(random, [1, 1_000, 1 << 20]),
    electionTicks: chance(0.5) ? 10 : null,
    minorityStaysDead: calmsDown || chance(0.3),
    gatherMs: oneOf(random, [3, 3, 30]),
    ...given,
  }
}

export function oneOf<Item>(random: Random, items: readonly Item[]): Item {
  return items[random.below(items.length)]!
}
