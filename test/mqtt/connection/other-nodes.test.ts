import { expect, test } from 'vitest'
import type { TenantId } from '../../../src/base/ids.ts'
import { encodePacket, type Publish } from '../../../src/mqtt/codec/index.ts'
import type { OtherNodes, Sent } from '../../../src/mqtt/routing/other-nodes.ts'
import { Harness } from './harness.ts'

/** Another node that notes what is sent to it. */
class Far implements OtherNodes {
  readonly sent: string[] = []
  answer: Sent = 'accepted'
  readonly waiting: ((error: Error | null) => void)[] = []

  route(node: string, _tenant: TenantId, topic: string, filters: readonly string[]): ReturnType<OtherNodes['route']> {
    const to = `${node} ${topic} ${filters}`
    return {
      send: (publication) => {
        this.sent.push(`${to} q${publication.qos} ${Buffer.from(publication.message().payload)}`)
        return this.answer
      },
      sendPackets: (publisher, _timestamp, { version, buffer, start, end, count }) => {
        this.sent.push(`${to} v${version} ${publisher} x${count} ${end - start}`)
        expect(buffer[start]).toBe(0x30)
      },
      wait: (_message, done) => void this.waiting.push(done),
    }
  }

  groupRoute(): never {
    throw new Error('No groups here')
  }

  groupCredit(): number {
    return 0
  }

  ask(): boolean {
    return false
  }
}

async function setup() {
  const far = new Far()
  const harness = await new Harness({ others: far }).start()
  const receiver = { kind: 'node', node: 'n2' } as const
  await harness.dist.change({ op: 'add', tenant: 'default' as TenantId, filter: 't/#', incarnation: 1, receiver })
  return { far, harness }
}

const packetOf = (payload: string, fields: Partial<Publish> = {}) =>
  encodePacket(
    {
      ...{
        type: 'publish',
        topic: 't/1',
        payload: Buffer.from(payload),
        qos: 0,
        retain: false,
        dup: false,
        packetId: 0,
      },
      properties: {},
      ...fields,
    },
    5,
  )

test('consecutive QoS 0 packets of one topic go to another node as one run, in bounded pieces', async () => {
  const { far, harness } = await setup()
  const local = await harness.subscriber('t/1')
  const publisher = await harness.connect({ clientId: 'p' })
  const packets = ['1', '2', '3'].map((payload) => packetOf(payload))
  publisher.transport.send(Buffer.concat([...packets, packetOf('4', { topic: 't/2' }), packetOf('5')]))
  await harness.settle()
  const size = packets[0]!.length
  expect(far.sent).toEqual([
    `n2 t/1 t/# v5 p x3 ${3 * size}`,
    `n2 t/2 t/# v5 p x1 ${size}`,
    `n2 t/1 t/# v5 p x1 ${size}`,
  ])
  expect(local.payloads()).toEqual(['1', '2', '3', '5'])
  far.sent.length = 0
  publisher.transport.send(Buffer.concat(Array.from({ length: 40 }, () => packetOf('x'.repeat(1_000)))))
  await harness.settle()
  expect(far.sent).toHaveLength(3)
  expect(local.payloads()).toHaveLength(40)
})

test('what changes on the way goes as a message', async () => {
  const { far, harness } = await setup()
  const publisher = await harness.connect({ clientId: 'p' })
  const expiring = packetOf('expires', { properties: { messageExpiryInterval: 9 } })
  const aliased = packetOf('alias', { properties: { topicAlias: 1 } })
  publisher.transport.send(Buffer.concat([packetOf('1'), expiring, aliased, packetOf('2')]))
  await harness.settle()
  const size = packetOf('1').length
  const run = `n2 t/1 t/# v5 p x1 ${size}`
  expect(far.sent).toEqual([run, 'n2 t/1 t/# q0 expires', 'n2 t/1 t/# q0 alias', run])
})

test('PUBACK waits for room towards another node, and says when there is none', async () => {
  const { far, harness } = await setup()
  const publisher = await harness.connect()
  publisher.publish('t/1', 'one', { qos: 1 })
  expect((await publisher.expect('puback')).reasonCode).toBe(0)
  far.answer = 'full'
  publisher.publish('t/1', 'two', { qos: 1 })
  publisher.publish('t/1', 'three', { qos: 1 })
  await harness.settle()
  expect([publisher.arrived(), far.waiting.length]).toEqual([[], 2])
  far.waiting[1]!(Object.assign(new Error('full'), { reasonCode: 0x97 }))
  far.waiting[0]!(null)
  expect((await publisher.expect('puback')).reasonCode).toBe(0)
  expect((await publisher.expect('puback')).reasonCode).toBe(0x97)
})
