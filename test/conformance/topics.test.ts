/** Sections 4.7 and 4.8: topics, filters, shared subscriptions. */
import { expect, test } from 'vitest'
import type { RawClient } from './client.ts'
import { inBoth, KEPT, name, RETAIN_AS_PUBLISHED, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker()

/** A filter that is not well formed ends the connection. */
async function refusesFilter(version: 4 | 5, filter: string): Promise<void> {
  for (const build of [
    () => wire.subscribe({ version, filters: [[filter, 0]] }),
    () => wire.unsubscribe({ version, filters: [filter] }),
  ]) {
    const client = await h.connect({ version })
    client.send(build())
    await client.expectError(0x81)
  }
}

/** Which of `topics` reach a subscription to `filter`. */
async function matches(version: 4 | 5, filter: string, topics: readonly string[]): Promise<string[]> {
  const subscriber = await h.subscriber(filter, 1, { version })
  const marker = name('marker')
  await subscriber.subscribe(marker, 1)
  const publisher = await h.connect({ version })
  for (const topic of [...topics, marker]) await publisher.publish(topic, 'x', { qos: 1 })
  const found: string[] = []
  for (;;) {
    const { topic } = await subscriber.receive()
    if (topic === marker) return found
    found.push(topic!)
  }
}

test('[MQTT-4.7.1-1] [v3:MQTT-4.7.1-2] # is the last level, and fills it', async () => {
  await inBoth(async (version) => {
    for (const filter of ['a#', '#a', '#/a', 'a/#/b', 'a/b#', 'a/##', '+#']) await refusesFilter(version, filter)
    const root = name()
    expect(
      await matches(version, `${root}/#`, [root, `${root}/`, `${root}/a`, `${root}/a/b/c`, `${root}x`, `x/${root}/a`]),
    ).toEqual([root, `${root}/`, `${root}/a`, `${root}/a/b/c`])
  })
})

test('[MQTT-4.7.1-2] [v3:MQTT-4.7.1-3] + fills a level, at any place', async () => {
  await inBoth(async (version) => {
    for (const filter of ['a+', '+a', 'a/+b', 'a/b+/c', '++', '+/a+']) await refusesFilter(version, filter)
    const root = name()
    const topics = [
      root,
      `${root}/`,
      `${root}/a`,
      `${root}/a/b`,
      `/${root}`,
      `a/${root}`,
      `a/${root}/b`,
      `a/${root}/b/c`,
    ]
    expect(await matches(version, `${root}/+`, topics)).toEqual([`${root}/`, `${root}/a`])
    expect(await matches(version, `+/${root}`, topics)).toEqual([`/${root}`, `a/${root}`])
    expect(await matches(version, `+/${root}/+`, topics)).toEqual([`a/${root}/b`])
    expect(await matches(version, `+/${root}/+/#`, topics)).toEqual([`a/${root}/b`, `a/${root}/b/c`])
    expect(await matches(version, `${root}/+/b`, topics)).toEqual([`${root}/a/b`])
  })
})

test('[MQTT-4.7.2-1] [v3:MQTT-4.7.2-1] [fails:26] [paho3:test_dollar_topics] [paho5:test_dollar_topics] a leading wildcard does not match topics that begin with $', async () => {
  await inBoth(async (version) => {
    const word = name()
    const topics = [`$${word}/a`, `$${word}`, `$/${word}`, `${word}/$a`]
    expect(await matches(version, `+/a`, topics)).toEqual([])
    expect(await matches(version, `+/${word}`, topics)).toEqual([])
    expect(await matches(version, `+/$a`, topics)).toEqual([`${word}/$a`])
    expect(await matches(version, `$${word}/#`, topics)).toEqual([`$${word}/a`, `$${word}`])
    expect(await matches(version, `$${word}/+`, topics)).toEqual([`$${word}/a`])
    const all = await h.subscriber('#', 1, { version })
    const publisher = await h.connect({ version })
    for (const topic of [...topics, 'marker']) await publisher.publish(topic, 'x', { qos: 1 })
    await all.receive({ topic: `${word}/$a` })
    await all.receive({ topic: 'marker' })
    await all.disconnect()
  })
})

test('[MQTT-4.7.3-1] [v3:MQTT-4.7.3-1] topics and filters have at least one character', async () => {
  await inBoth(async (version) => {
    await refusesFilter(version, '')
    const client = await h.connect({ version })
    client.sendPublish({ topic: '' })
    await client.expectError(0x82)
    expect(await matches(version, '/', ['/'])).toEqual(['/'])
    expect(await matches(version, ' ', [' '])).toEqual([' '])
  })
})

test('[MQTT-4.7.3-3] [v3:MQTT-4.7.3-3] topics and filters of up to 65,535 bytes are accepted', async () => {
  await inBoth(async (version) => {
    const prefix = name()
    const long = `${prefix}/${'ä'.repeat((65_535 - prefix.length - 1) >> 1)}`
    expect(await matches(version, long, [long])).toEqual([long])
    expect(await matches(version, `${prefix}/+`, [long])).toEqual([long])
  })
})

test('[MQTT-4.7.3-4] [v3:MQTT-4.7.3-4] names are compared as they are: no case, no composition, no slashes are changed', async () => {
  await inBoth(async (version) => {
    const root = name()
    // The second is the decomposed form of the first.
    const names = [
      '\u00e9',
      'e\u0301',
      'E\u0301',
      'a/b',
      'a//b',
      '/a/b',
      'a/b/',
      'a /b',
      'A/b',
      '\ufeffa',
      '../a',
      '%61',
    ]
    for (const word of names) {
      expect(
        await matches(
          version,
          `${root}/${word}`,
          names.map((other) => `${root}/${other}`),
        ),
      ).toEqual([`${root}/${word}`])
    }
  })
})

test('[MQTT-4.8.2-1] [MQTT-4.8.2-2] a shared filter has a name without wildcards and a filter', async () => {
  await inBoth(async (version) => {
    for (const filter of ['$share/', '$share//a', '$share/g', '$share/g/', '$share/g+/a', '$share/#/a', '$share/+/a']) {
      await refusesFilter(version, filter)
    }
    await refusesFilter(version, '$share/g/a#')
    const client = await h.connect({ version })
    for (const filter of ['$share/g/a', '$share/g//a', '$share/g/+/#', '$share/ä $/a']) {
      expect(await client.subscribe(filter, 1)).toBe(1)
    }
  })
})

/** Payloads of each member, once `count` messages have come to all of them together. */
async function spread(members: readonly RawClient[], count: number): Promise<string[][]> {
  const got: string[][] = members.map(() => [])
  const deadlineMs = Date.now() + 8_000
  while (got.flat().length < count) {
    for (const [i, member] of members.entries()) {
      for (const received of await member.drain()) {
        got[i]!.push(received.payload!)
        await member.acknowledge(received)
      }
    }
    if (Date.now() > deadlineMs) throw new Error(`Of ${count} messages only these came: ${JSON.stringify(got)}`)
  }
  return got
}

test('[paho5:test_shared_subscriptions] [MQTT-4.8.2-1] each message goes to one member of a group, and to every plain subscriber', async () => {
  for (const version of [4, 5] as const) {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const members: RawClient[] = []
      for (let i = 0; i < 3; i++) members.push(await h.subscriber(`$share/g/${topic}`, 1, { version, ...kept }))
      const other = await h.subscriber(`$share/other/${topic}`, 1, { version })
      const plain = await h.subscriber(topic, 1, { version })
      const publisher = await h.connect({ version })
      const payloads = Array.from({ length: 30 }, (_, i) => `${i}`)
      for (const payload of payloads) await publisher.publish(topic, payload, { qos: 1 })
      const got = await spread(members, 30)
      expect(got.flat().toSorted()).toEqual(payloads.toSorted())
      for (const list of got) expect(list.length).toBeGreaterThan(0)
      for (const payload of payloads) {
        await other.receive({ payload })
        await plain.receive({ payload })
      }
      for (const client of [...members, other, plain]) await client.expectSilence()
    }
  }
})

