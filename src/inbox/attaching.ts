import type { Clock } from '../base/clock.ts'
import { BrokerError } from '../base/errors.ts'
import type { InboxRanges } from './feed-host.ts'
import type { FrontLeases } from './leases/front-leases.ts'
import type { AttachCommand, AttachedAnswer, DetachCommand, Response } from './store/command.ts'
import { nameOf } from './store/schema.ts'

export interface AttachingOptions {
  ranges: InboxRanges
  clock: Clock
  /** Null: nobody else ever has a session. */
  leases: FrontLeases | null
}

/** A CONNECT is answered within 5 s, where its range can be reached or not. */
const ANSWER_MS = 4_000
/** Another node has the session: it closes its connection, or it is fenced when its lease has ended. */
const FREE_MS = 15_000
/** How often it is looked whether the session is free, where this node is not told. */
const LOOK_MS = 2_000

/** How connections of this node become owners of sessions, and cease to be. */
export class Attaching {
  readonly #options: AttachingOptions
  /** Who waits for a session that another node has, by its name. */
  readonly #waiting = new Map<string, Set<Awaited>>()

  constructor(options: AttachingOptions) {
    this.#options = options
  }

  async attach(command: Omit<AttachCommand, 'nodeIncarnation'>, lost: () => void): Promise<AttachedAnswer> {
    const { leases } = this.#options
    const { key, connection } = command
    await leases?.ready(key, ANSWER_MS)
    const nodeIncarnation = leases?.incarnation ?? 1
    const answer = await this.#whenFree({ ...command, nodeIncarnation })
    if (leases === null) return answer
    if (leases.incarnation === nodeIncarnation && leases.holds(key)) {
      leases.owners.add(connection, { key, nodeIncarnation, lost })
      return answer
    }
    leases.owners.owe(givenUp(command), nodeIncarnation)
    throw new BrokerError('UNAVAILABLE', 'Cannot attach a session: this node has lost its lease; try again')
  }

  async detach(command: DetachCommand): Promise<Response> {
    const { leases, ranges } = this.#options
    if (leases === null) return await ranges.mutate(command.key, command)
    const { owners, incarnation } = leases
    const nodeIncarnation = owners.remove(command.connection)?.nodeIncarnation ?? incarnation
    // Its fence does it.
    if (nodeIncarnation < incarnation) return 'done'
    try {
      if (leases.holds(command.key)) return await ranges.mutate(command.key, command, { deadlineMs: ANSWER_MS })
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'CLOSED') throw error
    }
    owners.owe(command, nodeIncarnation)
    return 'done'
  }

  /** A session was given up, as this node has applied. */
  freed(name: string): void {
    for (const awaited of this.#waiting.get(name) ?? []) awaited.come()
  }

  async #whenFree(command: AttachCommand): Promise<AttachedAnswer> {
    for (const untilMs = this.#options.clock.monotonic() + FREE_MS; ; ) {
      // From before the answer on: between the two it may have become free.
      const free = this.#listen(nameOf(command.key))
      try {
        const response = await this.#propose(command)
        if (typeof response === 'object' && response.type === 'attached') return response
        if (response === 'fenced') {
          this.#options.leases?.isFenced(command.nodeIncarnation)
          throw new BrokerError('UNAVAILABLE', 'Cannot attach a session: this node was held for gone; try again')
        }
        await this.#untilFree(command.key, free, untilMs)
      } finally {
        free.end()
      }
    }
  }

  async #propose(command: AttachCommand): Promise<Response> {
    const { ranges, leases } = this.#options
    try {
      return await ranges.mutate(command.key, command, { deadlineMs: ANSWER_MS })
    } catch (error) {
      // It may have been done all the same.
      leases?.owners.owe(givenUp(command), command.nodeIncarnation)
      throw error
    }
  }

  async #untilFree(key: Uint8Array, free: Awaited, untilMs: number): Promise<void> {
    const { ranges, clock } = this.#options
    for (;;) {
      if (await free.within(clock, LOOK_MS)) return
      const head = await ranges.query(key, { type: 'head', key }, { deadlineMs: ANSWER_MS }).catch(() => undefined)
      if (head === null || (typeof head === 'object' && 'connection' in head && head.connection === null)) return
      if (clock.monotonic() < untilMs) continue
      throw new BrokerError('UNAVAILABLE', 'Cannot attach a session: another node has it still; try again')
    }
  }

  #listen(name: string): Awaited {
    let waiting = this.#waiting.get(name)
    if (waiting === undefined) this.#waiting.set(name, (waiting = new Set()))
    const awaited = new Awaited(() => {
      waiting.delete(awaited)
      if (waiting.size === 0 && this.#waiting.get(name) === waiting) this.#waiting.delete(name)
    })
    waiting.add(awaited)
    return awaited
  }
}

/** Something that somebody waits for. */
class Awaited {
  readonly end: () => void
  #came = false
  #wake = () => {}

  constructor(end: () => void) {
    this.end = end
  }

  come(): void {
    this.#came = true
    this.#wake()
  }

  /** True where it came within that time, or before. */
  within(clock: Clock, ms: number): Promise<boolean> {
    if (this.#came) return Promise.resolve(true)
    return new Promise((resolve) => {
      const cancel = clock.after(ms, () => resolve(false))
      this.#wake = () => {
        cancel()
        resolve(true)
      }
    })
  }
}

/** The client was told that it is not connected: nothing of its connection counts. */
function givenUp({ key, connection }: Pick<AttachCommand, 'key' | 'connection'>): DetachCommand {
  return { type: 'detach', key, incarnation: 0, connection, expirySeconds: null, discardWill: true, sentUpTo: 0 }
}
