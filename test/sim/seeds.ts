/** Seeds 1 to `count`; SEED=n replays that one alone. */
export function seeds(count: number): number[] {
  const one = process.env.SEED
  if (one !== undefined) return [Number(one)]
  return Array.from({ length: count }, (_, i) => i + 1)
}