test('a member with a plain subscription as well gets both copies', async () => {
  const topic = name()
  const client = await h.subscriber(`$share/g/${topic}`, 1)
  await client.subscribe(topic, 1)
  await (await h.connect()).publish(topic, 'x', { qos: 1 })
  await client.receive({ payload: 'x' })
  await client.receive({ payload: 'x' })
  await client.expectSilence()
})

test('[MQTT-4.8.2-3] a member gets no more than the QoS that it was granted', async () => {
  for (const kept of [{}, KEPT]) {
    for (const granted of [0, 1, 2]) {
      const topic = name()
      const member = await h.subscriber(`$share/g/${topic}`, granted, kept)
      const publisher = await h.connect()
      for (const qos of [0, 1, 2]) {
        await publisher.publish(topic, 'x', { qos })
        await member.receive({ qos: Math.min(qos, granted) })
      }
    }
  }
})

test('[MQTT-4.8.2-3] members of one group may have different QoS', async () => {
  const topic = name()
  const low = await h.subscriber(`$share/g/${topic}`, 0)
  const high = await h.subscriber(`$share/g/${topic}`, 2)
  const publisher = await h.connect()
  for (let i = 0; i < 4; i++) await publisher.publish(topic, `${i}`, { qos: 1 })
  for (let i = 0; i < 2; i++) await low.receive({ qos: 0 })
  for (let i = 0; i < 2; i++) await high.receive({ qos: 1 })
})

