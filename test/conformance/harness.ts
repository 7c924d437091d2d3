import { afterAll, beforeAll, expect, vi } from 'vitest'
import { type BrokerOptions, startBroker, TEST_AUTH, type TestBroker } from '../support/broker.ts'
import { RawClient } from './client.ts'
import { type ConnectFields, connect } from './wire.ts'

/** Subscription options, to be added to a QoS. */
export const NO_LOCAL = 0x04
export const RETAIN_AS_PUBLISHED = 0x08
export const retainHandling = (value: number): number => value << 4

/** A session that outlives its connection, in the words of each version. */
export const KEPT = { clean: false, properties: { sessionExpiry: 100 } }

let unique = 0

/** A topic, filter or client id that no other test uses. */
export function name(word = 't'): string {
  return `${word}${process.pid}x${++unique}`
}

/** Time itself is what the test is about: an expiry, a delay, a keep-alive. */
export function elapse(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** One broker for a test file, and the clients of its tests. */
export class Harness {
  broker!: TestBroker
  readonly #clients: RawClient[] = []

  /** A connection without CONNECT. */
  async open(version: 3 | 4 | 5 = 5): Promise<RawClient> {
    const client = await RawClient.open(this.broker.port, version)
    this.#clients.push(client)
    return client
  }

  /** A connection whose CONNECT was sent, and not answered yet. */
  async begin(fields: ConnectFields = {}): Promise<RawClient> {
    const client = await this.open(fields.version)
    client.send(connect(fields))
    return client
  }

  /** A connection that the broker accepted. */
  async connect(fields: ConnectFields = {}): Promise<RawClient> {
    const client = await this.begin({ clientId: name('c'), ...fields })
    client.connack = await client.expect('connack', { reasonCode: 0 })
    return client
  }

  /** A connection that the broker must refuse with this CONNACK code, and close. */
  async refuse(reasonCode: number, fields: ConnectFields): Promise<void> {
    const client = await this.begin(fields)
    await client.expect('connack', { reasonCode, sessionPresent: false })
    await client.expectClose()
  }

  /** A subscriber to `filter`; `options` is its options byte. */
  async subscriber(filter: string, options = 0, fields: ConnectFields = {}): Promise<RawClient> {
    const client = await this.connect(fields)
    expect(await client.subscribe(filter, options)).toBe(options & 3)
    return client
  }

  /**
   * Waits until new subscriptions to `topic` are sent `payload`: nobody is told when a retained message of QoS 0, or of
   * a will, is stored.
   */
  async stored(topic: string, payload: string): Promise<void> {
    const client = await this.connect()
    const deadlineMs = Date.now() + 8_000
    while (Date.now() < deadlineMs) {
      client.sendSubscribe([[topic, 0]])
      const received = await client.drain()
      if (received.some((one) => one.payload === payload && one.retain)) return client.drop()
    }
    throw new Error(`No retained message "${payload}" of ${topic} was seen`)
  }

  closeClients(): void {
    for (const client of this.#clients.splice(0)) client.drop()
  }
}

/** Starts a broker before the tests of a file and stops it after them. */
export function useBroker(options: BrokerOptions = {}): Harness {
  // Longer than the longest wait for an answer, so that a failure shows the conversation.
  vi.setConfig({ testTimeout: 30_000 })
  const harness = new Harness()
  beforeAll(async () => {
    harness.broker = await startBroker({ ...options, set: [TEST_AUTH, ...(options.set ?? [])] })
  })
  afterAll(async () => {
    harness.closeClients()
    await harness.broker.stop()
  })
  return harness
}

/** Runs the same conversation in both versions. */
export async function inBoth(run: (version: 4 | 5) => Promise<void>): Promise<void> {
  await run(4)
  await run(5)
}
