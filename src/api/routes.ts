import type { FastifyInstance } from 'fastify'
import { BrokerError, type ErrorCode } from '../base/errors.ts'

export interface ApiRequest {
  params: Readonly<Record<string, string>>
  query: Readonly<Record<string, string | undefined>>
  /** Of JSON; null: there is none. */
  body: unknown
}

/** What is shown, or done, at a path below `/api/v1`. */
export interface ApiRoute {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With `:name` for what varies. */
  path: string
  /** A BrokerError is answered with its message, its code, and the status that fits it. */
  answer(request: ApiRequest): object | Promise<object>
}

/** Others are 503: it may be tried again. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  NOT_FOUND: 404,
  RANGE_NOT_FOUND: 404,
  INVALID_ARGUMENT: 400,
  CONFIG_INVALID: 400,
  CONFLICT: 409,
  EPOCH_MISMATCH: 409,
  NOT_LEADER: 409,
  NOT_AUTHORIZED: 403,
}

export function addRoutes(server: FastifyInstance, routes: readonly ApiRoute[]): void {
  for (const { method, path, answer } of routes) {
    server.route({
      method,
      url: `/api/v1${path}`,
      handler: async ({ params, query, body }, reply) => {
        try {
          return await answer({
            params: params as Record<string, string>,
            query: query as Record<string, string | undefined>,
            body: body ?? null,
          })
        } catch (error) {
          if (!(error instanceof BrokerError)) throw error
          return reply.code(STATUS[error.code] ?? 503).send({ error: error.message, code: error.code })
        }
      },
    })
  }
}
