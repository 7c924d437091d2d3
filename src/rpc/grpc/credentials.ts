import type { SecureClientSessionOptions, SecureServerOptions } from 'node:http2'

/** PEM. The cluster has a certificate authority of its own: whoever has a certificate of it belongs to the cluster. */
export interface TlsOptions {
  authority: Buffer
  certificate: Buffer
  key: Buffer
}

export function serverTls(tls: TlsOptions): SecureServerOptions {
  return {
    ca: tls.authority,
    cert: tls.certificate,
    key: tls.key,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
  }
}

/** Peers have addresses, not names, and the handshake says which node is wanted: the name is not compared. */
export function clientTls(tls: TlsOptions): SecureClientSessionOptions {
  return {
    ca: tls.authority,
    cert: tls.certificate,
    key: tls.key,
    minVersion: 'TLSv1.2',
    checkServerIdentity: () => undefined,
  }
}
