import { ChannelCredentials, ServerCredentials } from '@grpc/grpc-js'

/** PEM. The cluster has a certificate authority of its own: whoever has a certificate of it belongs to the cluster. */
export interface TlsOptions {
  authority: Buffer
  certificate: Buffer
  key: Buffer
}

export function serverCredentials(tls: TlsOptions | null): ServerCredentials {
  if (tls === null) return ServerCredentials.createInsecure()
  const pair = { private_key: tls.key, cert_chain: tls.certificate }
  return ServerCredentials.createSsl(tls.authority, [pair], true)
}

/** Peers have addresses, not names, and the handshake says which node is wanted: the name is not compared. */
export function channelCredentials(tls: TlsOptions | null): ChannelCredentials {
  if (tls === null) return ChannelCredentials.createInsecure()
  return ChannelCredentials.createSsl(tls.authority, tls.key, tls.certificate, {
    checkServerIdentity: () => undefined,
  })
}
