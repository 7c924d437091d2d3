import { connect as openSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import { expect } from 'vitest'
import * as wire from './wire.ts'

/** How long an answer may take before a test fails: the machine may be busy. Runs of mutations wait less. */
const ANSWER_MS_MAX = Number(process.env.CONFORMANCE_ANSWER_MS ?? 8_000)

/** Fields that must be as given; objects and lists in full. */
export type Expected = { [Field in keyof wire.Received]?: unknown }

export type PublishFields = Omit<wire.PublishFields, 'version'>
export type SubscribeOptions = Omit<wire.SubscribeFields, 'version' | 'filters'>

interface Waiter {
  resolve(received: wire.Received | null): void
  reject(error: Error): void
}

/**
 * A client that sends what it is told to, byte by byte, and judges every packet that comes back. It answers nothing by
 * itself: what a test does not do is not done.
 */
export class RawClient {
  readonly version: wire.Version
  readonly #stream: Duplex
  readonly #received: wire.Received[] = []
  readonly #waiters: Waiter[] = []
  readonly #log: string[] = []
  #pending: Buffer = Buffer.alloc(0)
  #closed = false
  #failure: Error | null = null
  #nextId = 1
  /** The CONNACK, where the connection was opened with one. */
  connack: wire.Received = { type: 'connack', size: 0, properties: {} }

  constructor(stream: Duplex, version: wire.Version) {
    this.version = version
    this.#stream = stream
    stream.on('data', (chunk: Buffer) => this.#onData(chunk))
    stream.on('error', () => this.#onClose())
    stream.on('close', () => this.#onClose())
    stream.on('end', () => this.#onClose())
  }

  static async open(port: number, version: wire.Version): Promise<RawClient> {
    const socket = openSocket({ port, host: '127.0.0.1', noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawClient(socket, version)
  }

  // --- to the broker

  /** Sends bytes as they are, all in one write. */
  send(...packets: Buffer[]): void {
    const bytes = Buffer.concat(packets)
    this.#log.push(`> ${bytes.subarray(0, 200).toString('hex')}`)
    this.#stream.write(bytes)
  }

  sendPublish(fields: PublishFields): void {
    this.send(wire.publish({ version: this.version, ...fields }))
  }

  sendSubscribe(filters: readonly wire.Filter[], options: SubscribeOptions = {}): void {
    this.send(wire.subscribe({ version: this.version, filters, ...options }))
  }

  sendUnsubscribe(filters: readonly string[], options: Omit<SubscribeOptions, 'first'> = {}): void {
    this.send(wire.unsubscribe({ version: this.version, filters, ...options }))
  }

  /** Closes without a DISCONNECT: the will is due. */
  drop(): void {
    this.#stream.destroy()
  }

  /** Closes this side only, as a half-open client does. */
  end(): void {
    this.#stream.end()
  }

  /** Stops reading, so that the broker cannot send more than the kernel holds. */
  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  // --- from the broker

  /** The next packet, whatever it is; fails where the connection is closed instead. */
  async next(): Promise<wire.Received> {
    const received = await this.#take()
    if (received === null) throw this.#error('The connection was closed, a packet was expected')
    return received
  }

  /** The next packet, which must be of this type and have these fields. */
  async expect(type: wire.PacketName, fields: Expected = {}): Promise<wire.Received> {
    const received = await this.next()
    const { properties, ...others } = fields
    expect(received, this.#describe()).toMatchObject({ type, ...others })
    if (properties !== undefined) expect(received.properties, this.#describe()).toEqual(properties)
    return received
  }

  /** The connection ends without another packet. */
  async expectClose(): Promise<void> {
    const received = await this.#take()
    if (received !== null) throw this.#error(`The connection should close, but ${received.type} came`)
  }

  /** The broker ends the connection after an error: version 5 is told why [MQTT-4.13.1-1], 3.x is not. */
  async expectError(reasonCode: number): Promise<void> {
    if (this.version === 5) await this.expect('disconnect', { reasonCode })
    await this.expectClose()
  }

  /** Nothing came since: proven by a round trip. */
  async expectSilence(): Promise<void> {
    this.send(wire.PINGREQ)
    await this.expect('pingresp')
  }

  /** A PUBLISH with these fields, acknowledged to its end. */
  async receive(fields: Expected = {}): Promise<wire.Received> {
    const received = await this.expect('publish', fields)
    await this.acknowledge(received)
    return received
  }

  /** Acknowledges a PUBLISH that was received, to the end of its exchange. */
  async acknowledge(received: wire.Received): Promise<void> {
    const id = received.packetId!
    if (received.qos === 1) this.send(wire.ack('puback', id))
    if (received.qos !== 2) return
    this.send(wire.ack('pubrec', id))
    await this.#passBy('pubrel', { packetId: id, reasonCode: 0 })
    this.send(wire.ack('pubcomp', id))
  }

  /** Everything that came up to now, unanswered: proven by a round trip. */
  async drain(): Promise<wire.Received[]> {
    this.send(wire.PINGREQ)
    const received: wire.Received[] = []
    for (;;) {
      const one = await this.next()
      if (one.type === 'pingresp') return received
      received.push(one)
    }
  }

  // --- whole exchanges

  /** Publishes and sees the exchange through; returns the reason code of the first answer. */
  async publish(topic: string, payload = '', fields: PublishFields = {}): Promise<number> {
    const qos = fields.qos ?? 0
    const packetId = fields.packetId ?? this.#nextId++
    this.sendPublish({ topic, payload, packetId, ...fields })
    if (qos === 0) return 0
    const answer = await this.expect(qos === 1 ? 'puback' : 'pubrec', { packetId })
    if (qos === 2 && answer.reasonCode! < 0x80) {
      this.send(wire.ack('pubrel', packetId))
      await this.expect('pubcomp', { packetId, reasonCode: 0 })
    }
    return answer.reasonCode!
  }

  /** Subscribes to one filter; `options` is its options byte, so that a QoS alone is one. Returns the reason code. */
  async subscribe(filter: string, options = 0, values: wire.Properties = {}): Promise<number> {
    const packetId = this.#nextId++
    this.sendSubscribe([[filter, options]], { packetId, properties: values })
    const { reasonCodes } = await this.expect('suback', { packetId })
    return reasonCodes![0]!
  }

  async unsubscribe(filter: string): Promise<void> {
    const packetId = this.#nextId++
    this.sendUnsubscribe([filter], { packetId })
    await this.expect('unsuback', { packetId })
  }

  /** A normal end: DISCONNECT, then the broker closes. */
  async disconnect(code?: number, values?: wire.Properties): Promise<void> {
    this.send(wire.disconnect(code, values))
    await this.expectClose()
  }

  // --- inside

  /** As {@link expect}, past PUBLISH packets that are under way already: those stay to be read. */
  async #passBy(type: wire.PacketName, fields: Expected): Promise<void> {
    const passed: wire.Received[] = []
    for (let next = await this.next(); ; next = await this.next()) {
      if (next.type === 'publish') {
        passed.push(next)
        continue
      }
      expect(next, this.#describe()).toMatchObject({ type, ...fields })
      break
    }
    this.#received.unshift(...passed)
  }

  #take(): Promise<wire.Received | null> {
    if (this.#failure) throw this.#failure
    const received = this.#received.shift()
    if (received) return Promise.resolve(received)
    if (this.#closed) return Promise.resolve(null)
    return new Promise((resolve, reject) => {
      const timeout = setTimeout(() => reject(this.#error('No answer came')), ANSWER_MS_MAX)
      const settled =
        <Value>(settle: (value: Value) => void) =>
        (value: Value) => {
          clearTimeout(timeout)
          settle(value)
        }
      this.#waiters.push({ resolve: settled(resolve), reject: settled(reject) })
    })
  }

  #onData(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    try {
      for (let size = this.#size(); size > 0; size = this.#size()) {
        const bytes = this.#pending.subarray(0, size)
        this.#pending = this.#pending.subarray(size)
        this.#log.push(`< ${bytes.subarray(0, 200).toString('hex')}`)
        this.#push(wire.decode(bytes, this.version))
      }
    } catch (error) {
      this.#failure = this.#error((error as Error).message)
      this.#waiters.shift()?.reject(this.#failure)
    }
  }

  #size(): number {
    return this.#pending.length < 2 ? 0 : wire.packetLength(this.#pending)
  }

  #push(received: wire.Received): void {
    const waiter = this.#waiters.shift()
    if (waiter) waiter.resolve(received)
    else this.#received.push(received)
  }

  #onClose(): void {
    if (this.#closed) return
    this.#closed = true
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(null)
    this.#stream.destroy()
  }

  #error(message: string): Error {
    return new Error(`${message}\n${this.#describe()}`)
  }

  #describe(): string {
    return `MQTT version ${this.version}, the last packets were:\n${this.#log.slice(-12).join('\n')}`
  }
}
