import { createHash, pbkdf2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const scryptAsync = promisify<Uint8Array, Uint8Array, number, object, Buffer>(scrypt)
const pbkdf2Async = promisify(pbkdf2)

/**
 * A stored password. `text` is the form in the file:
 * - `$scrypt$ln=15,r=8,p=1$salt$hash`: PHC string format, base64 without padding; what FlockMQ writes.
 * - `$7$iterations$salt$hash`: PBKDF2-HMAC-SHA512 of mosquitto_passwd 2.
 * - `$6$salt$hash`: SHA-512 of password and salt, of mosquitto_passwd 1. One fast hash: weak, read only.
 */
export type StoredPassword = { readonly text: string; readonly salt: Buffer; readonly hash: Buffer } & (
  | { readonly kind: 'scrypt'; readonly log2Cost: number; readonly blockSize: number; readonly parallel: number }
  | { readonly kind: 'pbkdf2'; readonly iterations: number }
  | { readonly kind: 'sha512' }
)

/** Cost of new hashes: 32 MiB and about 100 ms of one core. Source: RFC 7914; OWASP's table starts here. */
const SCRYPT = { log2Cost: 15, blockSize: 8, parallel: 1 }
const SALT_BYTES = 16
const HASH_BYTES = 32
/** A file may not make one login take more memory than this. */
const SCRYPT_BYTES_MAX = 256 * 1024 * 1024
const PBKDF2_ITERATIONS = 210_000
const PBKDF2_ITERATIONS_MAX = 10_000_000

/** Reads a stored password; null where it is in no known form or asks for more than is reasonable. */
export function parseStoredPassword(text: string): StoredPassword | null {
  const parts = text.split('$')
  if (parts[0] !== '') return null
  if (parts[1] === 'scrypt' && parts.length === 5) return parseScrypt(text, parts[2]!, parts[3]!, parts[4]!)
  if (parts[1] === '7' && parts.length === 5) return parsePbkdf2(text, parts[2]!, parts[3]!, parts[4]!)
  if (parts[1] !== '6' || parts.length !== 4) return null
  const decoded = decode(parts[2]!, parts[3]!)
  return decoded?.hash.length === 64 ? { text, kind: 'sha512', ...decoded } : null
}

function parseScrypt(text: string, parameters: string, salt: string, hash: string): StoredPassword | null {
  const match = /^ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})$/.exec(parameters)
  const decoded = decode(salt, hash)
  if (match === null || decoded === null) return null
  const [log2Cost, blockSize, parallel] = [Number(match[1]), Number(match[2]), Number(match[3])]
  if (log2Cost < 1 || blockSize < 1 || parallel < 1 || parallel > 16) return null
  if (scryptBytes(log2Cost, blockSize) > SCRYPT_BYTES_MAX) return null
  return { text, kind: 'scrypt', log2Cost, blockSize, parallel, ...decoded }
}

function parsePbkdf2(text: string, count: string, salt: string, hash: string): StoredPassword | null {
  const iterations = /^\d{1,8}$/.test(count) ? Number(count) : 0
  const decoded = decode(salt, hash)
  if (decoded === null || iterations < 1 || iterations > PBKDF2_ITERATIONS_MAX) return null
  return { text, kind: 'pbkdf2', iterations, ...decoded }
}

function decode(salt: string, hash: string): { salt: Buffer; hash: Buffer } | null {
  const base64 = /^[A-Za-z0-9+/]+={0,2}$/
  if (!base64.test(salt) || !base64.test(hash)) return null
  const decoded = { salt: Buffer.from(salt, 'base64'), hash: Buffer.from(hash, 'base64') }
  // A short hash would be met by chance.
  return decoded.hash.length >= 16 && decoded.hash.length <= 128 ? decoded : null
}

/** 128 x r x N. Source: RFC 7914, section 2. */
function scryptBytes(log2Cost: number, blockSize: number): number {
  return 128 * blockSize * 2 ** log2Cost
}

export async function verifyPassword(stored: StoredPassword, password: Uint8Array): Promise<boolean> {
  return timingSafeEqual(await derive(stored, password), stored.hash)
}

async function derive(stored: StoredPassword, password: Uint8Array): Promise<Buffer> {
  const { salt, hash } = stored
  switch (stored.kind) {
    case 'scrypt':
      return scryptAsync(password, salt, hash.length, {
        N: 2 ** stored.log2Cost,
        r: stored.blockSize,
        p: stored.parallel,
        maxmem: 2 * SCRYPT_BYTES_MAX,
      })
    case 'pbkdf2':
      return pbkdf2Async(password, salt, stored.iterations, hash.length, 'sha512')
    case 'sha512':
      return createHash('sha512').update(password).update(salt).digest()
  }
}

/** A new hash with a random salt, in the PHC form that {@link parseStoredPassword} reads. */
export async function hashPassword(password: string | Uint8Array, cost = SCRYPT): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const { log2Cost, blockSize, parallel } = cost
  const hash = await scryptAsync(Buffer.from(password), salt, HASH_BYTES, {
    N: 2 ** log2Cost,
    r: blockSize,
    p: parallel,
    maxmem: 2 * SCRYPT_BYTES_MAX,
  })
  return `$scrypt$ln=${log2Cost},r=${blockSize},p=${parallel}$${unpadded(salt)}$${unpadded(hash)}`
}

/** A new hash that mosquitto reads too. */
export async function hashPasswordForMosquitto(password: string, iterations = PBKDF2_ITERATIONS): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await pbkdf2Async(password, salt, iterations, 64, 'sha512')
  return `$7$${iterations}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/**
 * A password that nobody has, as costly to check as the costliest of `all`. It is checked in place of an unknown
 * user's, and after a cheaper one, so that the time of an answer does not tell which users there are.
 */
export function decoyPassword(all: Iterable<StoredPassword>): StoredPassword {
  let costliest: StoredPassword | null = null
  for (const stored of all) {
    if (costliest === null || costMicroseconds(stored) > costMicroseconds(costliest)) costliest = stored
  }
  const like = costliest ?? {
    kind: 'scrypt' as const,
    ...SCRYPT,
    salt: Buffer.alloc(SALT_BYTES),
    hash: Buffer.alloc(HASH_BYTES),
  }
  return { ...like, text: '', salt: randomBytes(like.salt.length), hash: randomBytes(like.hash.length) }
}

/** A rough cost of a check, to compare kinds: scrypt took 0.4 us a unit of N x r x p here, PBKDF2 0.5 us a round. */
export function costMicroseconds(stored: StoredPassword): number {
  switch (stored.kind) {
    case 'scrypt':
      return 0.4 * 2 ** stored.log2Cost * stored.blockSize * stored.parallel
    case 'pbkdf2':
      return 0.5 * stored.iterations
    case 'sha512':
      return 1
  }
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
