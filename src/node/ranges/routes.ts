import type { ApiRequest, ApiRoute } from '../../api/index.ts'
import { BrokerError } from '../../base/errors.ts'
import type { Act, ByHand } from './by-hand.ts'
import type { Departure } from './departure.ts'
import { type Gather, PAGE_MAX } from './gather.ts'
import type { Names } from './names.ts'
import type { Steering } from './steering.ts'

/** Parts of the operator's side of the ranges. */
export interface Desk {
  gather: Gather
  steering: Steering
  byHand: ByHand
  departure: Departure
  names: Names
}

/** What operators see and do of ranges, over HTTP. */
export function rangeRoutes({ gather, steering, byHand, departure, names }: Desk): ApiRoute[] {
  return [
    { method: 'GET', path: '/ranges', answer: ({ query }) => gather.list(pageQuery(query)) },
    { method: 'GET', path: '/ranges/:id', answer: ({ params }) => gather.explain(params.id!) },
    {
      method: 'POST',
      path: '/ranges/:id/:act',
      answer: ({ params, body }) => byHand.act(params.id!, actOf(params.act!, body, names)),
    },
    { method: 'GET', path: '/decommission/:node', answer: ({ params }) => departure.info(params.node!) },
    {
      method: 'POST',
      path: '/decommission/:node',
      answer: ({ params, body }) => departure.begin(params.node!, (body as { yes?: unknown } | null)?.yes === true),
    },
    { method: 'DELETE', path: '/decommission/:node', answer: ({ params }) => departure.cancel(params.node!) },
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

/** Nodes are given by name or id. */
function actOf(type: string, body: unknown, names: Names): Act {
  const { at, to, from } = (body ?? {}) as Record<string, unknown>
  const node = (name: string, value: unknown) => {
    if (typeof value === 'string') return names.find(value)
    throw new BrokerError('INVALID_ARGUMENT', `The body must be JSON that names a node in "${name}"`)
  }
  switch (type) {
    case 'split':
      if (at === 'middle') return { type, key: null }
      if (typeof at === 'string' && /^([0-9a-f]{2})+$/i.test(at)) return { type, key: at.toLowerCase() }
      throw new BrokerError('INVALID_ARGUMENT', '"at" must be a key in hexadecimal, or "middle"')
    case 'transfer':
      return { type, to: node('to', to) }
    case 'move':
      return { type, from: node('from', from), to: node('to', to) }
    case 'merge':
      return { type }
    default:
      throw new BrokerError('NOT_FOUND', `A range knows no "${type}": there are split, transfer, move and merge`)
  }
}
