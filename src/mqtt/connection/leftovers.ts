import type { Clock } from '../../base/clock.ts'
import type { Inbox, InboxKey } from '../../inbox/index.ts'

/** Clients that are remembered; of more, sessions stay until they expire. */
const LEFT_MAX = 10_000
const AGAIN_MS = 5_000
/** Looked at in one go. */
const SLICE = 64

interface Left {
  key: InboxKey
  /** When the client connected without it, ms since 1970. */
  sinceMs: number
}

/**
 * Sessions of clients that went on without one, while nobody could tell whether they had one: they are taken away once
 * that can be told, unless the client has come back to them.
 */
export class Leftovers {
  readonly #inbox: Inbox
  readonly #clock: Clock
  readonly #left = new Map<string, Left>()
  #planned = false

  constructor(inbox: Inbox, clock: Clock) {
    this.#inbox = inbox
    this.#clock = clock
  }

  note(key: InboxKey): void {
    const name = `${key.tenant}\0${key.inbox}`
    if (this.#left.size < LEFT_MAX) this.#left.set(name, { key, sinceMs: this.#clock.now() })
    this.#plan()
  }

  #plan(): void {
    if (this.#planned || this.#left.size === 0) return
    this.#planned = true
    this.#clock.after(AGAIN_MS, () => {
      void this.#takeAway().finally(() => {
        this.#planned = false
        this.#plan()
      })
    })
  }

  async #takeAway(): Promise<void> {
    const some = [...this.#left].slice(0, SLICE)
    await Promise.allSettled(
      some.map(async ([name, { key, sinceMs }]) => {
        const head = await this.#inbox.head(key)
        const isOld = head !== null && head.connection === null && (head.detachedAtMs ?? 0) <= sinceMs
        if (isOld) await this.#inbox.remove(key, head.incarnation)
        this.#left.delete(name)
      }),
    )
  }
}
