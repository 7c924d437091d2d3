import { createServer } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { type Api, type ApiRoute, startApi } from '../../src/api/index.ts'
import { BrokerError, type ErrorCode } from '../../src/base/errors.ts'
import type { Health } from '../../src/base/health.ts'
import type { Logger } from '../../src/base/logging.ts'
import { Histogram, type MetricSource } from '../../src/base/metrics.ts'

const cluster = {
  members: () => ({ members: ['n1'] }),
  services: () => ({ services: {} }),
  routes: [] as ApiRoute[],
  member: async (id: string) => {
    if (id === 'gone') throw new BrokerError('TIMEOUT', 'Too late')
    return id === 'n1' ? { name: 'n1' } : null
  },
}
const errors: object[] = []
const log: Logger = { debug() {}, info() {}, warn() {}, error: (fields) => void errors.push(fields) }
let health: Health = { ready: true, reasons: [] }
let api: Api | null = null

afterEach(async () => {
  await api?.stop()
  api = null
  health = { ready: true, reasons: [] }
})

async function start(options: { token?: string; metrics?: MetricSource[] } = {}): Promise<Api> {
  const { token = null, metrics = [] } = options
  const status = () => ({ name: 'n1' })
  api = await startApi({ host: '127.0.0.1', port: 0, token, log, health: () => health, status, metrics, ...cluster })
  return api
}

async function get(path: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string }> {
  const response = await fetch(api!.address + path, { headers })
  return { status: response.status, body: await response.text() }
}

test('health, readiness and status', async () => {
  await start()
  expect(await get('/healthz')).toEqual({ status: 200, body: '{"status":"ok"}' })
  expect(await get('/readyz')).toEqual({ status: 200, body: '{"ready":true,"reasons":[]}' })
  health = { ready: false, reasons: [{ part: 'range r1', message: 'no quorum' }] }
  expect(await get('/readyz')).toEqual({
    status: 503,
    body: '{"ready":false,"reasons":[{"part":"range r1","message":"no quorum"}]}',
  })
  expect((await get('/healthz')).status).toBe(200)
  expect(JSON.parse((await get('/api/v1/status')).body)).toEqual({ name: 'n1' })
  expect((await get('/api/v1/members')).body).toBe('{"members":["n1"]}')
  expect((await get('/api/v1/members/n1')).body).toBe('{"name":"n1"}')
  expect(await get('/api/v1/members/n2')).toEqual({ status: 404, body: '{"error":"There is no node \\"n2\\""}' })
  expect(await get('/api/v1/members/gone')).toEqual({ status: 503, body: '{"error":"Too late","code":"TIMEOUT"}' })
  expect((await get('/api/v1/services')).body).toBe('{"services":{}}')
  expect((await get('/nothing')).status).toBe(404)
})

