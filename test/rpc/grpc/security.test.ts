import { readFileSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import type { MetricSource } from '../../../src/base/metrics.ts'
import type { TlsOptions } from '../../../src/rpc/grpc/credentials.ts'
import { Authority } from '../../mqtt/listener/harness.ts'
import { introduce, messages, startNode, stopAll, type TestNode, until } from '../rig.ts'

afterEach(stopAll)

/** Of a gRPC message: compressed u8 (0) | length u32 BE. Source: github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md. */
function prefixOf(length: number): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(length, 1)
  return prefix
}

const QUICK = { backoffMsMin: 5, backoffMsMax: 20 }

/** The sum of a figure over its labels. */
function figure(source: MetricSource, name: string): number {
  let sum = 0
  const add = (each: string, _help: string, value: number) => {
    if (each === name) sum += value
  }
  source.collect({ counter: add, gauge: add, histogram() {} })
  return sum
}

async function exchange(a: TestNode, b: TestNode): Promise<number> {
  let seen = 0
  b.peers.handleMessages(messages(), { received: () => void seen++ })
  introduce(a, b)
  expect(a.peers.send(b.id, messages(), Buffer.from('x'))).toBe('accepted')
  await until(() => seen > 0 || a.peers.linkState(b.id, 'deliveries') === 'refused', 'arrived, or refused')
  return seen
}

describe('the secret', () => {
  test('is the same on both sides: the link opens', async () => {
    const options = { secrets: ['one'], links: QUICK }
    expect(await exchange(await startNode('a', options), await startNode('b', options))).toBe(1)
  })

  test.each([
    ['another secret', ['two']],
    ['no secret', []],
  ])('%s: refused, by whichever side has it', async (_name, secrets) => {
    const a = await startNode('a', { secrets, links: QUICK })
    const b = await startNode('b', { secrets: ['one'], links: QUICK })
    expect(await exchange(a, b)).toBe(0)
    expect(figure(b.peers, 'flockmq_rpc_refusals_total')).toBeGreaterThan(0)
    stopAll()
    const c = await startNode('c', { secrets: ['one'], links: QUICK })
    const d = await startNode('d', { secrets, links: QUICK })
    expect(await exchange(c, d)).toBe(0)
  })

  test('is changed without downtime: any of the ring is accepted', async () => {
    const a = await startNode('a', { secrets: ['old', 'new'], links: QUICK })
    const b = await startNode('b', { secrets: ['new', 'old'], links: QUICK })
    expect(await exchange(a, b)).toBe(1)
  })
})

test('another cluster, another node at the address, an older life: refused', async () => {
  const a = await startNode('a', { cluster: 'one', links: QUICK })
  const b = await startNode('b', { cluster: 'two', links: QUICK })
  expect(await exchange(a, b)).toBe(0)
  const c = await startNode('c', { cluster: 'two', links: QUICK })
  c.peers.join({ node: 'x' as HostId, address: b.address })
  c.peers.send('x' as HostId, messages(), Buffer.from('x'))
  await until(() => c.peers.linkState('x' as HostId, 'deliveries') === 'refused', 'the refusal')
  const young = await startNode('d', { cluster: 'two', incarnation: 2, links: QUICK })
  const old = await startNode('d', { cluster: 'two', incarnation: 1, links: QUICK })
  introduce(young, b)
  young.peers.send(b.id, messages(), Buffer.from('x'))
  await until(() => young.peers.bufferedBytes(b.id, 'deliveries') === 0, 'the younger one is in')
  introduce(old, b)
  old.peers.send(b.id, messages(), Buffer.from('x'))
  await until(() => old.peers.linkState(b.id, 'deliveries') === 'refused', 'the older one is refused')
})

