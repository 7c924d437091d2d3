import type { ProtocolVersion } from '../../../src/mqtt/codec/index.ts'
import { FlushQueue } from '../../../src/mqtt/connection/flush-queue.ts'
import { Output } from '../../../src/mqtt/connection/output.ts'
import type { Publication } from '../../../src/mqtt/routing/publication.ts'
import type { LocalTarget, Subscriber } from '../../../src/mqtt/routing/subscriber.ts'
import { FakeTransport } from '../connection/fake-transport.ts'
import { Client } from '../connection/harness.ts'

/** A subscriber that notes what it is given. */
export class FakeSubscriber implements Subscriber {
  readonly clientId: string
  readonly version: ProtocolVersion
  clientPacketBytesMax = Number.POSITIVE_INFINITY
  outputBytesMax = 1 << 20
  individual = false
  streaming = false
  room = 1
  readonly transport = new FakeTransport()
  readonly queue = new FlushQueue(() => {})
  readonly output = new Output(this.transport, this.queue)
  /** `payload qos ids`, for what came one by one. */
  readonly delivered: string[] = []
  readonly drops: string[] = []
  readonly live: string[] = []

  constructor(clientId: string, version: ProtocolVersion = 5) {
    this.clientId = clientId
    this.version = version
    this.transport.version = version
  }

  noteLive(topic: string, timestamp: number): void {
    this.live.push(`${topic} ${timestamp}`)
  }

  dropped(count: number, reason: string): void {
    this.drops.push(`${count} ${reason}`)
  }

  deliver(publication: Publication, target: LocalTarget): void {
    const payload = Buffer.from(publication.message().payload).toString()
    const qos = Math.min(publication.qos, target.qos)
    const retain = publication.retain && target.retainAsPublished ? ' retain' : ''
    this.delivered.push(`${payload} q${qos}${retain} [${target.subscriptionIds}]`)
  }

  credit(): number {
    return this.room
  }

  /** What came as plain QoS 0 packets. */
  plain(): string[] {
    this.output.flush()
    const client = new Client(null as never, this.transport, this.version)
    return client.payloads()
  }
}
