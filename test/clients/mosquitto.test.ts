/** Debian's mosquitto clients against a real process. */
import { connectAsync } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { hasMosquitto, Program } from './programs.ts'

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 })

describe.skipIf(!hasMosquitto)('mosquitto clients (skipped where mosquitto-clients is not installed)', () => {
  let broker: TestBroker
  const running: Program[] = []

  beforeAll(async () => {
    broker = await startBroker({ process: true })
  })
  afterAll(() => broker.stop())
  afterEach(() => {
    for (const program of running.splice(0)) program.child.kill('SIGKILL')
  })

  function start(name: 'pub' | 'sub' | 'rr', args: readonly string[], input = ''): Program {
    const program = new Program(`mosquitto_${name}`, ['-h', '127.0.0.1', '-p', `${broker.port}`, ...args], input)
    running.push(program)
    return program
  }

  async function publish(...args: string[]): Promise<void> {
    expect(await start('pub', args).end()).toBe(0)
  }

  /** A mosquitto_sub whose subscriptions stand. */
  async function subscribe(...args: string[]): Promise<Program> {
    const program = start('sub', ['-d', '-F', 'message %q %r %t %p', ...args])
    await program.line(/received SUBACK/)
    return program
  }

  for (const version of ['mqttv31', 'mqttv311', 'mqttv5']) {
    test(`publishes and subscribes at each QoS, ${version}`, async () => {
      const topic = `each/${version}`
      const subscriber = await subscribe('-V', version, '-t', `${topic}/#`, '-q', '2')
      for (const qos of ['0', '1', '2']) {
        await publish('-V', version, '-t', `${topic}/${qos}`, '-q', qos, '-m', `qos ${qos}`)
        await subscriber.line(new RegExp(`^message ${qos} 0 ${topic}/${qos} qos ${qos}$`))
      }
    })
  }

  test('a large message arrives whole', async () => {
    const subscriber = await subscribe('-V', 'mqttv5', '-t', 'large', '-q', '1')
    await publish('-V', 'mqttv5', '-t', 'large', '-q', '1', '-m', 'x'.repeat(100_000))
    expect(await subscriber.line(/^message 1 0 large x{100000}$/)).toBeTruthy()
  })

  test('a retained message waits for its subscriber, and is cleared', async () => {
    await publish('-t', 'retained/a', '-q', '1', '-r', '-m', 'kept')
    const first = await subscribe('-t', 'retained/#', '-q', '1')
    await first.line(/^message 1 1 retained\/a kept$/)
    await publish('-t', 'retained/a', '-q', '1', '-r', '-n')
    await first.line(/^message 1 0 retained\/a $/)
    await publish('-t', 'retained/b', '-q', '1', '-r', '-m', 'marker')
    const second = await subscribe('-t', 'retained/#', '-q', '1')
    expect(await second.line(/^message/)).toBe('message 1 1 retained/b marker')
  })

  test('the will of a killed client is published, that of one that leaves is not', async () => {
    const watcher = await subscribe('-t', 'will/#', '-q', '1')
    const will = (name: string) => ['--will-topic', `will/${name}`, '--will-payload', 'gone', '--will-qos', '1']
    const leaver = await subscribe('-t', 'other', ...will('leaver'))
    leaver.child.kill('SIGTERM')
    await leaver.end()
    const killed = await subscribe('-t', 'other', ...will('killed'))
    killed.child.kill('SIGKILL')
    await watcher.line(/^message 1 0 will\/killed gone$/)
    expect(watcher.lines.filter((line) => line.includes('leaver'))).toEqual([])
  })

  for (const [version, expiry] of [
    ['mqttv311', []],
    ['mqttv5', ['-x', '60']],
  ] as const) {
    test(`a persistent session gets what was published meanwhile, ${version}`, async () => {
      const topic = `kept/${version}`
      const session = ['-V', version, ...expiry, '-i', `kept-${version}`, '-c', '-t', topic, '-q', '2']
      expect(await start('sub', [...session, '-E']).end()).toBe(0)
      for (const qos of ['1', '2']) await publish('-V', version, '-t', topic, '-q', qos, '-m', `qos ${qos}`)
      const again = start('sub', [...session, '-C', '2', '-F', 'message %q %p'])
      expect(await again.end()).toBe(0)
      expect(again.lines.filter((line) => line.startsWith('message'))).toEqual(['message 1 qos 1', 'message 2 qos 2'])
    })
  }

  test('mosquitto_rr gets the answer to its request', async () => {
    const responder = await connectAsync(`mqtt://127.0.0.1:${broker.port}`, { protocolVersion: 5 })
    await responder.subscribeAsync('request', { qos: 1 })
    responder.on('message', (_topic, payload, packet) => {
      const { responseTopic, correlationData } = packet.properties!
      void responder.publishAsync(responseTopic!, `answer to ${payload}`, {
        qos: 1,
        properties: { correlationData: correlationData! },
      })
    })
    const requester = start('rr', ['-V', 'mqttv5', '-t', 'request', '-e', 'response', '-q', '1', '-m', 'question'])
    await requester.line(/^answer to question$/)
    expect(await requester.end()).toBe(0)
    await responder.endAsync()
  })

  test('a shared subscription spreads messages over its members', async () => {
    const members = [
      await subscribe('-t', '$share/g/shared', '-q', '1'),
      await subscribe('-t', '$share/g/shared', '-q', '1'),
    ]
    const lines = Array.from({ length: 20 }, (_, i) => `m${i}`)
    const publisher = start('pub', ['-t', 'shared', '-q', '1', '-l'], `${lines.join('\n')}\n`)
    expect(await publisher.end()).toBe(0)
    const got = await Promise.all(members.map((member) => member.matching(/^message/, 10)))
    expect(
      got
        .flat()
        .map((line) => line.split(' ').at(-1))
        .toSorted(),
    ).toEqual(lines.toSorted())
  })

  test('properties of version 5 pass through', async () => {
    const subscriber = start('sub', ['-d', '-V', 'mqttv5', '-t', 'props', '-F', 'message %C %R %P %p'])
    await subscriber.line(/received SUBACK/)
    const property = (...words: string[]) => ['-D', 'publish', ...words]
    await publish(
      ...['-V', 'mqttv5', '-t', 'props', '-m', 'x', ...property('content-type', 'text/plain')],
      ...[...property('response-topic', 'reply'), ...property('user-property', 'a', 'b')],
    )
    await subscriber.line(/^message text\/plain reply a:b x$/)
  })
})
