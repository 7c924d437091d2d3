import { mustConnect, type Stage } from './stage.ts'

/** One that ends while the node is down or soon after, one that lives on, one that ends with its connection. */
const SHORT_SECONDS = 1
const LONG_SECONDS = 1_000

/**
 * Sessions that were connected, or had left, when the node died: those whose time is over are gone, with their
 * subscriptions, and the others are there. Gives what is wrong.
 */
export async function expiryScenario(stage: Stage): Promise<string[]> {
  const wrong: string[] = []
  const names: { name: string; expirySeconds: number; present: boolean }[] = []
  for (const how of ['connected', 'left']) {
    for (const [kind, expirySeconds, present] of [
      ['short', SHORT_SECONDS, false],
      ['long', LONG_SECONDS, true],
      ['none', 0, false],
    ] as const) {
      const name = `${kind}-${how}`
      const { talker } = await mustConnect(stage, name, { properties: { sessionExpiryInterval: expirySeconds } })
      await talker.subscribe(`e/${name}`, 1)
      if (how === 'left') talker.drop()
      names.push({ name, expirySeconds, present })
    }
  }
  await stage.crash()
  await stage.start()
  // A held session is let go at the start: its time runs from then on, at the latest.
  await stage.pause(SHORT_SECONDS * 1_000 + 500)
  await stage.crash()
  await stage.start()
  const { talker: publisher } = await mustConnect(stage, 'publisher')
  for (const { name } of names) await publisher.publish(`e/${name}`, name)
  for (const { name, present } of names) {
    const { talker, sessionPresent } = await mustConnect(stage, name)
    if (sessionPresent !== present) wrong.push(`${name}: Session Present is ${sessionPresent}`)
    if (present) {
      await stage.until(() => talker.payloads.length > 0, 10_000)
      if (talker.payloads.join() !== name) wrong.push(`${name}: its subscription gave "${talker.payloads.join()}"`)
    } else if (talker.payloads.length > 0) wrong.push(`${name}: a queue of the session before is there`)
    talker.drop()
  }
  return wrong
}
