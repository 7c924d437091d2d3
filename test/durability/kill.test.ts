import { mkdtempSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { builtMain } from '../build.ts'
import { endAll, runCli } from '../node/run-cli.ts'
import { check } from './checker.ts'
import { expiryScenario } from './expiry-scenario.ts'
import { Fleet, skewed } from './fleet.ts'
import { ProcessStage, untilReal } from './process-node.ts'
import { retainScenario } from './retain-scenario.ts'
import { WillScenario } from './will-scenario.ts'

/** Kills of the long run; fifty are asked for by hand. */
const ROUNDS = Number(process.env.ROUNDS ?? 4)
const SEED = Number(process.env.SEED ?? 1)
/** Of the store. */
const ENGINE = process.env.ENGINE ?? 'auto'
/** Publishes that are acknowledged between two kills, at most. */
const PUBLISHES_MAX = 600
/** What a round may take on a busy machine. */
const ROUND_MS_MAX = 40_000

const folder = mkdtempSync('/tmp/flockmq-kill-')
let count = 0

function newPath(): string {
  return `${folder}/${++count}`
}

beforeAll(async () => {
  await builtMain()
}, 60_000)

afterEach(endAll)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test(
  `after ${ROUNDS} times kill -9 nothing acknowledged is lost, QoS 2 is not doubled, order holds, seed ${SEED}`,
  async () => {
    const { node, surroundings } = new ProcessStage(newPath(), SEED, [`store.engine=${ENGINE}`])
    const { random, history } = surroundings
    const fleet = new Fleet(surroundings, untilReal)
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
    await node.kill()
    expect(check(history)).toEqual([])
    expect(node.errors).toBe('')
    expect(await runCli(['check', node.data])).toMatchObject({ code: 0, stderr: '' })
    const repeated = history.deliveries.filter(({ dup }) => dup).length
    const retried = history.publishes.filter(({ sends }) => sends > 1).length
    process.stdout.write(
      `${node.kills} kills, ${fleet.acknowledged} publishes acknowledged, ${retried} of them sent again; ` +
        `${history.deliveries.length} deliveries, ${repeated} with DUP\n`,
    )
  },
  ROUNDS * ROUND_MS_MAX + 30_000,
)

test('wills that are due come once over kill -9', async () => {
  const stage = new ProcessStage(newPath(), SEED, [`store.engine=${ENGINE}`])
  await stage.start()
  const scenario = new WillScenario(stage)
  expect(await scenario.run(2)).toEqual([])
  expect(scenario.due).toBeGreaterThan(3)
  expect(stage.node.errors).toBe('')
}, 120_000)

test('sessions end in their time over kill -9', async () => {
  const stage = new ProcessStage(newPath(), SEED, [`store.engine=${ENGINE}`])
  await stage.start()
  expect(await expiryScenario(stage)).toEqual([])
  expect(stage.node.errors).toBe('')
}, 60_000)

test('retained messages stay as they were acknowledged over kill -9', async () => {
  const stage = new ProcessStage(newPath(), SEED, [`store.engine=${ENGINE}`])
  await stage.start()
  expect(await retainScenario(stage, 2)).toEqual([])
  expect(stage.node.errors).toBe('')
}, 60_000)
