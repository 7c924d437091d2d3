import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { assert } from '../../base/assert.ts'
import { type Authenticator, NONCE_BYTES } from '../link/core/index.ts'

/**
 * Proofs by the cluster's secrets: the first makes them, any of them accepts them, so that a secret is changed without
 * downtime (add the new one behind the old one on all nodes, then put it first, then take the old one away).
 *
 * The secret itself never leaves: a key for links alone is derived from it, and only MACs over nonces are sent.
 */
export function secretAuthenticator(secrets: readonly string[]): Authenticator {
  assert(secrets.length > 0, 'There is a secret')
  const keys = secrets.map((secret) => createHmac('sha256', secret).update('flockmq link key').digest())
  const mac = (key: Buffer, transcript: Buffer) => createHmac('sha256', key).update(transcript).digest()
  return {
    nonce: () => randomBytes(NONCE_BYTES),
    prove: (transcript) => mac(keys[0]!, transcript),
    verify: (transcript, proof) =>
      keys.some((key) => {
        const expected = mac(key, transcript)
        return expected.length === proof.length && timingSafeEqual(expected, proof)
      }),
  }
}

/** For clusters whose peers are known by certificate, or that are explicitly insecure: nothing is proven here. */
export const openAuthenticator: Authenticator = {
  nonce: () => randomBytes(NONCE_BYTES),
  prove: () => Buffer.alloc(0),
  verify: (_transcript, proof) => proof.length === 0,
}
