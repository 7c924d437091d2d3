import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logging.ts'
import type { Admission } from './admission.ts'

/**
 * What an MQTT connection uses of its socket, whatever carries it. The handlers are slots, not an event emitter: the
 * connection assigns them within the call that gives it the transport, and reading begins after that call.
 */
export interface Transport {
  /** Bytes that arrived. The buffer is shared by all connections: it is valid only during the call, copy what stays. */
  onData: (buffer: Buffer) => void
  /** Called once, last of all, also after {@link end} and {@link destroy}. Null where nothing went wrong. */
  onClose: (error: Error | null) => void
  /** Everything was taken, after a {@link write} that answered false; now and then without one. */
  onDrain: () => void
  /**
   * Hands bytes over; the caller batches and calls once a turn. They must not change until {@link writableBytes} is 0.
   * False: wait for {@link onDrain}. After the end it does nothing and answers false.
   */
  write(buffer: Buffer): boolean
  /** Bytes not yet handed to the kernel: at 0 the caller may use its buffers again. */
  readonly writableBytes: number
  /** No {@link onData} from now until {@link resume}; a peer that goes away is not noticed meanwhile. */
  pause(): void
  resume(): void
  /** Sends what waits and `buffer`, then closes; what still arrives is thrown away. Destroys after a bounded time. */
  end(buffer?: Buffer): void
  /** Closes at once; what waits is dropped. */
  destroy(): void
  setNoDelay(on: boolean): void
}

/** Where a connection comes from. */
export interface ConnectionInfo {
  readonly listener: string
  readonly type: ListenerType
  /** The client's: from the PROXY header where one is required. Empty for a unix socket. */
  readonly remoteAddress: string
  readonly remotePort: number
  /** True under TLS. */
  readonly secure: boolean
  /** The client's certificate, verified against `tls.ca`; null where there is none. */
  readonly certificate: CertificateInfo | null
  /** What `tls.tenantFromCert` picks of it; null where it picks nothing. */
  readonly certificateTenant: string | null
  /** Of the accepted socket, on the context's monotonic clock: the CONNECT timeout runs from here. */
  readonly acceptedAtMs: number
}

export interface CertificateInfo {
  commonName: string
  /** Fields of the subject by short name, such as `O`; of several values of one field the first. */
  subject: Record<string, string>
  /** SHA-256, hexadecimal with colons. */
  fingerprint: string
}

export type ListenerType = 'tcp' | 'tls' | 'ws' | 'wss' | 'unix'

/** One entry of `mqtt.listeners`. */
export interface ListenerOptions {
  name: string
  type: ListenerType
  host: string
  /** 0 takes any free one. */
  port: number
  /** URL path of ws and wss, file of a unix socket. */
  path: string | null
  backlog: number
  proxyProtocol: 'off' | 'required'
  /** Connections open at a time on this listener; null = no bound of its own. */
  connectionsMax: number | null
  tls: TlsOptions
  /** Origins from which browsers may open a WebSocket; absent or empty = all. Clients that send none are let in. */
  origins?: readonly string[]
}

/** PEM files; changed ones are read again without a restart. */
export interface TlsOptions {
  cert: string | null
  key: string | null
  ca: string | null
  requireClientCert: boolean
  tenantFromCert: 'none' | 'cn' | 'o' | 'ou'
}

export interface ListenerContext {
  clock: Clock
  logger: Logger
  /** Shared by all listeners of the process. */
  admission: Admission
  /** New connections a second on each listener, with a burst of one second; the others are closed at once. */
  connectionRatePerSecond: number
  /** From the accepted socket to the end of the PROXY header, TLS and WebSocket handshakes. */
  handshakeTimeoutMs: number
  /** TLS handshakes under way at a time on each listener; the others wait, unread. */
  handshakesMax: number
  /** Largest WebSocket message. */
  messageBytesMax: number
  /** How often certificate files are looked at; default 10 s. */
  certificateCheckMs?: number
  /** False: never the internal hook of `socket-accept.ts`. Default true. */
  staticReadBuffer?: boolean
}

/** An open listener. */
export interface Listener {
  readonly name: string
  readonly type: ListenerType
  /** `host:port` with the port it got, or the path of the unix socket. */
  readonly address: string
  /** 0 for a unix socket. */
  readonly port: number
  readonly counters: Readonly<ListenerCounters>
  /** Reads the certificates again; rejects, and keeps the old ones, where they are not usable. */
  reloadCertificates(): Promise<void>
  /** Takes no more connections and drops unfinished handshakes. Transports stay open: they are the caller's. */
  close(): Promise<void>
}

/** Plain numbers, read when somebody scrapes. */
export interface ListenerCounters {
  /** Sockets that were let in. */
  accepted: number
  /** Sockets open now, handshakes included. */
  open: number
  /** Handshakes under way now, waiting ones included. */
  handshaking: number
  refusedRate: number
  refusedConnections: number
  /** The kernel could not give a socket: mostly too few open files. */
  acceptErrors: number
  proxyMalformed: number
  tlsFailed: number
  /** Not a WebSocket request, or with the wrong path, origin or subprotocol. */
  httpRefused: number
  handshakeTimeouts: number
  /** The client went away before its handshake was complete. */
  handshakeAborted: number
  certificateReloads: number
  certificateReloadsFailed: number
}

export type ConnectionHandler = (transport: Transport, info: ConnectionInfo) => void
