import type { Message, Persisted } from '../raft/index.ts'
import type { RangeDescriptor, ServiceName } from '../range/coprocessor.ts'
import { newcomerKey } from '../range/schema.ts'
import type { FamilyWrite } from '../snapshot/index.ts'
import type { Gathered } from './gathered.ts'
import type { Group } from './group.ts'
import type { Hosted } from './hosted.ts'
import { encodeNewcomer } from './raft-schema.ts'

export interface NewcomerOptions {
  descriptor: RangeDescriptor
  group: Group
  emptiedFor: { index: number; term: number } | null
  send(message: Message): void
  wake(host: Hosted): void
}

/**
 * A replica without a state: it takes part in votes as far as its log allows, and waits for a snapshot. Its number is on
 * disk before anything is promised by it.
 */
export class NewcomerHost implements Hosted {
  readonly id: string
  readonly service: ServiceName
  readonly group: Group
  /** Its keys as it was told, or as they were before it was emptied. */
  readonly descriptor: RangeDescriptor
  readonly halted = null
  readonly waits = false
  readonly ample = false
  readonly dueMs = Number.POSITIVE_INFINITY
  readonly #options: NewcomerOptions
  #landings = 0
  #known: boolean
  #closed = false

  /** @param known its number is on disk already */
  constructor(options: NewcomerOptions, known: boolean) {
    this.#options = options
    this.#known = known
    this.descriptor = options.descriptor
    this.id = options.descriptor.id
    this.service = options.descriptor.service
    this.group = options.group
  }

  advance(_nowMs: number, gathered: Gathered): void {
    if (this.#closed) return
    const { persisted, messages, afterPersist } = this.group.take(gathered.raft)
    for (const message of messages) this.#options.send(message)
    if (persisted === null && (afterPersist.length === 0 || this.#landings === 0)) {
      for (const message of afterPersist) this.#options.send(message)
      return
    }
    if (!this.#known) gathered.last.push(newcomerRecord(this.descriptor, this.group.replica, this.#options.emptiedFor))
    this.#known = true
    gathered.sync = true
    this.#landings++
    gathered.landings.push(() => this.#landed(persisted, afterPersist))
  }

  abort(): void {
    this.#closed = true
  }

  #landed(persisted: Persisted | null, promises: readonly Message[]): void {
    this.#landings--
    if (this.#closed) return
    if (persisted !== null) this.group.persisted(persisted)
    for (const message of promises) this.#options.send(message)
    this.#options.wake(this)
  }
}

/** What says on disk that such a replica is there. */
export function newcomerRecord(
  descriptor: RangeDescriptor,
  replica: number,
  emptiedFor: { index: number; term: number } | null,
): FamilyWrite {
  const value = encodeNewcomer({ replica, emptiedFor, descriptor })
  return { family: 'meta', write: { type: 'put', key: newcomerKey(descriptor.service, descriptor.id), value } }
}
