import type { Done } from '../../kv/client/client.ts'
import type { InboxRanges } from '../feed-host.ts'
import type { DetachCommand, Response } from '../store/command.ts'

/** A connection of this node that owns a session. */
export interface OwnerHere {
  /** Of its session. */
  key: Uint8Array
  /** Of the node, by which it attached. */
  nodeIncarnation: number
  /** The node may not act on the session any more. */
  lost: () => void
}

/** Detaches sent at a time. */
const OWED_SLICE = 256

/**
 * The connections of this node that own sessions, and sessions that it has given up without being able to say so: this is
 * done as soon as it can, unless the node is fenced first.
 */
export class Owners {
  readonly #here = new Map<string, OwnerHere>()
  readonly #owed = new Map<string, { command: DetachCommand; nodeIncarnation: number }>()
  #sending = 0

  add(connection: string, owner: OwnerHere): void {
    this.#here.set(connection, owner)
  }

  /** The connection is gone. */
  remove(connection: string): OwnerHere | null {
    const owner = this.#here.get(connection) ?? null
    this.#here.delete(connection)
    return owner
  }

  get owed(): number {
    return this.#owed.size
  }

  owe(command: DetachCommand, nodeIncarnation: number): void {
    this.#owed.set(command.connection, { command, nodeIncarnation })
  }

  /** Closes those whose session the node may not act on. Returns how many. */
  closeWhere(mayNot: (owner: OwnerHere) => boolean): number {
    const gone = [...this.#here.values()].filter(mayNot)
    for (const owner of gone) owner.lost()
    return gone.length
  }

  /** Says what is owed; what earlier incarnations owe, their fence does. */
  settle(ranges: InboxRanges, nodeIncarnation: number): void {
    if (this.#sending > 0) return
    for (const [connection, owed] of this.#owed) {
      if (owed.nodeIncarnation < nodeIncarnation) this.#owed.delete(connection)
      else if (this.#sending < OWED_SLICE) {
        this.#sending++
        const done: Done<Response> = (error) => {
          this.#sending--
          if (error === null && this.#owed.get(connection) === owed) this.#owed.delete(connection)
        }
        ranges.mutateWith(owed.command.key, owed.command, done)
      } else return
    }
  }
}
