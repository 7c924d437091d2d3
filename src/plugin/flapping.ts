import type { OptionTable, OptionValues } from '../base/option.ts'

/** Off by default: a device at the edge of its radio cell looks the same as one that misbehaves. */
export const FLAPPING_OPTIONS = {
  enabled: {
    type: 'boolean',
    default: false,
    sentence: 'Shuts out a client for a while that loses its connection again and again, such as two with one id.',
  },
  disconnectsMax: {
    type: 'integer',
    default: 15,
    min: 2,
    max: 10_000,
    unit: 'count',
    sentence: 'Abrupt ends of connections of one client id within the window that lead to the ban.',
  },
  windowSeconds: {
    type: 'integer',
    default: 60,
    min: 1,
    max: 86_400,
    unit: 'seconds',
    sentence: 'The time over which they are counted.',
  },
  banSeconds: {
    type: 'integer',
    default: 300,
    min: 1,
    max: 86_400,
    unit: 'seconds',
    sentence: 'How long the client is shut out (MQTT 5 reason 0x8A).',
  },
  clientsMax: {
    type: 'integer',
    default: 100_000,
    min: 100,
    max: 10_000_000,
    unit: 'count',
    sentence: 'Clients that are watched at a time; the one whose last abrupt end is longest ago is forgotten first.',
  },
} as const satisfies OptionTable

export type FlappingOptions = OptionValues<typeof FLAPPING_OPTIONS>

interface Watched {
  disconnects: number
  windowEndMs: number
  bannedUntilMs: number
}

/**
 * Counts the abrupt ends of connections (lost, keep-alive, protocol errors, taken over; not DISCONNECT 0x00) per
 * client, and shuts out who has too many. A pure machine: time is an argument.
 *
 * A window begins with the first abrupt end and is not moved by later ones, so that a client which loses its
 * connection once in a while is never shut out.
 */
export class FlapGuard {
  readonly #options: FlappingOptions
  /** By tenant and client id; the one with the latest abrupt end last. */
  readonly #records = new Map<string, Watched>()

  constructor(options: FlappingOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#records.size
  }

  /** An abrupt end; true where it led to a ban just now. */
  disconnected(tenant: string, clientId: string, nowMs: number): boolean {
    if (!this.#options.enabled) return false
    const key = `${tenant}\0${clientId}`
    const known = this.#records.get(key)
    this.#records.delete(key)
    const record = this.#counted(known, nowMs)
    const banned = record.disconnects >= this.#options.disconnectsMax && record.bannedUntilMs <= nowMs
    if (banned) {
      record.bannedUntilMs = nowMs + this.#options.banSeconds * 1000
      record.disconnects = 0
    }
    this.#makeRoom()
    this.#records.set(key, record)
    return banned
  }

  /** Until when the client is shut out, in the same clock; 0 where it is not. */
  bannedUntilMs(tenant: string, clientId: string, nowMs: number): number {
    if (this.#records.size === 0) return 0
    const record = this.#records.get(`${tenant}\0${clientId}`)
    return record !== undefined && record.bannedUntilMs > nowMs ? record.bannedUntilMs : 0
  }

  #counted(known: Watched | undefined, nowMs: number): Watched {
    const windowEndMs = nowMs + this.#options.windowSeconds * 1000
    if (known === undefined) return { disconnects: 1, windowEndMs, bannedUntilMs: 0 }
    if (nowMs < known.windowEndMs) known.disconnects++
    else {
      known.disconnects = 1
      known.windowEndMs = windowEndMs
    }
    return known
  }

  #makeRoom(): void {
    if (this.#records.size < this.#options.clientsMax) return
    const oldest = this.#records.keys().next()
    if (!oldest.done) this.#records.delete(oldest.value)
  }
}
