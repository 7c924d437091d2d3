import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type NetConnectOpts, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import {
  Admission,
  type ConnectionInfo,
  type Listener,
  type ListenerContext,
  type ListenerOptions,
  openListeners,
  type Transport,
} from '../../../src/mqtt/listener/index.ts'

export const NO_TLS = { cert: null, key: null, ca: null, requireClientCert: false, tenantFromCert: 'none' } as const

export function listenerOptions(changes: Partial<ListenerOptions> = {}): ListenerOptions {
  return {
    name: 'test',
    type: 'tcp',
    host: '127.0.0.1',
    port: 0,
    path: null,
    backlog: 511,
    proxyProtocol: 'off',
    connectionsMax: null,
    tls: NO_TLS,
    ...changes,
  }
}

export function listenerContext(changes: Partial<ListenerContext> = {}): ListenerContext {
  return {
    clock: systemClock,
    logger: silentLogger,
    admission: new Admission(1000),
    connectionRatePerSecond: 1000,
    handshakeTimeoutMs: 5_000,
    handshakesMax: 100,
    messageBytesMax: 1024 * 1024,
    ...changes,
  }
}

/** What the broker's side of one connection saw. */
export interface Seen {
  transport: Transport
  info: ConnectionInfo
  received: Buffer[]
  text(): string
  bytes: number
  closed: Error | null | undefined
  drained: number
}

export interface Opened {
  listener: Listener
  seen: Seen[]
  context: ListenerContext
}

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

export function cleanup(action: () => unknown): void {
  cleanups.push(action)
}

/** Opens one listener whose connections are recorded; `onOpen` runs within the handler. */
export async function open(
  options: Partial<ListenerOptions> = {},
  contextChanges: Partial<ListenerContext> = {},
  onOpen: (seen: Seen) => void = () => {},
): Promise<Opened> {
  const seen: Seen[] = []
  const context = listenerContext(contextChanges)
  const handler = (transport: Transport, info: ConnectionInfo) => {
    const entry: Seen = {
      transport,
      info,
      received: [],
      text: () => Buffer.concat(entry.received).toString('latin1'),
      bytes: 0,
      closed: undefined,
      drained: 0,
    }
    transport.onData = (buffer) => {
      entry.received.push(Buffer.from(buffer))
      entry.bytes += buffer.length
    }
    transport.onClose = (error) => {
      if (entry.closed !== undefined) throw new Error('onClose was called twice')
      entry.closed = error
    }
    transport.onDrain = () => {
      entry.drained++
    }
    seen.push(entry)
    onOpen(entry)
  }
  const [listener] = await openListeners([listenerOptions(options)], handler, context)
  cleanup(async () => {
    await listener!.close()
    for (const { transport } of seen) transport.destroy()
  })
  return { listener: listener!, seen, context }
}

export class Client {
  readonly socket: Socket
  received = ''
  bytes = 0
  ended = false
  closed = false
  error: NodeJS.ErrnoException | null = null

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length
      if (this.bytes < 1_000_000) this.received += chunk.toString('latin1')
    })
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('error', (error) => {
      this.error = error
    })
    cleanup(() => socket.destroy())
  }
}

export function dial(to: { port: number } | { path: string }, options: Partial<NetConnectOpts> = {}): Client {
  const target = 'path' in to ? to : { host: '127.0.0.1', port: to.port }
  return new Client(connect({ ...target, ...options } as NetConnectOpts))
}

/** Waits, turn by turn, until `condition` holds. */
export async function until(condition: () => unknown, what = 'condition'): Promise<void> {
  const deadline = Date.now() + 4_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'flockmq-listener-'))
  cleanup(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export interface Pem {
  cert: string
  key: string
}

/** Authority, server and client certificates, made by openssl once for the file that asks. */
export class Authority {
  readonly folder = mkdtempSync(join(tmpdir(), 'flockmq-certs-'))
  readonly ca: Pem
  #serial = 1

  constructor(name = 'Test Authority') {
    this.ca = this.#paths('ca')
    openssl([
      'req',
      '-x509',
      ...KEY,
      '-keyout',
      this.ca.key,
      '-out',
      this.ca.cert,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    ])
  }

  issue(name: string, subject: string): Pem {
    const { cert, key } = this.#paths(name)
    const request = join(this.folder, `${name}.csr`)
    const extensions = join(this.folder, 'extensions')
    writeFileSync(extensions, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
    openssl(['req', ...KEY, '-keyout', key, '-out', request, '-subj', subject])
    const signer = ['-CA', this.ca.cert, '-CAkey', this.ca.key, '-set_serial', String(++this.#serial)]
    openssl(['x509', '-req', '-in', request, ...signer, '-out', cert, '-days', '2', '-extfile', extensions])
    return { cert, key }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  #paths(name: string): Pem {
    return { cert: join(this.folder, `${name}.pem`), key: join(this.folder, `${name}.key`) }
  }
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

function openssl(args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' })
}
