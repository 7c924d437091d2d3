import type { SubscriptionOptions } from '../../dist/index.ts'
import type { ProtocolVersion } from '../codec/index.ts'
import type { Output } from '../connection/output.ts'
import type { Publication } from './publication.ts'

/** What routing sees of a connection with transient subscriptions. */
export interface Subscriber {
  readonly version: ProtocolVersion
  readonly clientId: string
  readonly output: Output
  /** Largest packet the client takes. */
  readonly clientPacketBytesMax: number
  /** Waiting bytes at which QoS 0 is dropped. */
  readonly outputBytesMax: number
  /** True where no two packets are alike: topic aliases are in use towards this client. */
  readonly individual: boolean
  /** True while retained messages are streamed: each live topic is noted, so that none older follows. */
  streaming: boolean
  noteLive(topic: string, timestamp: number): void
  /** QoS 0 was dropped: the client reads too slowly or the packet is too large for it. */
  dropped(count: number, reason: 'slow-consumer' | 'too-large'): void
  /** Everything but the plain QoS 0 case. */
  deliver(publication: Publication, target: LocalTarget): void
  /** How much more it takes now: 0 = none. For the choice of a shared group's member. */
  credit(): number
}

/** One subscriber of a topic with its matching subscriptions merged: one copy, highest QoS, every identifier. */
export interface LocalTarget {
  readonly subscriber: Subscriber
  qos: number
  /** True where one of the subscriptions has no-local. */
  noLocal: boolean
  retainAsPublished: boolean
  subscriptionIds: readonly number[]
  /** The subscriptions themselves where more than one matched; else null. */
  overlapping: SubscriptionOptions[] | null
}

const NO_IDS: readonly number[] = []

/** A subscription as the only one of its subscriber that matches. */
export function toTarget(subscriber: Subscriber, options: SubscriptionOptions): LocalTarget {
  return {
    subscriber,
    qos: options.qos,
    noLocal: options.noLocal,
    retainAsPublished: options.retainAsPublished,
    subscriptionIds: options.subscriptionId === 0 ? NO_IDS : [options.subscriptionId],
    overlapping: null,
  }
}
