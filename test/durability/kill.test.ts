import { mkdtempSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/clock.ts'
import { builtMain } from '../build.ts'
import { endAll } from '../node/run-cli.ts'
import { check, newHistory } from './checker.ts'
import { Fleet, skewed } from './fleet.ts'
import type { Surroundings } from './peer.ts'
import { ProcessNode } from './process-node.ts'

/** Kills of the long run; fifty are asked for by hand. */
const ROUNDS = Number(process.env.ROUNDS ?? 4)
const SEED = Number(process.env.SEED ?? 1)
/** Publishes that are acknowledged between two kills, at most. */
const PUBLISHES_MAX = 600
/** What a round may take on a busy machine. */
const ROUND_MS_MAX = 10_000

const folder = mkdtempSync('/tmp/flockmq-kill-')

beforeAll(async () => {
  await builtMain()
}, 60_000)

afterEach(async () => {
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

function surroundingsOf(node: ProcessNode): Surroundings {
  return {
    dial: node.dial,
    history: newHistory(),
    random: seededRandom(SEED),
    now: () => performance.now(),
    later: (ms, callback) => void setTimeout(callback, ms),
  }
}

async function until(condition: () => boolean, msMax = 30_000): Promise<boolean> {
  const endMs = performance.now() + msMax
  while (!condition() && performance.now() < endMs) await delay(2)
  return condition()
}

test(
  `after ${ROUNDS} times kill -9 nothing acknowledged is lost, QoS 2 is not doubled, order holds, seed ${SEED}`,
  async () => {
    const node = new ProcessNode(`${folder}/data`)
    const surroundings = surroundingsOf(node)
    const { random, history } = surroundings
    const fleet = new Fleet(surroundings, until)
    await node.start()
    await fleet.start()
    for (let round = 0; round < ROUNDS; round++) {
      await fleet.publish(skewed(random, PUBLISHES_MAX))
      fleet.disturb()
      await delay(random.float() * 5)
      await node.kill()
      await node.spawn()
      // At times it dies again while it starts.
      if (random.below(4) === 0) {
        await delay(random.float() * 400)
        await node.kill()
        await node.spawn()
      }
      await node.ready()
    }
    await fleet.drain()
    await node.stop()
    expect(check(history)).toEqual([])
    expect(node.errors).toBe('')
    const repeated = history.deliveries.filter(({ dup }) => dup).length
    const retried = history.publishes.filter(({ sends }) => sends > 1).length
    process.stdout.write(
      `${node.kills} kills, ${fleet.acknowledged} publishes acknowledged, ${retried} of them sent again; ` +
        `${history.deliveries.length} deliveries, ${repeated} with DUP\n`,
    )
  },
  ROUNDS * ROUND_MS_MAX + 30_000,
)
