import { describe, expect, test } from 'vitest'
import { BUGS, type Bug } from './bugs.ts'
import { type RunOptions, run } from './run.ts'

/** Seeds within which each is caught; most are by the first ones. */
const TRIES_MAX = 40
const TEST_MS_MAX = 180_000

describe('a planted bug is caught, and without it the same seed is clean', () => {
  test.each(Object.entries(BUGS))(
    '%s',
    async (_, bug) => {
      const seed = await firstCaught(bug)
      expect(seed).not.toBeNull()
      await run(seed!, bug.where)
    },
    TEST_MS_MAX,
  )

  test(
    'reads that any replica answers, whatever it knows',
    async () => {
      const seed = await firstCaught({ plant: () => () => {}, where: { staleReads: true, voters: 3 } })
      expect(seed).not.toBeNull()
      await run(seed!, { voters: 3 })
    },
    TEST_MS_MAX,
  )
})

async function firstCaught({ plant, where }: Bug): Promise<number | null> {
  const undo = plant()
  try {
    for (let seed = 1; seed <= TRIES_MAX; seed++) if ((await failure(seed, where)) !== null) return seed
    return null
  } finally {
    undo()
  }
}

async function failure(seed: number, where?: RunOptions): Promise<unknown> {
  try {
    await run(seed, where)
    return null
  } catch (error) {
    return error
  }
}
