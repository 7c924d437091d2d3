import type { QoS } from '../base/message.ts'
import type { SubscriptionOptions } from './contract.ts'

/** Options of a subscription in 32 bits: `identifier 28 | retain as published 1 | no local 1 | QoS 2`. */
export function packOptions(options: SubscriptionOptions): number {
  const flags = options.qos | (options.noLocal ? 4 : 0) | (options.retainAsPublished ? 8 : 0)
  return ((options.subscriptionId << 4) | flags) >>> 0
}

export function unpackOptions(packed: number): SubscriptionOptions {
  return {
    qos: (packed & 3) as QoS,
    noLocal: (packed & 4) !== 0,
    retainAsPublished: (packed & 8) !== 0,
    subscriptionId: packed >>> 4,
  }
}
