import { createHmac, randomBytes } from 'node:crypto'

export interface CredentialMemoryOptions {
  /** Right passwords that are remembered; wrong ones have a tenth of it, so that guessing drives none out. */
  entriesMax: number
  /** How long a right password is believed without hashing it again. */
  acceptedMs: number
  /** How long a wrong one is refused without hashing it again; short, since it only spares the hasty. */
  refusedMs: number
}

/**
 * Remembers the outcome of password checks, so that ten thousand clients that come back at once do not hash ten
 * thousand times.
 *
 * It holds no password: an entry is an HMAC under a key that never leaves the process, over user, stored hash and
 * password. What it says stays true whatever becomes of the file: a changed password has another stored hash, so that
 * its old entry is never met again.
 */
export class CredentialMemory {
  readonly #key = randomBytes(32)
  readonly #accepted: ExpiringSet
  readonly #refused: ExpiringSet

  constructor(options: CredentialMemoryOptions) {
    this.#accepted = new ExpiringSet(options.entriesMax, options.acceptedMs)
    this.#refused = new ExpiringSet(Math.ceil(options.entriesMax / 10), options.refusedMs)
  }

  get size(): number {
    return this.#accepted.size + this.#refused.size
  }

  /** The fields' lengths are part of it: no two different pairs give the same bytes. */
  keyOf(user: string, stored: string, password: Uint8Array): string {
    return createHmac('sha256', this.#key)
      .update(`${user.length}:${stored.length}:${user}${stored}`)
      .update(password)
      .digest('base64')
  }

  recall(key: string, nowMs: number): 'accepted' | 'refused' | 'unknown' {
    if (this.#accepted.has(key, nowMs)) return 'accepted'
    return this.#refused.has(key, nowMs) ? 'refused' : 'unknown'
  }

  remember(key: string, accepted: boolean, nowMs: number): void {
    const set = accepted ? this.#accepted : this.#refused
    set.add(key, nowMs)
  }
}

/** Keys that are forgotten after a time; when there are too many, the least recently used one first. */
class ExpiringSet {
  readonly #untilMs = new Map<string, number>()
  readonly #entriesMax: number
  readonly #livesMs: number

  constructor(entriesMax: number, livesMs: number) {
    this.#entriesMax = entriesMax
    this.#livesMs = livesMs
  }

  get size(): number {
    return this.#untilMs.size
  }

  has(key: string, nowMs: number): boolean {
    const untilMs = this.#untilMs.get(key)
    if (untilMs === undefined) return false
    this.#untilMs.delete(key)
    if (nowMs >= untilMs) return false
    this.#untilMs.set(key, untilMs)
    return true
  }

  add(key: string, nowMs: number): void {
    this.#untilMs.delete(key)
    if (this.#untilMs.size >= this.#entriesMax) {
      const oldest = this.#untilMs.keys().next()
      if (!oldest.done) this.#untilMs.delete(oldest.value)
    }
    this.#untilMs.set(key, nowMs + this.#livesMs)
  }
}
