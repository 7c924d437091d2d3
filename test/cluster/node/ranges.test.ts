import { readdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { eventually, type NodeProcess, using } from './fleet.ts'

const ON_DISK = ['--set', 'store.engine=rocksdb']

/** A persistent session: what was sent to it while it was away comes when it is back, wherever that is. */
async function session(node: NodeProcess, clientId: string): Promise<{ client: MqttClient; got: string[] }> {
  const client = await connectAsync(
    `mqtt://${node.listener('tcp')}`,
    { clientId, clean: false, reconnectPeriod: 0 },
    false,
  )
  const got: string[] = []
  client.on('message', (_topic, payload) => got.push(payload.toString()))
  return { client, got }
}

async function publish(node: NodeProcess, messages: readonly string[]): Promise<void> {
  const client = await connectAsync(`mqtt://${node.listener('tcp')}`, { reconnectPeriod: 0 }, false)
  for (const message of messages) await client.publishAsync('a/b', message, { qos: 1 })
  await client.endAsync()
}

test('what was acknowledged is on a majority: it outlives the node that acknowledged it, and its disk', async () => {
  await using(async (fleet) => {
    const [first, second, third] = (await fleet.star(3, ON_DISK)) as [NodeProcess, NodeProcess, NodeProcess]
    await fleet.replicated(3)
    const before = await session(first, 'c1')
    await before.client.subscribeAsync('a/#', { qos: 1 })
    await before.client.endAsync()
    await publish(first, ['1', '2', '3'])
    await first.kill()
    await publish(second, ['4'])
    const after = await session(third, 'c1')
    await eventually(async () => after.got.length >= 4, 'all messages')
    expect(after.got).toEqual(['1', '2', '3', '4'])
    await after.client.endAsync()
  })
})

test('a node whose disk has lost writes gives its replicas up, and is made anew from the others', async () => {
  await using(async (fleet) => {
    const [first, second, third] = (await fleet.star(3, ON_DISK)) as [NodeProcess, NodeProcess, NodeProcess]
    await fleet.replicated(3)
    const held = await session(first, 'c1')
    await held.client.subscribeAsync('a/#', { qos: 1 })
    await held.client.endAsync()
    await publish(second, ['1', '2'])
    await third.kill()
    const folder = join(third.data, 'store', 'rocksdb')
    const logs = readdirSync(folder).filter((name) => name.endsWith('.log'))
    const largest = logs.map((name) => join(folder, name)).sort((a, b) => statSync(b).size - statSync(a).size)[0]!
    truncateSync(largest, statSync(largest).size >> 1)
    await third.start()
    await fleet.whole()
    expect(third.output).toMatch(/the replica here is given up, the disk has lost writes/)
    await fleet.replicated(3)
    // Nothing is lost with the first one: the third one has all of it again.
    await first.kill()
    await publish(third, ['3'])
    const after = await session(third, 'c1')
    await eventually(async () => after.got.length >= 3, 'all messages')
    expect(after.got).toEqual(['1', '2', '3'])
    await after.client.endAsync()
  })
})