test('a message for a group carries the identifier and the retain flag that the member asked for', async () => {
  for (const kept of [{}, KEPT]) {
    for (const keepsRetain of [false, true]) {
      const topic = name()
      const member = await h.connect(kept)
      await member.subscribe(`$share/g/${topic}`, 2 | (keepsRetain ? RETAIN_AS_PUBLISHED : 0), { subscriptionId: 9 })
      const publisher = await h.connect()
      for (const qos of [0, 1, 2]) {
        await publisher.publish(topic, 'x', { qos, retain: true })
        await member.receive({ qos, retain: keepsRetain, properties: { subscriptionId: [9] } })
      }
    }
  }
})

test('[MQTT-4.8.2-4] a message of QoS 2 under way to a member is completed with it when it comes back', async () => {
  const topic = name()
  const fields = { clientId: name('c'), ...KEPT }
  const member = await h.subscriber(`$share/g/${topic}`, 2, fields)
  const publisher = await h.connect()
  await publisher.publish(topic, 'first', { qos: 2 })
  await publisher.publish(topic, 'second', { qos: 2 })
  const first = await member.expect('publish', { payload: 'first' })
  const second = await member.expect('publish', { payload: 'second' })
  member.send(wire.ack('pubrec', second.packetId!))
  await member.expect('pubrel', { packetId: second.packetId })
  member.drop()
  const other = await h.subscriber(`$share/g/${topic}`, 2, KEPT)
  const again = await h.connect(fields)
  const packets = [await again.next(), await again.next()]
  const resent = packets.find(({ type }) => type === 'publish')!
  expect(resent).toMatchObject({ payload: 'first', packetId: first.packetId, dup: true })
  expect(packets.find(({ type }) => type === 'pubrel')).toMatchObject({ packetId: second.packetId })
  again.send(wire.ack('pubcomp', second.packetId!))
  await again.acknowledge(resent)
  await again.expectSilence()
  await other.expectSilence()
})

test('[MQTT-4.8.2-5] a message of QoS 2 under way to a member whose session ends goes to no other', async () => {
  const topic = name()
  // With room for one message each, two messages go to two members.
  const fields = { clean: false, properties: { sessionExpiry: 60, receiveMaximum: 1 } }
  const member = await h.subscriber(`$share/g/${topic}`, 2, fields)
  const other = await h.subscriber(`$share/g/${topic}`, 2, fields)
  const publisher = await h.connect()
  for (const payload of ['1', '2']) await publisher.publish(topic, payload, { qos: 2 })
  const own = await member.expect('publish')
  const others = await other.expect('publish')
  expect([own.payload, others.payload].toSorted()).toEqual(['1', '2'])
  await member.disconnect(0, { sessionExpiry: 0 })
  await other.acknowledge(others)
  await publisher.publish(topic, 'marker', { qos: 2 })
  await other.receive({ payload: 'marker' })
})

test('[MQTT-4.8.2-6] a message that a member refuses goes to no other', async () => {
  for (const kept of [false, true]) {
    const topic = name()
    const fields = { clean: !kept, properties: { sessionExpiry: kept ? 60 : 0, receiveMaximum: 1 } }
    const members = [await h.subscriber(`$share/g/${topic}`, 2, fields)]
    members.push(await h.subscriber(`$share/g/${topic}`, 2, fields))
    const publisher = await h.connect()
    for (const [qos, ack] of [
      [1, 'puback'],
      [2, 'pubrec'],
    ] as const) {
      for (const payload of ['1', '2']) await publisher.publish(topic, payload, { qos })
      const got = [await members[0]!.expect('publish'), await members[1]!.expect('publish')]
      expect(got.map(({ payload }) => payload).toSorted()).toEqual(['1', '2'])
      for (const [i, member] of members.entries()) member.send(wire.ack(ack, got[i]!.packetId!, 0x83))
      for (const member of members) await member.expectSilence()
    }
  }
})

test('a group without a member connected keeps what is published for persistent ones', async () => {
  const topic = name()
  const fields = { clientId: name('c'), ...KEPT }
  await (await h.subscriber(`$share/g/${topic}`, 1, fields)).disconnect()
  const publisher = await h.connect()
  for (const payload of ['1', '2', '3']) await publisher.publish(topic, payload, { qos: 1 })
  const again = await h.connect(fields)
  for (const payload of ['1', '2', '3']) await again.receive({ payload })
})

test('$oshare: all messages of one publisher go to one member, in their order', async () => {
  const topic = name()
  const members = [await h.subscriber(`$oshare/g/${topic}`, 1), await h.subscriber(`$oshare/g/${topic}`, 1)]
  const publisher = await h.connect()
  const payloads = Array.from({ length: 20 }, (_, i) => `${i}`)
  for (const payload of payloads) await publisher.publish(topic, payload, { qos: 1 })
  const got = await spread(members, 20)
  expect(got.toSorted((a, b) => a.length - b.length)).toEqual([[], payloads])
})