describe('mTLS', () => {
  let authority: Authority
  let stranger: Authority
  const options = (from: Authority, name: string): TlsOptions => {
    const { cert, key } = from.issue(name, `/CN=${name}`)
    return { authority: readFileSync(from.ca.cert), certificate: readFileSync(cert), key: readFileSync(key) }
  }
  beforeAll(() => {
    authority = new Authority('Cluster')
    stranger = new Authority('Stranger')
  })
  afterAll(() => {
    authority.remove()
    stranger.remove()
  })

  test('what is no certificate stops the start', async () => {
    const tls = { ...options(authority, 'z'), key: Buffer.from('no key') }
    await expect(startNode('a', { tls })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test('certificates of the cluster are let in', async () => {
    const a = await startNode('a', { tls: options(authority, 'a'), links: QUICK })
    const b = await startNode('b', { tls: options(authority, 'b'), links: QUICK })
    expect(await exchange(a, b)).toBe(1)
  })

  test('others are not, and no certificate is not either', async () => {
    const b = await startNode('b', { tls: options(authority, 'b'), links: QUICK })
    let seen = 0
    b.peers.handleMessages(messages(), { received: () => void seen++ })
    const { authority: ca } = options(authority, 'x')
    const wrong = options(stranger, 'a')
    const a = await startNode('a', { tls: { ...wrong, authority: ca }, links: QUICK })
    introduce(a, b)
    a.peers.send(b.id, messages(), Buffer.from('x'))
    await until(() => figure(a.peers, 'flockmq_rpc_attempts_failed_total') > 2, 'several attempts')
    expect(seen).toBe(0)
    expect(figure(b.peers, 'flockmq_rpc_incoming_links')).toBe(0)
  })
})

describe('strangers', () => {
  test('random bytes on the port harm nobody', async () => {
    const [a, b] = [await startNode('a', { links: QUICK }), await startNode('b', { links: QUICK })]
    const random = seededRandom(5)
    for (let i = 0; i < 60; i++) {
      const bytes = Buffer.from(Array.from({ length: 1 + random.below(500) }, () => random.below(256)))
      const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
      await new Promise<void>((resolve) => {
        const socket = connect(b.port, '127.0.0.1', () => {
          socket.write(i % 2 === 0 ? bytes : Buffer.concat([preface, bytes]), () => socket.destroy())
        })
        socket.on('error', () => {})
        socket.on('close', () => resolve())
      })
    }
    expect(await exchange(a, b)).toBe(1)
  })

  test('random packets in gRPC frames harm nobody', async () => {
    const [a, b] = [await startNode('a', { links: QUICK }), await startNode('b', { links: QUICK })]
    const random = seededRandom(6)
    const session = connectHttp2(`http://127.0.0.1:${b.port}`)
    session.on('error', () => {})
    let closed = 0
    const headers = { ':method': 'POST', ':path': '/flockmq.link.v1.Link/Connect', 'content-type': 'application/grpc' }
    for (let i = 0; i < 40; i++) {
      const stream = session.request(headers)
      stream.on('error', () => {})
      stream.on('close', () => closed++)
      stream.resume()
      for (let k = 0; k < 3; k++) {
        const packet = Buffer.from(Array.from({ length: random.below(80) }, () => random.below(256)))
        stream.write(Buffer.concat([prefixOf(packet.length), packet]))
      }
      if (i % 4 === 0) stream.write(prefixOf(0xffff_ffff))
    }
    await until(() => closed === 40, 'all are closed')
    expect(figure(b.peers, 'flockmq_rpc_violations_total')).toBeGreaterThan(10)
    session.destroy()
    expect(await exchange(a, b)).toBe(1)
  })

  test('that open streams and reset them at once harm nobody', async () => {
    const [a, b] = [await startNode('a', { links: QUICK }), await startNode('b', { links: QUICK })]
    const paths = ['/flockmq.link.v1.Link/Connect', '/grpc.health.v1.Health/Check', '/no.such/Method']
    for (let i = 0; i < 10; i++) {
      const session = connectHttp2(`http://127.0.0.1:${b.port}`)
      session.on('error', () => {})
      let closed = 0
      for (let k = 0; k < 30; k++) {
        const headers = {
          ':method': k % 7 === 0 ? 'GET' : 'POST',
          ':path': paths[k % 3],
          'content-type': 'application/grpc',
        }
        const stream = session.request(headers)
        stream.on('error', () => {})
        stream.on('close', () => closed++)
        stream.write(prefixOf(3))
        if (k % 2 === 0) stream.close(8)
        else setImmediate(() => stream.close(8))
      }
      if (i % 2 === 0) await until(() => closed === 30, 'all are closed')
      session.destroy()
    }
    expect(await exchange(a, b)).toBe(1)
  })

  test('that say nothing are hung up on, and only so many are let in', async () => {
    const b = await startNode('b', { links: { handshakeMsMax: 100 }, strangersMax: 3 })
    let closed = 0
    let refused = 0
    const headers = { ':method': 'POST', ':path': '/flockmq.link.v1.Link/Connect', 'content-type': 'application/grpc' }
    // A connection each: whoever is hung up on takes its connection along.
    const sessions = Array.from({ length: 5 }, () => {
      const session = connectHttp2(`http://127.0.0.1:${b.port}`)
      session.on('error', () => {})
      const stream = session.request(headers)
      stream.on('error', () => {})
      stream.on('close', () => closed++)
      stream.on('data', () => refused++)
      return session
    })
    await until(() => refused === 2, 'two are refused at once')
    await until(() => closed === 5, 'the others later')
    for (const session of sessions) session.destroy()
  })
})
