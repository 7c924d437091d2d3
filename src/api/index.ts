import { createHash, timingSafeEqual } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { BrokerError } from '../base/errors.ts'
import type { Health } from '../base/health.ts'
import type { Logger } from '../base/logging.ts'
import type { MetricSource } from '../base/metrics.ts'
import { EventLoopDelay } from './event-loop.ts'
import { Exposition } from './metrics.ts'
import { type ApiRoute, addRoutes } from './routes.ts'

export type { ApiRequest, ApiRoute } from './routes.ts'

export interface ApiOptions {
  host: string
  /** 0 takes any free one. */
  port: number
  /** Null = open to whoever reaches the address; the configuration allows that on loopback only. */
  token: string | null
  /** True: health and figures alone; what is below /api is refused. */
  probesOnly?: boolean
  log: Logger
  health(): Health
  /** What /api/v1/status answers. */
  status(): object
  /** What /api/v1/members answers. */
  members(): object
  /** What /api/v1/members/ID answers; null: there is no such node. Rejects where it cannot be asked. */
  member(id: string): Promise<object | null>
  /** What /api/v1/services answers: instances by service. */
  services(): object
  /** Whatever else there is below /api/v1. */
  routes: readonly ApiRoute[]
  metrics: readonly MetricSource[]
}

export interface Api {
  /** Such as `http://127.0.0.1:8091`. */
  address: string
  stop(): Promise<void>
}

/** Open to everybody: load balancers and supervisors hold no token. */
const OPEN_PATHS = new Set(['/healthz', '/readyz'])

const NO_API = 'node.roles of this node is without "api": ask another node of the cluster'

/** The HTTP side of a node: health, readiness, metrics, status. */
export async function startApi(options: ApiOptions): Promise<Api> {
  const delay = new EventLoopDelay()
  const server = createServer(options, new Exposition([delay, ...options.metrics], options.log))
  try {
    await server.listen({ host: options.host, port: options.port })
  } catch (error) {
    await server.close()
    throw listenFailure(options, error)
  }
  delay.start()
  return {
    address: formatAddress(server.server.address() as AddressInfo),
    stop: async () => {
      delay.stop()
      await server.close()
    },
  }
}

function createServer(options: ApiOptions, exposition: Exposition): FastifyInstance {
  const server = Fastify({
    logger: false,
    bodyLimit: 65_536,
    requestTimeout: 10_000,
    // Stops at once, although scrapers keep their connections open.
    forceCloseConnections: true,
  })
  if (options.token !== null) requireToken(server, options.token)
  server.get('/healthz', () => ({ status: 'ok' }))
  server.get('/readyz', (_request, reply) => {
    const { ready, reasons } = options.health()
    return reply.code(ready ? 200 : 503).send({ ready, reasons })
  })
  server.get('/metrics', async (_request, reply) => {
    return reply.type(exposition.contentType).send(await exposition.render())
  })
  if (options.probesOnly) server.all('/api/*', (_request, reply) => reply.code(404).send({ error: NO_API }))
  else serveApi(server, options)
  return server
}

function serveApi(server: FastifyInstance, options: ApiOptions): void {
  server.get('/api/v1/status', () => options.status())
  server.get('/api/v1/members', () => options.members())
  server.get<{ Params: { id: string } }>('/api/v1/members/:id', async ({ params }, reply) => {
    try {
      const member = await options.member(params.id)
      return member ?? reply.code(404).send({ error: `There is no node "${params.id}"` })
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return reply.code(503).send({ error: error.message, code: error.code })
    }
  })
  server.get('/api/v1/services', () => options.services())
  addRoutes(server, options.routes)
}

function requireToken(server: FastifyInstance, token: string): void {
  const expected = digest(token)
  server.addHook('onRequest', async (request, reply) => {
    if (OPEN_PATHS.has(request.routeOptions.url ?? '')) return
    const given = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (given !== undefined && timingSafeEqual(digest(given), expected)) return
    await reply
      .code(401)
      .header('www-authenticate', 'Bearer')
      .send({ error: 'A bearer token is needed: see api.token' })
  })
}

/** Equal lengths, so that the comparison tells nothing of the token's. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

function listenFailure(options: ApiOptions, error: unknown): BrokerError {
  const code = (error as NodeJS.ErrnoException).code
  const reason = code === 'EADDRINUSE' ? 'another process uses it' : (error as Error).message
  const message = `Cannot listen on ${options.host}:${options.port} (api): ${reason}; change api.host or api.port`
  return new BrokerError('UNAVAILABLE', message, { cause: error })
}

function formatAddress({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
