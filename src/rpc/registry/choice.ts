import type { ServiceInstance } from './contract.ts'

/**
 * The instance for a key: the same on every node that sees the same instances, and for most keys the same when one comes
 * or goes. Shares are proportional to the weights. Null where there is none.
 * Source: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", SPAA 2005 (logarithmic method).
 */
export function rendezvous(instances: readonly ServiceInstance[], key: string): ServiceInstance | null {
  let best: ServiceInstance | null = null
  let bestScore = Number.NEGATIVE_INFINITY
  for (const instance of instances) {
    if (instance.weight <= 0) continue
    // In (0, 1): the logarithm is finite and negative.
    const uniform = (hash(instance.id, hash(key, SEED)) + 0.5) / 0x1_0000_0000
    const score = -instance.weight / Math.log(uniform)
    if (score > bestScore) {
      best = instance
      bestScore = score
    }
  }
  return best
}

/**
 * The instance with the least work in flight for its weight; of equals the one with the least load as it says itself,
 * then a random one, so that nodes that start together do not all turn to the same.
 * @param random uniform in [0, 1)
 */
export function leastInFlight(
  instances: readonly ServiceInstance[],
  inFlight: (id: string) => number,
  random: number,
): ServiceInstance | null {
  let best: ServiceInstance[] = []
  let bestWork = Number.POSITIVE_INFINITY
  let bestLoad = Number.POSITIVE_INFINITY
  for (const instance of instances) {
    if (instance.weight <= 0) continue
    const work = inFlight(instance.id) / instance.weight
    const { load } = instance
    if (work > bestWork || (work === bestWork && load > bestLoad)) continue
    if (work < bestWork || load < bestLoad) best = []
    best.push(instance)
    bestWork = work
    bestLoad = load
  }
  return best[Math.floor(random * best.length)] ?? null
}

/**
 * Takes turns by weight, and never one instance several times in a row where that can be avoided.
 * Source: nginx, "smooth weighted round-robin", commit 52327e0627f4, 2012.
 */
export class WeightedRoundRobin {
  #turns = new Map<string, number>()

  next(instances: readonly ServiceInstance[]): ServiceInstance | null {
    let total = 0
    let best: ServiceInstance | null = null
    let bestTurn = Number.NEGATIVE_INFINITY
    const turns = new Map<string, number>()
    for (const instance of instances) {
      if (instance.weight <= 0) continue
      total += instance.weight
      const turn = (this.#turns.get(instance.id) ?? 0) + instance.weight
      turns.set(instance.id, turn)
      if (turn > bestTurn) {
        best = instance
        bestTurn = turn
      }
    }
    if (best !== null) turns.set(best.id, bestTurn - total)
    // Who has left is forgotten along the way.
    this.#turns = turns
    return best
  }
}

const SEED = 0x9747b28c

/** MurmurHash3 (x86, 32 bits) over UTF-16 units. Source: Austin Appleby, public domain. */
function hash(text: string, seed: number): number {
  let h = seed
  for (let i = 0; i < text.length; i++) {
    let k = Math.imul(text.charCodeAt(i), 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe6546b64) | 0
  }
  h ^= text.length
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
