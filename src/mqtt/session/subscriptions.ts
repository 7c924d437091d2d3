import { hasWildcard, isShared } from '../../base/topic.ts'
import type { SubscribeDecision, TenantSettings } from '../../plugin/index.ts'
import {
  isReasonAllowed,
  PACKET,
  type ProtocolVersion,
  REASON,
  type Subscribe,
  type Subscription,
} from '../codec/index.ts'
import type { FilterRequest } from './effects.ts'

/**
 * Judges each filter of a SUBSCRIBE by the tenant's settings and by what the client may do.
 * @param allowed the authorization's answer for each filter
 */
export function judgeSubscribe(
  packet: Subscribe,
  allowed: readonly SubscribeDecision[],
  version: ProtocolVersion,
  settings: TenantSettings,
): FilterRequest[] {
  const identifier = packet.properties.subscriptionIdentifier ?? 0
  return packet.subscriptions.map((subscription, i) => ({
    filter: subscription.filter,
    options: {
      qos: subscription.qos < settings.maximumQos ? subscription.qos : settings.maximumQos,
      noLocal: subscription.noLocal,
      retainAsPublished: subscription.retainAsPublished,
      subscriptionId: identifier,
    },
    retainHandling: version === 5 ? subscription.retainHandling : 0,
    refusal: judge(subscription, i, identifier, allowed[i] ?? false, settings),
  }))
}

function judge(
  subscription: Subscription,
  index: number,
  identifier: number,
  allowed: SubscribeDecision,
  settings: TenantSettings,
): number {
  const filter = subscription.filter
  if (index >= settings.filtersPerSubscribeMax) return REASON.QUOTA_EXCEEDED
  if (isShared(filter) && !settings.sharedSubscriptionEnabled) return REASON.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
  if (hasWildcard(filter) && !settings.wildcardSubscriptionEnabled) return REASON.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
  if (identifier !== 0 && !settings.subscriptionIdentifierEnabled) {
    return REASON.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
  }
  if (!fits(filter, settings)) return REASON.TOPIC_FILTER_INVALID
  if (typeof allowed === 'number') {
    return isReasonAllowed(PACKET.SUBACK, allowed, true) ? allowed : REASON.UNSPECIFIED_ERROR
  }
  return allowed ? 0 : REASON.NOT_AUTHORIZED
}

function fits(filter: string, settings: TenantSettings): boolean {
  const levels = filter.split('/')
  const extra = isShared(filter) ? 2 : 0
  return (
    Buffer.byteLength(filter) <= settings.topicBytesMax + extra * settings.topicLevelBytesMax &&
    levels.length - extra <= settings.topicLevelsMax &&
    levels.every((level) => Buffer.byteLength(level) <= settings.topicLevelBytesMax)
  )
}
