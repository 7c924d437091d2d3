/** Seeds 1 to `count`, or to SEEDS; SEED=n replays that one alone. */
export function seeds(count: number): number[] {
  const { SEED, SEEDS } = process.env
  if (SEED !== undefined) return [Number(SEED)]
  return Array.from({ length: Number(SEEDS ?? count) }, (_, i) => i + 1)
}
