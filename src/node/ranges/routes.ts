import type { ApiRequest, ApiRoute } from '../../api/index.ts'
import { BrokerError } from '../../base/errors.ts'
import { type Gather, PAGE_MAX } from './gather.ts'
import type { Steering } from './steering.ts'

/** Parts of the operator's side of the ranges. */
export interface Desk {
  gather: Gather
  steering: Steering
}

/** What operators see and do of ranges, over HTTP. */
export function rangeRoutes({ gather, steering }: Desk): ApiRoute[] {
  return [
    { method: 'GET', path: '/ranges', answer: ({ query }) => gather.list(pageQuery(query)) },
    { method: 'GET', path: '/ranges/:id', answer: ({ params }) => gather.explain(params.id!) },
    { method: 'GET', path: '/balancers', answer: () => steering.list() },
    { method: 'PUT', path: '/balancers/rules/:name', answer: (request) => setRule(steering, request) },
    { method: 'DELETE', path: '/balancers/rules/:name', answer: ({ params }) => steering.unset(params.name!) },
  ]
}

function pageQuery({ service, after, limit }: ApiRequest['query']) {
  const most = Number(limit ?? PAGE_MAX)
  if (!Number.isInteger(most) || most < 1 || most > PAGE_MAX) {
    throw new BrokerError('INVALID_ARGUMENT', `"limit" is "${limit}" and must be an integer from 1 to ${PAGE_MAX}`)
  }
  return { service: service ?? null, id: null, after: after ?? '', limit: most }
}

function setRule(steering: Steering, { params, body }: ApiRequest) {
  const { value } = (body ?? {}) as { value?: unknown }
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    throw new BrokerError(
      'INVALID_ARGUMENT',
      'The body must be JSON with the rule\'s "value", such as {"value":"true"}',
    )
  }
  return steering.set(params.name!, String(value))
}
