import type { ApiRequest, ApiRoute } from '../../api/index.ts'
import { BrokerError } from '../../base/errors.ts'
import { type Gather, PAGE_MAX } from './gather.ts'

/** Parts of the operator's side of the ranges. */
export interface Desk {
  gather: Gather
}

/** What operators see and do of ranges, over HTTP. */
export function rangeRoutes({ gather }: Desk): ApiRoute[] {
  return [
    { method: 'GET', path: '/ranges', answer: ({ query }) => gather.list(pageQuery(query)) },
    { method: 'GET', path: '/ranges/:id', answer: ({ params }) => gather.explain(params.id!) },
  ]
}

function pageQuery({ service, after, limit }: ApiRequest['query']) {
  const most = Number(limit ?? PAGE_MAX)
  if (!Number.isInteger(most) || most < 1 || most > PAGE_MAX) {
    throw new BrokerError('INVALID_ARGUMENT', `"limit" is "${limit}" and must be an integer from 1 to ${PAGE_MAX}`)
  }
  return { service: service ?? null, id: null, after: after ?? '', limit: most }
}
