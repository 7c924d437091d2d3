import type { Socket } from 'node:net'
import type { CertificateInfo } from './contract.ts'
import type { SocketTransport } from './socket-transport.ts'

/** Why a connection never became a transport. */
export type HandshakeFailure = 'proxyMalformed' | 'tlsFailed' | 'httpRefused' | 'handshakeTimeouts' | 'handshakeAborted'

/** What an accepted socket goes through before it carries MQTT: PROXY header, TLS, WebSocket, as the type needs. */
export interface Handshake {
  /** The accepted one, below TLS. */
  readonly socket: Socket
  /** Present where the accepted socket itself will carry MQTT. */
  readonly transport: SocketTransport | null
  readonly acceptedAtMs: number
  remoteAddress: string
  remotePort: number
  certificate: CertificateInfo | null
  /** What went wrong first; counted when the socket is closed. */
  failure: HandshakeFailure | null
  done: boolean
  cancelTimeout: () => void
}

/** Ends the handshake; the socket's close event does the rest. */
export function fail(handshake: Handshake, failure: HandshakeFailure): void {
  handshake.failure ??= failure
  handshake.socket.destroy()
}

/** The address without the IPv6 dress that a dual-stack socket gives to IPv4. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return ''
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}
