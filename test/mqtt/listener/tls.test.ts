import { copyFileSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import type { TlsOptions } from '../../../src/mqtt/listener/index.ts'
import { Authority, Client, dial, listenerContext, NO_TLS, open, temporaryFolder, until } from './harness.ts'

const authority = new Authority()
const stranger = new Authority('Somebody Else')
const server = authority.issue('server', '/CN=broker')
const device = authority.issue('device', '/C=DE/O=acme/OU=plant/CN=device-1')
const foreign = stranger.issue('foreign', '/CN=foreign')
afterAll(() => {
  authority.remove()
  stranger.remove()
})

const SERVER: TlsOptions = { ...NO_TLS, ...server }
const MUTUAL: TlsOptions = { ...SERVER, ca: authority.ca.cert, requireClientCert: true }
const pem = (paths: { cert: string; key: string }) => ({
  cert: readFileSync(paths.cert),
  key: readFileSync(paths.key),
})

class TlsClient extends Client {
  declare readonly socket: TLSSocket
  secure = false

  constructor(port: number, options: ConnectionOptions = {}) {
    super(
      connect({ host: '127.0.0.1', port, ca: readFileSync(authority.ca.cert), ALPNProtocols: ['mqtt'], ...options }),
    )
    this.socket.on('secureConnect', () => {
      this.secure = true
    })
  }
}

describe('tls', () => {
  test('bytes pass both ways; ALPN is mqtt', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: SERVER })
    const client = new TlsClient(listener.port)
    client.socket.write('hello')
    await until(() => seen[0]?.text() === 'hello')
    expect(client.socket.alpnProtocol).toBe('mqtt')
    expect(seen[0]!.info).toMatchObject({
      type: 'tls',
      secure: true,
      certificate: null,
      remoteAddress: '127.0.0.1',
      remotePort: client.socket.localPort,
    })
    seen[0]!.transport.write(Buffer.from('world'))
    await until(() => seen[0]!.transport.writableBytes === 0)
    seen[0]!.transport.end(Buffer.from('!'))
    await until(() => client.closed && seen[0]!.closed === null)
    expect(client.received).toBe('world!')
    expect(listener.counters).toMatchObject({ open: 0, handshaking: 0, tlsFailed: 0 })
  })

  test('a client without ALPN is let in, one that offers something else is not, nor TLS 1.1', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: SERVER })
    new TlsClient(listener.port, { ALPNProtocols: [] })
    await until(() => seen.length === 1)
    const http = new TlsClient(listener.port, { ALPNProtocols: ['h2'] })
    await until(() => http.closed)
    const old = new TlsClient(listener.port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' })
    await until(() => old.closed)
    const plain = dial(listener)
    plain.socket.write(Buffer.from('100c00044d5154540402003c0000', 'hex'))
    await until(() => plain.closed)
    await until(() => listener.counters.tlsFailed === 3)
    expect(seen.length).toBe(1)
    expect(listener.counters).toMatchObject({ open: 1, handshaking: 0 })
  })

  test('a large write is drained in order; pause and resume hold', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: SERVER }, {}, ({ transport }) => transport.pause())
    const client = new TlsClient(listener.port)
    client.socket.write('wait')
    await until(() => seen.length === 1)
    const { transport } = seen[0]!
    client.socket.pause()
    let sent = 0
    do sent += 256 * 1024
    while (transport.write(Buffer.alloc(256 * 1024)))
    expect(transport.writableBytes).toBeGreaterThan(0)
    expect(seen[0]!.bytes).toBe(0)
    client.socket.resume()
    await until(() => client.bytes === sent && seen[0]!.drained > 0)
    transport.resume()
    await until(() => seen[0]!.text() === 'wait')
  })

  test('a client certificate is required, verified and described', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: { ...MUTUAL, tenantFromCert: 'o' } })
    new TlsClient(listener.port, pem(device))
    await until(() => seen.length === 1)
    expect(seen[0]!.info.certificate).toEqual({
      commonName: 'device-1',
      subject: { C: 'DE', O: 'acme', OU: 'plant', CN: 'device-1' },
      fingerprint: expect.stringMatching(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/),
    })
    expect(seen[0]!.info.certificateTenant).toBe('acme')
    const none = new TlsClient(listener.port)
    await until(() => none.closed)
    const wrong = new TlsClient(listener.port, pem(foreign))
    await until(() => wrong.closed)
    await until(() => listener.counters.tlsFailed === 2)
    expect(seen.length).toBe(1)
  })

  test('where none is required, an unverified certificate counts as none', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: { ...MUTUAL, requireClientCert: false } })
    new TlsClient(listener.port, pem(foreign))
    await until(() => seen.length === 1)
    expect(seen[0]!.info.certificate).toBe(null)
    new TlsClient(listener.port, pem(device))
    await until(() => seen.length === 2)
    expect(seen[1]!.info.certificate?.commonName).toBe('device-1')
  })

  test('sessions are resumed, the certificate with them', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: MUTUAL })
    const first = new TlsClient(listener.port, pem(device))
    let session: Buffer | null = null
    first.socket.on('session', (ticket: Buffer) => {
      session = ticket
    })
    await until(() => seen.length === 1 && session !== null)
    const second = new TlsClient(listener.port, { ...pem(device), session: session! })
    await until(() => seen.length === 2)
    expect(second.socket.isSessionReused()).toBe(true)
    expect(seen[1]!.info.certificate?.commonName).toBe('device-1')
  })

  test('a silent client is closed in time; bounded handshakes wait their turn', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: SERVER }, { handshakesMax: 1, handshakeTimeoutMs: 400 })
    const silent = dial(listener)
    await until(() => listener.counters.handshaking === 1)
    const client = new TlsClient(listener.port)
    await until(() => listener.counters.handshaking === 2)
    // One that came later, where nobody is silent, is through.
    const free = await open({ type: 'tls', tls: SERVER })
    new TlsClient(free.listener.port)
    await until(() => free.seen.length === 1)
    expect(seen.length).toBe(0)
    silent.socket.destroy()
    await until(() => client.secure && seen.length === 1)
    expect(listener.counters).toMatchObject({ handshakeAborted: 1, handshakeTimeouts: 0 })
    const second = dial(listener)
    await until(() => second.closed)
    expect(listener.counters).toMatchObject({ handshakeTimeouts: 1, handshaking: 0, open: 1 })
  })

  test('many at once all get through', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: SERVER }, { handshakesMax: 3 })
    const clients = Array.from({ length: 40 }, () => new TlsClient(listener.port))
    await until(() => seen.length === 40 && clients.every((client) => client.secure))
    expect(listener.counters.handshaking).toBe(0)
  })

  test('PROXY header before the handshake, in the same segment as its first bytes', async () => {
    const { listener, seen } = await open({ type: 'tls', tls: SERVER, proxyProtocol: 'required' })
    const below = dial(listener)
    below.socket.cork()
    below.socket.write('PROXY TCP4 9.8.7.6 5.5.5.5 4321 8883\r\n')
    below.socket.removeAllListeners('data')
    const client = new Client(connect({ socket: below.socket, ca: readFileSync(authority.ca.cert) }))
    client.socket.write('hello')
    setImmediate(() => below.socket.uncork())
    await until(() => seen[0]?.text() === 'hello')
    expect(seen[0]!.info).toMatchObject({ remoteAddress: '9.8.7.6', remotePort: 4321, secure: true })
  })
})

