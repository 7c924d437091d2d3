import { describe, expect, test } from 'vitest'
import { BUGS, type Bug, QUIET } from './bugs.ts'
import { run } from './run.ts'

/** Seeds within which each is caught; most are by the first ones. */
const TRIES_MAX = 12
const TEST_MS_MAX = 300_000

describe('a planted bug breaks its promise', () => {
  test.each(Object.entries(BUGS))(
    '%s',
    async (_, bug) => {
      expect(await firstCaught(bug)).not.toBeNull()
    },
    TEST_MS_MAX,
  )
})

async function firstCaught(bug: Bug): Promise<number | null> {
  const undo = bug.plant()
  try {
    for (let seed = 1; seed <= TRIES_MAX; seed++) {
      const error = await failure(seed, bug)
      if (error !== null && bug.breaks.test(error)) return seed
    }
    return null
  } finally {
    undo()
  }
}

async function failure(seed: number, { where = QUIET }: Bug): Promise<string | null> {
  try {
    // What is lost is not found by waiting.
    await run(seed, { ...where, settleMsMax: 20_000 })
    return null
  } catch (error) {
    return String(error)
  }
}
