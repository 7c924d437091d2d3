import { afterEach, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { MatchMessage } from '../../../src/kv/lease/index.ts'
import { LeaseLinks } from '../../../src/kv/remote/lease-links.ts'
import { bytesCodec, CHANNEL } from '../../../src/rpc/index.ts'
import { introduce, startNode, stopAll, until } from '../../rpc/rig.ts'

afterEach(stopAll)

const who = { holder: 'n1', incarnation: 2 ** 50 + 1 }
const MESSAGES: MatchMessage[] = [
  { type: 'ask', ask: { ...who, ask: 7, applied: 2 ** 40, version: 3 } },
  { type: 'answer', answer: { type: 'granted', ...who, ask: 7, index: 12, forMs: 1470.29 } },
  { type: 'answer', answer: { type: 'refused', ...who, ask: 8, reason: 'not-ready' } },
  { type: 'answer', answer: { type: 'refused', ...who, ask: 9, reason: 'version' } },
  { type: 'answer', answer: { type: 'refused', ...who, ask: 9, reason: 'fenced' } },
  { type: 'applied', report: { ...who, applied: 13 } },
]

async function pair() {
  const [a, b] = [await startNode('a'), await startNode('b')]
  introduce(a, b)
  const [out, into] = [new LeaseLinks(a.peers), new LeaseLinks(b.peers)]
  const heard: unknown[] = []
  for (const kind of ['match', 'node'] as const) {
    into.attach(kind, (from, range, message) => heard.push([from, kind, range, message]))
  }
  return { a, b, out, into, heard }
}

test('messages of all kinds arrive, those of a turn in one frame', async () => {
  const { a, b, out, heard } = await pair()
  const frames: Uint8Array[] = []
  const { send } = a.peers
  a.peers.send = (to, channel, message) => {
    frames.push(message as Uint8Array)
    return send.call(a.peers, to, channel, message)
  }
  for (const message of MESSAGES) {
    out.send(b.id, 'match', 'r1', message)
    out.send(b.id, 'node', 'range ü', message)
  }
  await until(() => heard.length === 12, 'all arrive')
  expect(heard).toEqual(
    MESSAGES.flatMap((message) => [
      ['a', 'match', 'r1', message],
      ['a', 'node', 'range ü', message],
    ]),
  )
  expect(frames).toHaveLength(1)
})

test('what a link does not take is counted, and so is what cannot be read', async () => {
  const { a, b, out, into, heard } = await pair()
  out.send('nobody' as typeof b.id, 'match', 'r1', MESSAGES[0]!)
  await until(() => out.refused === 1, 'it is counted')
  const frames: Buffer[] = []
  const { send } = a.peers
  a.peers.send = (to, channel, message) => {
    frames.push(Buffer.from(message as Uint8Array))
    return send.call(a.peers, to, channel, message)
  }
  for (const message of MESSAGES) out.send(b.id, 'match', 'r1', message)
  await until(() => heard.length === 6, 'all arrive')
  const raw = { type: 'message', number: CHANNEL.lease, name: 'lease', kind: 'raft', message: bytesCodec } as const
  const [good] = frames
  const random = seededRandom(1)
  const bad = [Buffer.alloc(0), Buffer.from([9]), good!.subarray(0, -1), Buffer.concat([good!, Buffer.from([0])])]
  for (const frame of bad) send.call(a.peers, b.id, raw, frame)
  await until(() => into.malformed === bad.length, 'all are counted')
  // Whatever the bytes are, nothing throws.
  for (let i = 0; i < 500; i++) {
    const changed = Buffer.from(good!)
    for (let j = 0; j <= random.below(3); j++) changed[random.below(changed.length)] = random.below(256)
    send.call(a.peers, b.id, raw, changed)
  }
  out.send(b.id, 'node', 'last', MESSAGES[0]!)
  await until(() => heard.some((line) => (line as string[])[2] === 'last'), 'the last arrives')
})