test('figures are read at the scrape and written in the text format', async () => {
  const latency = new Histogram([0.1, 1])
  let messages = 41
  const source: MetricSource = {
    collect: (sink) => {
      sink.counter('flockmq_messages_total', 'Messages.', messages, { tenant: 'a"b\\c\nd' })
      sink.counter('flockmq_messages_total', 'Messages.', 7, { tenant: 'b' })
      sink.gauge('flockmq_connections', 'Open connections.', 3)
      sink.histogram('flockmq_latency_seconds', 'Latency.', latency, { op: 'x' })
    },
  }
  await start({ metrics: [source] })
  messages++
  for (const value of [0.05, 0.1, 0.5, 5]) latency.observe(value)
  const { status, body } = await get('/metrics')
  expect(status).toBe(200)
  expect(body).toContain('# HELP flockmq_messages_total Messages.\n# TYPE flockmq_messages_total counter\n')
  expect(body.match(/# TYPE flockmq_messages_total/g)).toHaveLength(1)
  expect(body).toContain('flockmq_messages_total{tenant="a\\"b\\\\c\\nd"} 42\n')
  expect(body).toContain('flockmq_messages_total{tenant="b"} 7\n')
  expect(body).toContain('# TYPE flockmq_connections gauge\nflockmq_connections 3\n')
  expect(body).toContain(
    [
      'flockmq_latency_seconds_bucket{op="x",le="0.1"} 2',
      'flockmq_latency_seconds_bucket{op="x",le="1"} 3',
      'flockmq_latency_seconds_bucket{op="x",le="+Inf"} 4',
      'flockmq_latency_seconds_sum{op="x"} 5.65',
      'flockmq_latency_seconds_count{op="x"} 4',
    ].join('\n'),
  )
  for (const line of body.split('\n')) {
    expect(line).toMatch(/^$|^# (HELP|TYPE) \w+ |^\w+(\{(\w+="(\\.|[^"\\])*",?)*\})? (-?[\d.e+-]+|NaN|\+Inf)$/i)
  }
})

test('the process and its event loop have figures, and a second scrape works too', async () => {
  await start()
  const blockedUntil = performance.now() + 120
  await new Promise((resolve) => setTimeout(resolve, 30))
  while (performance.now() < blockedUntil);
  await new Promise((resolve) => setTimeout(resolve, 20))
  const { body } = await get('/metrics')
  expect(body).toMatch(/^process_resident_memory_bytes \d+/m)
  expect(body).toMatch(/^process_cpu_seconds_total [\d.]+/m)
  const quantile = (name: string) => {
    return Number(new RegExp(`flockmq_event_loop_delay_seconds{quantile="${name}"} (\\S+)`).exec(body)?.[1])
  }
  expect(quantile('1')).toBeGreaterThan(0.06)
  expect(quantile('1')).toBeLessThan(5)
  expect(quantile('0.5')).toBeLessThanOrEqual(quantile('0.99'))
  expect((await get('/metrics')).status).toBe(200)
})

test('a source that throws costs only its own figures', async () => {
  const bad: MetricSource = {
    collect: () => {
      throw new Error('boom')
    },
  }
  const good: MetricSource = { collect: (sink) => sink.gauge('flockmq_good', 'Good.', 1) }
  await start({ metrics: [bad, good] })
  const { status, body } = await get('/metrics')
  expect(status).toBe(200)
  expect(body).toContain('flockmq_good 1\n')
  expect(body).toContain('flockmq_metric_source_failures_total 1\n')
  expect(errors).toHaveLength(1)
})

test('with a token only health and readiness are open', async () => {
  await start({ token: 'hush' })
  expect((await get('/healthz')).status).toBe(200)
  expect((await get('/readyz')).status).toBe(200)
  for (const path of ['/metrics', '/api/v1/status', '/nothing', '/healthz/../metrics', '//healthz']) {
    expect((await get(path)).status).toBe(401)
    expect((await get(path, { authorization: 'Bearer hus' })).status).toBe(401)
    expect((await get(path, { authorization: 'Basic hush' })).status).toBe(401)
  }
  expect((await get('/metrics', { authorization: 'Bearer hush' })).status).toBe(200)
  expect((await get('/api/v1/status', { authorization: 'bearer hush' })).status).toBe(200)
})

test('a taken port is one clear line', async () => {
  const blocker = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => blocker.once('listening', resolve))
  const { port } = blocker.address() as { port: number }
  const options = {
    host: '127.0.0.1',
    port,
    token: null,
    log,
    health: () => health,
    status: () => ({}),
    metrics: [],
    ...cluster,
  }
  await expect(startApi(options)).rejects.toThrow(
    `Cannot listen on 127.0.0.1:${port} (api): another process uses it; change api.host or api.port`,
  )
  blocker.close()
})

test('the stop does not wait for idle connections', async () => {
  await start()
  await get('/healthz')
  const startedMs = performance.now()
  await api!.stop()
  expect(performance.now() - startedMs).toBeLessThan(1000)
  await expect(get('/healthz')).rejects.toThrow()
  api = null
})

test('other routes: what they answer, and the status that fits a failure', async () => {
  const fail = (code: ErrorCode) => () => {
    throw new BrokerError(code, `It is ${code}`)
  }
  const routes: ApiRoute[] = [
    { method: 'GET', path: '/things/:id', answer: ({ params, query }) => ({ id: params.id, q: query.q }) },
    { method: 'PUT', path: '/things/:id', answer: async ({ body }) => ({ body }) },
    { method: 'DELETE', path: '/things/:id', answer: ({ body }) => ({ body }) },
    { method: 'GET', path: '/lost', answer: fail('NOT_FOUND') },
    { method: 'GET', path: '/wrong', answer: fail('CONFIG_INVALID') },
    { method: 'GET', path: '/raced', answer: fail('CONFLICT') },
    { method: 'GET', path: '/later', answer: fail('NO_QUORUM') },
  ]
  const { routes: before } = cluster
  cluster.routes = routes
  try {
    await start()
  } finally {
    cluster.routes = before
  }
  expect(await get('/api/v1/things/a%20b?q=1')).toEqual({ status: 200, body: '{"id":"a b","q":"1"}' })
  const headers = { 'content-type': 'application/json' }
  const put = await fetch(`${api!.address}/api/v1/things/x`, { method: 'PUT', headers, body: '{"value":1}' })
  expect(await put.text()).toBe('{"body":{"value":1}}')
  const deleted = await fetch(`${api!.address}/api/v1/things/x`, { method: 'DELETE' })
  expect(await deleted.text()).toBe('{"body":null}')
  expect((await get('/api/v1/lost')).status).toBe(404)
  expect(await get('/api/v1/wrong')).toEqual({
    status: 400,
    body: '{"error":"It is CONFIG_INVALID","code":"CONFIG_INVALID"}',
  })
  expect((await get('/api/v1/raced')).status).toBe(409)
  expect((await get('/api/v1/later')).status).toBe(503)
})
