import { BrokerError } from '../base/errors.ts'
import type { TenantId } from '../base/ids.ts'
import type { Message } from '../base/message.ts'
import { hasWildcard, isShared, isValidTopicFilter } from '../base/topic.ts'
import type { RangeClient } from '../kv/client/client.ts'
import { Allowance } from './allowance.ts'
import type { Retain, RetainLimits, RetainPage, RetainPageRequest, RetainResult, RetainStats } from './contract.ts'
import type { RetainObserver } from './observer.ts'
import { checkLimits, type RetainCommand, type RetainResponse } from './store/codec.ts'
import type { RetainAnswer, RetainQuery } from './store/coprocessor.ts'
import { TopicMatcher } from './store/matcher.ts'
import { messageSlot, tenantStart, topicKey } from './store/schema.ts'

export type RetainRanges = RangeClient<RetainCommand, RetainResponse, RetainQuery, RetainAnswer>

/** Slices that one call may take before it gives back an empty page: it can be given up in between. */
const SLICES_MAX = 64

/** `retain` as its users see it. */
export class RetainClient implements Retain {
  readonly #ranges: RetainRanges
  readonly #observer: RetainObserver
  readonly #allowance: Allowance

  constructor(ranges: RetainRanges, observer: RetainObserver) {
    this.#ranges = ranges
    this.#observer = observer
    this.#allowance = new Allowance(ranges)
  }

  async set(tenant: TenantId, message: Message, limits: RetainLimits): Promise<RetainResult> {
    const key = keyOf(tenant, message.topic)
    checkLimits(limits)
    if (message.payload.length === 0) {
      const { timestamp } = message
      return this.#change(tenant, key, { type: 'clear', key, timestamp }, limits)
    }
    // Encoded now: the payload may be a view that is gone after this call.
    const slot = messageSlot(message)
    const rest = this.#allowance.limitsFor(tenant, key, limits)
    const { topicsMax, bytesMax } = rest instanceof Promise ? await rest : rest
    return this.#change(tenant, key, { type: 'set', key, slot, topicsMax, bytesMax }, limits)
  }

  async get(tenant: TenantId, topic: string): Promise<Message | null> {
    const key = keyOf(tenant, topic)
    const page = await this.#page(key, { type: 'get', key })
    return page.messages[0] ?? null
  }

  async match(tenant: TenantId, filter: string, request: RetainPageRequest): Promise<RetainPage> {
    const { after, messagesMax, bytesMax } = request
    if (!isValidTopicFilter(filter) || isShared(filter)) {
      throw new BrokerError(
        'INVALID_ARGUMENT',
        `Cannot find retained messages of "${filter}": not a plain topic filter`,
      )
    }
    checkTenant(tenant)
    const { start } = new TopicMatcher(tenant, filter)
    if (after !== null) checkPosition(tenant, after)
    if (!hasWildcard(filter)) return after === null ? this.#page(start, { type: 'get', key: start }) : LAST_PAGE
    let page: RetainPage = { messages: [], next: after ?? start }
    for (let slice = 0; slice < SLICES_MAX && page.next !== null && page.messages.length === 0; slice++) {
      const from: Uint8Array = page.next
      page = await this.#page(from, { type: 'match', tenant, filter, from, messagesMax, bytesMax })
    }
    return page
  }

  async expire(tenant: TenantId, olderThanSeconds: number): Promise<number> {
    checkTenant(tenant)
    if (!Number.isSafeInteger(olderThanSeconds) || olderThanSeconds < 0) {
      throw new BrokerError('INVALID_ARGUMENT', `Cannot clear retained messages older than ${olderThanSeconds} seconds`)
    }
    let cleared = 0
    for (let from: Uint8Array | null = tenantStart(tenant); from !== null; ) {
      const response: RetainResponse = await this.#ranges.mutate(from, { type: 'purge', from, olderThanSeconds })
      if (response.type !== 'purge') throw unexpected()
      cleared += response.cleared
      from = response.next
    }
    return cleared
  }

  stats(): RetainStats {
    return this.#observer.stats()
  }

  async #change(
    tenant: TenantId,
    key: Uint8Array,
    command: RetainCommand,
    limits: RetainLimits,
  ): Promise<RetainResult> {
    const response = await this.#ranges.mutate(key, command)
    if (response.type !== 'set') throw unexpected()
    this.#allowance.note(tenant, key, response.usage)
    const { result } = response
    if (result !== 'quota-topics' && result !== 'quota-bytes') return result
    const bound = result === 'quota-topics' ? `${limits.topicsMax} topics` : `${limits.bytesMax} bytes`
    throw new BrokerError('QUOTA_EXCEEDED', `Cannot retain a message: tenant "${tenant}" may retain ${bound}`)
  }

  async #page(key: Uint8Array, query: RetainQuery): Promise<RetainPage> {
    const answer = await this.#ranges.query(key, query)
    if (answer.type !== 'page') throw unexpected()
    return { messages: answer.messages, next: answer.next }
  }
}

const LAST_PAGE: RetainPage = { messages: [], next: null }

function keyOf(tenant: TenantId, topic: string): Buffer {
  checkTenant(tenant)
  if (topic.length > 0 && !topic.includes('\0')) return topicKey(tenant, topic)
  throw new BrokerError('INVALID_ARGUMENT', `Cannot retain "${topic}": a topic is not empty and holds no U+0000`)
}

function checkTenant(tenant: TenantId): void {
  if (tenant.length > 0 && !tenant.includes('\0')) return
  throw new BrokerError('INVALID_ARGUMENT', `Cannot use tenant "${tenant}": it is empty or holds U+0000`)
}

function checkPosition(tenant: TenantId, after: Uint8Array): void {
  const start = tenantStart(tenant)
  if (after.length >= start.length && start.equals(after.subarray(0, start.length))) return
  throw new BrokerError(
    'INVALID_ARGUMENT',
    `Cannot go on with the retained messages of tenant "${tenant}": not its page`,
  )
}

function unexpected(): BrokerError {
  return new BrokerError('STORAGE_FAILED', 'Cannot read the answer of a range of "retain": it is of another kind')
}
