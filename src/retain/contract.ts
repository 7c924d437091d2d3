import type { TenantId } from '../base/ids.ts'
import type { Message } from '../base/message.ts'

/** What `retain` promises: the last retained message of each topic, found by filter. */
export interface Retain {
  /**
   * Stores `message` as its topic's retained message, or clears it where the payload is empty. Resolves when committed.
   * A message older (by timestamp) than the stored one changes nothing.
   * Errors: QUOTA_EXCEEDED, OVERLOADED, NO_QUORUM.
   */
  set(tenant: TenantId, message: Message, limits: RetainLimits): Promise<RetainResult>
  /** The retained message of one topic. Never an expired one. */
  get(tenant: TenantId, topic: string): Promise<Message | null>
  /**
   * One page of the retained messages that match `filter`, in topic order; go on with `after: next`. Bounded by
   * `messagesMax` and `bytesMax` (one message comes back even if it alone is larger). Never an expired one; topics
   * that begin with `$` are not matched by a leading wildcard [MQTT-4.7.2-1].
   */
  match(tenant: TenantId, filter: string, page: RetainPageRequest): Promise<RetainPage>
  /** Clears what was stored more than `olderThanSeconds` ago; 0 clears all. Returns how many. */
  expire(tenant: TenantId, olderThanSeconds: number): Promise<number>
  stats(): RetainStats
}

export type RetainResult = 'stored' | 'cleared' | 'unchanged'

export interface RetainLimits {
  /** Most retained topics of the tenant; Infinity = no limit. */
  topicsMax: number
  /** Most bytes of the tenant's retained messages; Infinity = no limit. */
  bytesMax: number
}

export interface RetainPageRequest {
  /** Opaque: `next` of the page before; null = from the start. */
  after: Uint8Array | null
  messagesMax: number
  bytesMax: number
}

export interface RetainPage {
  messages: Message[]
  /** Null after the last page. */
  next: Uint8Array | null
}

export interface RetainStats {
  topics: number
  bytes: number
}
