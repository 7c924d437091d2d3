import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../../../src/base/clock.ts'
import type { Address } from '../../../../src/cluster/underlay/core/index.ts'
import { addressOf } from '../../../../src/cluster/underlay/shell/addresses.ts'
import { ShellCounters } from '../../../../src/cluster/underlay/shell/counters.ts'
import { Envelope } from '../../../../src/cluster/underlay/shell/envelope.ts'
import { bindSockets, type Sockets } from '../../../../src/cluster/underlay/shell/sockets.ts'
import { Transport } from '../../../../src/cluster/underlay/shell/transport.ts'
import { until } from './real-cluster.ts'

const open: Transport[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((transport) => transport.close()))
})

interface Side {
  transport: Transport
  sockets: Sockets
  counters: ShellCounters
  address: Address
  heard: string[]
}

/** Requests are answered with themselves, backwards. */
async function side(ip = '127.0.0.1', secrets: string[] = []): Promise<Side> {
  const sockets = await bindSockets(ip, 0)
  const counters = new ShellCounters()
  const heard: string[] = []
  const text = (bytes: Uint8Array | null) => (bytes === null ? 'nothing' : Buffer.from(bytes).toString())
  const transport: Transport = new Transport({
    ...{ clock: systemClock, counters, sockets, envelope: await Envelope.derive(secrets) },
    handlers: {
      datagram: (from, bytes) => heard.push(`datagram ${text(bytes)} from ${from}`),
      request: (request, bytes, from) => {
        heard.push(`request ${text(bytes)} from ${from}`)
        transport.answer({ request, bytes: Buffer.from(bytes).reverse() })
      },
      exchanged: (exchange, bytes) => heard.push(`exchanged ${exchange} ${text(bytes)}`),
      refused: (fault, from) => heard.push(`refused ${fault} from ${from}`),
    },
  })
  open.push(transport)
  return { transport, sockets, counters, heard, address: addressOf(ip, sockets.port) }
}

const bytes = Buffer.from('abc')

test('datagrams and exchanges, from the address that others know', async () => {
  const ip = process.platform === 'linux' ? '127.0.0.9' : '127.0.0.1'
  const [a, b] = [await side(ip), await side()]
  a.transport.send({ to: b.address, bytes })
  a.transport.exchange({ exchange: 7, to: b.address, bytes, answered: true, timeoutMs: 1_000 })
  a.transport.exchange({ exchange: 8, to: b.address, bytes, answered: false, timeoutMs: 1_000 })
  await until(() => b.heard.length === 3 && a.heard.length === 1, 'all came')
  expect(b.heard.toSorted()).toEqual([
    `datagram abc from ${a.address}`,
    `request abc from ${ip}`,
    `request abc from ${ip}`,
  ])
  expect(a.heard).toEqual(['exchanged 7 cba'])
})

test('what only looks like an address is no name to look up', async () => {
  const { transport, counters, heard } = await side()
  for (const to of ['[:::::]:5', '01.2.3.4:5'] as Address[]) {
    transport.send({ to, bytes })
    transport.exchange({ exchange: 7, to, bytes, answered: true, timeoutMs: 1_000 })
  }
  expect(heard).toEqual([])
  await until(() => heard.length === 2, 'both exchanges end')
  expect(heard).toEqual(['exchanged 7 nothing', 'exchanged 7 nothing'])
  expect(counters).toMatchObject({ sendFailures: 2, exchangesRefused: 2 })
})

test('a datagram from a port that nobody can answer to, and one that is too long', async () => {
  const { sockets, heard, counters } = await side()
  const from = { address: '127.0.0.1', family: 'IPv4', size: 3 }
  sockets.udp.emit('message', bytes, { ...from, port: 0 })
  sockets.udp.emit('message', Buffer.alloc(1_401), { ...from, port: 5 })
  sockets.udp.emit('message', Buffer.from('x'.repeat(1_400)), { ...from, port: 5 })
  expect(heard).toHaveLength(1)
  expect(counters.oversized).toBe(1)
})

test('what is not sealed as it should be is refused, answers too', async () => {
  const [plain, sealed, other] = [await side(), await side('127.0.0.1', ['s']), await side('127.0.0.1', ['t'])]
  plain.transport.send({ to: sealed.address, bytes })
  other.transport.exchange({ exchange: 7, to: sealed.address, bytes, answered: true, timeoutMs: 1_000 })
  sealed.transport.send({ to: plain.address, bytes })
  await until(() => sealed.heard.length === 2 && plain.heard.length === 1 && other.heard.length === 1, 'all refused')
  expect(sealed.heard.toSorted()).toEqual([
    `refused plain from ${plain.address}`,
    'refused undecryptable from 127.0.0.1',
  ])
  expect(plain.heard).toEqual([`refused encrypted from ${sealed.address}`])
  expect(other.heard).toEqual(['exchanged 7 nothing'])
})

test('after the end nothing is heard', async () => {
  const [a, b] = [await side(), await side()]
  const idle = connect(b.sockets.port, '127.0.0.1')
  idle.on('error', () => {})
  await once(idle, 'connect')
  a.transport.exchange({ exchange: 7, to: '127.0.0.1:1' as Address, bytes, answered: true, timeoutMs: 1_000 })
  await Promise.all([a.transport.close(), b.transport.close()])
  open.splice(0)
  await until(() => idle.destroyed, 'connections are ended')
  expect(a.heard).toEqual([])
})
