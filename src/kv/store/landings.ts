import type { Message, Persisted } from '../raft/index.ts'
import type { Gathered } from './gathered.ts'

/** What follows when a batch has landed. */
interface Landing {
  /** The report, where log or hard state are in it. */
  persisted: Persisted | null
  /** Messages that speak of what is in it, or before. */
  promises: Message[]
  /** The last entry whose effects are in it, or before. */
  applied: number
}

/** Batches on their way that hold something of one replica, and what it says to others once they are there. */
export class Landings {
  readonly #send: (message: Message) => void
  readonly #landed: (persisted: Persisted | null, applied: number) => void
  /** The last write of log or hard state that has not landed. */
  #lastWrite: Landing | null = null
  #closed = false

  constructor(send: (message: Message) => void, landed: (persisted: Persisted | null, applied: number) => void) {
    this.#send = send
    this.#landed = landed
  }

  /** The next batch holds log or hard state, and so waits for the disk. */
  write(gathered: Gathered, persisted: Persisted, promises: readonly Message[], applied: number): void {
    gathered.sync = true
    this.#lastWrite = { persisted, promises: [...promises], applied }
    this.#follow(gathered, this.#lastWrite)
  }

  /** The next batch holds the effects of entries up to `applied`, and nothing else: nobody is promised anything by it. */
  effects(gathered: Gathered, applied: number): void {
    this.#follow(gathered, { persisted: null, promises: [], applied })
  }

  /** What is promised speaks of nothing that is not written, or on its way. */
  promise(promises: readonly Message[]): void {
    if (this.#lastWrite !== null) this.#lastWrite.promises.push(...promises)
    else for (const message of promises) this.#send(message)
  }

  /** Nobody hears of what lands from now on. */
  close(): void {
    this.#closed = true
  }

  #follow(gathered: Gathered, landing: Landing): void {
    gathered.landings.push(() => {
      if (this.#lastWrite === landing) this.#lastWrite = null
      if (this.#closed) return
      this.#landed(landing.persisted, landing.applied)
      for (const message of landing.promises) this.#send(message)
    })
  }
}
