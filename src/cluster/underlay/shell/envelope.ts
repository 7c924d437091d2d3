import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomFillSync,
  scrypt,
} from 'node:crypto'

/**
 * ```
 * sealed   0x81 | nonce, 12 random bytes | AES-256-GCM ciphertext | tag, 16 bytes
 * ```
 * The first byte differs from a plain packet's version. It and how the packet travels are authenticated, so that an
 * answer is never taken for a request. Random nonces of one key repeat with probability 2^-25 after 2^36 packets: at
 * 2,000 a second in the whole cluster, a year.
 */
const SEALED = 0x81
const NONCE_BYTES = 12
const TAG_BYTES = 16
export const SEAL_BYTES = 1 + NONCE_BYTES + TAG_BYTES
export const SECRETS_MAX = 8

/** How a packet travels. */
export type Way = 'datagram' | 'request' | 'answer'
const AAD: Readonly<Record<Way, Buffer>> = {
  datagram: Buffer.from([SEALED, 1]),
  request: Buffer.from([SEALED, 2]),
  answer: Buffer.from([SEALED, 3]),
}

/**
 * Why bytes are not opened: not encrypted where we encrypt, encrypted where we do not, of none of our keys or changed,
 * seen before.
 */
export type EnvelopeFault = 'plain' | 'encrypted' | 'undecryptable' | 'replayed'

/** The key ring: the first key seals, all open. Without keys, packets travel as they are. */
export class Envelope {
  readonly #bySecret: ReadonlyMap<string, KeyObject>
  readonly #keys: readonly KeyObject[]
  readonly #seen: SeenNonces

  private constructor(bySecret: ReadonlyMap<string, KeyObject>, seen: SeenNonces) {
    this.#bySecret = bySecret
    this.#keys = [...bySecret.values()]
    this.#seen = seen
  }

  /** Slow on purpose, 50 ms for each secret that `before` did not have: a weak one should cost whoever guesses it. */
  static async derive(secrets: readonly string[], before?: Envelope): Promise<Envelope> {
    const known = before === undefined ? new Map<string, KeyObject>() : before.#bySecret
    const seen = before === undefined ? new SeenNonces() : before.#seen
    const keys = secrets.map(async (secret) => [secret, known.get(secret) ?? (await deriveKey(secret))] as const)
    return new Envelope(new Map(await Promise.all(keys)), seen)
  }

  get encrypts(): boolean {
    return this.#keys.length > 0
  }

  seal(bytes: Uint8Array, way: Way): Uint8Array {
    const key = this.#keys[0]
    if (key === undefined) return bytes
    const sealed = Buffer.allocUnsafe(bytes.length + SEAL_BYTES)
    sealed[0] = SEALED
    const nonce = nextNonce()
    nonce.copy(sealed, 1)
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    cipher.setAAD(AAD[way])
    cipher.update(bytes).copy(sealed, 1 + NONCE_BYTES)
    cipher.final()
    cipher.getAuthTag().copy(sealed, sealed.length - TAG_BYTES)
    return sealed
  }

  open(bytes: Uint8Array, way: Way): Uint8Array | EnvelopeFault {
    if (this.#keys.length === 0) return bytes[0] === SEALED ? 'encrypted' : bytes
    if (bytes[0] !== SEALED) return 'plain'
    if (bytes.length < SEAL_BYTES) return 'undecryptable'
    const nonce = bytes.subarray(1, 1 + NONCE_BYTES)
    for (const key of this.#keys) {
      const opened = openWith(key, nonce, bytes, way)
      if (opened !== null) return this.#seen.add(nonce) ? opened : 'replayed'
    }
    return 'undecryptable'
  }
}

function openWith(key: KeyObject, nonce: Uint8Array, bytes: Uint8Array, way: Way): Uint8Array | null {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(AAD[way])
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES))
  const opened = decipher.update(bytes.subarray(1 + NONCE_BYTES, bytes.length - TAG_BYTES))
  try {
    decipher.final()
  } catch {
    return null
  }
  return opened
}

/** The salt is the same everywhere: hosts share nothing but the secret. */
function deriveKey(secret: string): Promise<KeyObject> {
  return new Promise((resolve, reject) => {
    scrypt(secret.normalize('NFC'), 'flockmq cluster.secret', 32, { N: 16_384, r: 8, p: 1 }, (error, master) => {
      if (error) return reject(error)
      // Other uses of the secret have other keys.
      const key = hkdfSync('sha256', master, '', 'underlay aes-256-gcm', 32)
      resolve(createSecretKey(new Uint8Array(key)))
    })
  })
}

const NONCES_AT_ONCE = 256
const nonces = Buffer.allocUnsafe(NONCE_BYTES * NONCES_AT_ONCE)
let nonceAt = nonces.length

function nextNonce(): Buffer {
  if (nonceAt === nonces.length) {
    randomFillSync(nonces)
    nonceAt = 0
  }
  nonceAt += NONCE_BYTES
  return nonces.subarray(nonceAt - NONCE_BYTES, nonceAt)
}

/** Of each generation; two are kept, so that the last 16,384 packets at least are remembered. */
const SEEN_MAX = 16_384

/**
 * Packets that came lately: one that comes again is a replay, or the network doubled it, and says nothing new. What is
 * older may be played back unseen, and is harmless: incarnations only grow.
 */
class SeenNonces {
  #young = new Set<number>()
  #old = new Set<number>()

  /** False: seen before. */
  add(nonce: Uint8Array): boolean {
    // 48 of 96 bits: among 32,768 remembered ones, a stranger looks like one of them once in 2^33.
    const mark = Buffer.from(nonce.buffer, nonce.byteOffset, 6).readUIntBE(0, 6)
    if (this.#young.has(mark) || this.#old.has(mark)) return false
    this.#young.add(mark)
    if (this.#young.size >= SEEN_MAX) {
      this.#old = this.#young
      this.#young = new Set()
    }
    return true
  }
}
