import type { TlsOptions as ListenerOptions } from 'node:tls'
import { ChannelCredentials } from '@grpc/grpc-js'

/** PEM. The cluster has a certificate authority of its own: whoever has a certificate of it belongs to the cluster. */
export interface TlsOptions {
  authority: Buffer
  certificate: Buffer
  key: Buffer
}

const HANDSHAKE_MS_MAX = 10_000

export function listenerTls(tls: TlsOptions): ListenerOptions {
  return {
    ca: tls.authority,
    cert: tls.certificate,
    key: tls.key,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_MS_MAX,
    ALPNProtocols: ['h2'],
  }
}

/** Peers have addresses, not names, and the handshake says which node is wanted: the name is not compared. */
export function channelCredentials(tls: TlsOptions | null): ChannelCredentials {
  if (tls === null) return ChannelCredentials.createInsecure()
  return ChannelCredentials.createSsl(tls.authority, tls.key, tls.certificate, {
    checkServerIdentity: () => undefined,
  })
}
