import { Buffer } from 'node:buffer'

/** Proves and checks that both sides know the cluster's secret, which itself is never sent. The host has the keys. */
export interface Authenticator {
  /** {@link NONCE_BYTES} fresh random bytes. */
  nonce(): Buffer
  /** A MAC over the transcript, by the first key of the ring; empty where there is no secret. */
  prove(transcript: Buffer): Buffer
  /** True where some key of the ring gives this proof. Compares in constant time. */
  verify(transcript: Buffer, proof: Buffer): boolean
}

/**
 * What a proof covers: the whole conversation so far and whose proof it is, so that none can be replayed, reflected to
 * its sender, or moved to another node, kind or incarnation.
 */
export function transcript(role: 'initiator' | 'acceptor', hello: Buffer, challenge: Buffer, terms: Buffer): Buffer {
  const lengths = Buffer.alloc(8)
  lengths.writeUInt32LE(hello.length, 0)
  lengths.writeUInt32LE(challenge.length, 4)
  return Buffer.concat([Buffer.from(`flockmq link 1 ${role}\0`), lengths, hello, challenge, terms])
}
