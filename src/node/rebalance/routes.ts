import type { ApiRequest, ApiRoute } from '../../api/index.ts'
import { BrokerError } from '../../base/errors.ts'
import type { Rebalance, RebalanceWish } from './rebalance.ts'

/** Evening out connections, over HTTP. */
export function rebalanceRoutes(rebalance: Rebalance): ApiRoute[] {
  return [
    { method: 'GET', path: '/rebalance', answer: ({ query }) => rebalance.info(wishOf(numbersIn(query))) },
    { method: 'POST', path: '/rebalance', answer: ({ body }) => rebalance.begin(wishOf(body)) },
    { method: 'DELETE', path: '/rebalance', answer: () => rebalance.cancel() },
  ]
}

function numbersIn({ spreadPercent, perSecond }: ApiRequest['query']): object {
  const number = (text: string | undefined) => (text === undefined ? undefined : Number(text))
  return { spreadPercent: number(spreadPercent), perSecond: number(perSecond) }
}

function wishOf(given: unknown): RebalanceWish {
  const { spreadPercent, perSecond } = (given ?? {}) as Record<string, unknown>
  const number = (name: string, value: unknown) => {
    if (value === undefined || value === null) return null
    if (typeof value === 'number') return value
    throw new BrokerError('INVALID_ARGUMENT', `"${name}" must be a number`)
  }
  return { spreadPercent: number('spreadPercent', spreadPercent), perSecond: number('perSecond', perSecond) }
}
