/** Where time comes from. Machines get a `now` argument; only hosts hold a Clock. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. May jump. */
  now(): number
  /** Monotonic clock, milliseconds from an arbitrary start. Never goes back. */
  monotonic(): number
  /** Calls back once, `delayMs` later at the earliest. The returned function cancels it. */
  after(delayMs: number, callback: () => void): () => void
}

/** Where randomness comes from: seeded in the simulator. */
export interface Random {
  /** Uniform in [0, 1). */
  float(): number
  /** Uniform integer in [0, boundExclusive). */
  below(boundExclusive: number): number
}

/** So many lower-case letters and digits. */
export function randomName(random: Random, length: number): string {
  let name = ''
  for (let i = 0; i < length; i++) name += random.below(36).toString(36)
  return name
}

/** The process's own clock. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** The process's own randomness: not for secrets, which come from `node:crypto`. */
export const systemRandom: Random = {
  float: () => Math.random(),
  below: (boundExclusive) => Math.floor(Math.random() * boundExclusive),
}

/**
 * Seeded generator (mulberry32): the same seed always gives the same numbers.
 * Source: Tommy Ettinger's mulberry32, public domain; period 2^32, enough for one simulated run.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const float = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return { float, below: (boundExclusive) => Math.floor(float() * boundExclusive) }
}