describe('certificates', () => {
  test('changed files are used for new connections; unusable ones are not, and the old ones stay', async () => {
    const folder = temporaryFolder()
    const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
    copyFileSync(server.cert, files.cert)
    copyFileSync(server.key, files.key)
    const warnings: string[] = []
    const logger = { ...listenerContext().logger, warn: (fields: object) => warnings.push(JSON.stringify(fields)) }
    let checks = 0
    const clock: Clock = {
      ...systemClock,
      after: (delayMs, callback) => {
        if (delayMs === 5) checks++
        return systemClock.after(delayMs, callback)
      },
    }
    const { listener, seen } = await open(
      { type: 'tls', tls: { ...NO_TLS, ...files } },
      { certificateCheckMs: 5, logger, clock },
    )
    const first = new TlsClient(listener.port)
    await until(() => first.secure && seen.length === 1)
    expect(first.socket.getPeerCertificate().subject.CN).toBe('broker')

    writeFileSync(files.cert, readFileSync(device.cert))
    await until(() => listener.counters.certificateReloadsFailed === 1)
    await until(() => warnings.length === 1)
    expect(warnings[0]).toContain('is not the key of the certificate')
    const checked = checks
    await until(() => checks > checked + 3)
    expect(listener.counters.certificateReloadsFailed).toBe(1)
    const second = new TlsClient(listener.port)
    await until(() => second.secure)
    expect(second.socket.getPeerCertificate().subject.CN).toBe('broker')

    writeFileSync(files.key, readFileSync(device.key))
    await until(() => listener.counters.certificateReloads === 1)
    const third = new TlsClient(listener.port)
    await until(() => third.secure && seen.length === 3)
    expect(third.socket.getPeerCertificate().subject.CN).toBe('device-1')
    first.socket.write('still here')
    await until(() => seen[0]!.text() === 'still here')
    expect(listener.counters.certificateReloadsFailed).toBe(1)
  })

  test('reload on demand, without a change of time or size', async () => {
    const folder = temporaryFolder()
    const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
    copyFileSync(server.cert, files.cert)
    copyFileSync(server.key, files.key)
    const { listener } = await open({ type: 'tls', tls: { ...NO_TLS, ...files } })
    utimesSync(files.cert, 1, 1)
    await listener.reloadCertificates()
    expect(listener.counters.certificateReloads).toBe(1)
    writeFileSync(files.key, 'nonsense')
    await expect(listener.reloadCertificates()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test.each([
    ['no cert', { ...SERVER, cert: null }, 'tls.cert: is needed'],
    ['missing file', { ...SERVER, key: '/nowhere/key.pem' }, 'tls.key: cannot read "/nowhere/key.pem": ENOENT'],
    ['not a certificate', { ...SERVER, cert: import.meta.filename }, 'holds no PEM certificate'],
    ['not a key', { ...SERVER, key: import.meta.filename }, 'holds no PEM private key'],
    ['not an authority', { ...SERVER, ca: import.meta.filename }, 'holds no PEM certificate'],
    ["another one's key", { ...SERVER, key: device.key }, 'is not the key of the certificate in'],
  ])('%s is refused in one sentence', async (_what, tls, message) => {
    const failure = await open({ type: 'tls', tls }).catch((error) => error)
    expect(failure).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(failure.message).toContain(message)
    expect(failure.message).toMatch(/^mqtt\.listeners\.test\.tls\./)
    expect(failure.message).not.toContain('\n')
  })
})
