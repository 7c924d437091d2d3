import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { watchEventLoop } from '../../bench/event-loop.ts'
import { completeSpec } from '../../bench/spec.ts'

const spec = completeSpec('flood', { seconds: 10, warmup: 1 })
const line = (at: number) => ({ at, receivedPerSecond: 0, sentPerSecond: 0 })

function brokerAt(apiPort: number) {
  return { target: { host: '127.0.0.1', port: 0, pid: 0, apiPort, folder: null }, stop: () => Promise.resolve() }
}

test('the page is read twice, and the second reading, near the end, is the figure', async () => {
  let readings = 0
  const server = createServer((_request, response) => {
    readings++
    response.end(`flockmq_event_loop_delay_seconds{quantile="0.99"} 0.00${readings}\n`)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const watch = watchEventLoop(brokerAt((server.address() as AddressInfo).port), spec)
  for (let at = 1; at <= 11; at++) watch.onLine(line(at))
  expect(await watch.figures()).toEqual({ eventLoopP99Ms: 2 })
  expect(readings).toBe(2)
  server.close()
})

test('a broker without a page, or whose page does not answer, has no figure', async () => {
  for (const port of [0, 1]) {
    const watch = watchEventLoop(brokerAt(port), spec)
    for (let at = 1; at <= 11; at++) watch.onLine(line(at))
    expect(await watch.figures()).toEqual({})
  }
})
