import type { Random } from '../../src/base/clock.ts'
import { mustConnect, type Stage } from './stage.ts'
import type { Talker } from './talker.ts'

const TOPICS = 8
/** Payload of a clearing publish. */
const CLEARED = ''

/** What was published to one topic; the last acknowledged one, or one after it, is what is retained. */
interface Topic {
  name: string
  payloads: string[]
  /** Index of the last acknowledged one; -1 = none. */
  acknowledged: number
}

/** Retained messages are set, replaced and cleared while the node dies. Gives what is wrong. */
export async function retainScenario(stage: Stage, rounds: number): Promise<string[]> {
  const { random } = stage.surroundings
  const topics: Topic[] = Array.from({ length: TOPICS }, (_, i) => {
    return { name: `r/${i}`, payloads: [], acknowledged: -1 }
  })
  const wrong: string[] = []
  for (let round = 0; round < rounds; round++) {
    const { talker } = await mustConnect(stage, 'publisher')
    const working = change(talker, topics, random)
    await stage.pause(20 + random.float() * 100)
    await stage.crash()
    await working
    await stage.start()
    wrong.push(...(await read(stage, topics)))
  }
  return wrong
}

/** Publishes to all topics, again and again, until the connection breaks. */
function change(talker: Talker, topics: readonly Topic[], random: Random): Promise<unknown> {
  return Promise.all(
    topics.map(async (topic) => {
      try {
        for (;;) await replace(talker, topic, random.below(4) === 0)
      } catch {
        // The broker went away: what was not acknowledged is unknown.
      }
    }),
  )
}

async function replace(talker: Talker, topic: Topic, clear: boolean): Promise<void> {
  const index = topic.payloads.length
  const payload = clear ? CLEARED : `${topic.name} ${index}`
  topic.payloads.push(payload)
  await talker.publish(topic.name, payload, { retain: true })
  topic.acknowledged = index
}

async function read(stage: Stage, topics: readonly Topic[]): Promise<string[]> {
  const { talker } = await mustConnect(stage, 'reader', { clean: true, properties: { sessionExpiryInterval: 0 } })
  await talker.subscribe('r/#', 1)
  // A message that is published now comes after all that are retained.
  await talker.publish('r/last', 'last')
  await stage.until(() => talker.payloads.includes('last'))
  const found = new Map<string, string>()
  for (const packet of talker.heard) {
    if (packet.cmd === 'publish' && packet.retain) found.set(packet.topic, packet.payload.toString())
  }
  talker.drop()
  const wrong: string[] = []
  for (const topic of topics) {
    const { name, payloads, acknowledged } = topic
    const payload = found.get(name) ?? CLEARED
    const index = payloads.indexOf(payload, Math.max(0, acknowledged))
    // What a reader saw was on disk: nothing older may come back.
    if (index >= 0) topic.acknowledged = index
    else if (acknowledged >= 0 || payload !== CLEARED) {
      wrong.push(`${name}: "${payload}", and one of "${payloads.slice(Math.max(0, acknowledged)).join('", "')}" is due`)
    }
  }
  return wrong
}
