import type { HostId } from '../../../base/ids.ts'
import type { Accusation, Alive, Left } from './message.ts'
import { encodeMessage } from './wire.ts'

export type Rumour = Alive | Accusation | Left

interface Entry {
  readonly subject: HostId
  /** Set for suspicions only: those of different accusers confirm each other, and travel beside each other. */
  readonly accuser: HostId | ''
  readonly bytes: Uint8Array
  transmits: number
  gone: boolean
}

/**
 * What is passed on: the least told first, among those the newest. News of a host replace what was said of it before,
 * so the queue is bounded by the number of hosts and accusers.
 *
 * Source: memberlist, TransmitLimitedQueue.
 */
export class GossipQueue {
  /** By transmissions; within, the newest last. */
  readonly #levels: Entry[][] = []
  readonly #bySubject = new Map<HostId, Entry[]>()

  get size(): number {
    let size = 0
    for (const entries of this.#bySubject.values()) size += entries.length
    return size
  }

  get empty(): boolean {
    return this.#bySubject.size === 0
  }

  put(rumour: Rumour): void {
    const subject = rumour.type === 'alive' ? rumour.record.id : rumour.id
    const accuser = rumour.type === 'suspect' ? rumour.by : ''
    const entry: Entry = { subject, accuser, bytes: encodeMessage(rumour), transmits: 0, gone: false }
    const kept: Entry[] = []
    for (const other of this.#bySubject.get(subject) ?? []) {
      const beside = accuser !== '' && other.accuser !== '' && other.accuser !== accuser
      if (beside) kept.push(other)
      else other.gone = true
    }
    kept.push(entry)
    this.#bySubject.set(subject, kept)
    this.#level(0).push(entry)
  }

  /** Forgets what is said of a host. */
  drop(subject: HostId): void {
    for (const entry of this.#bySubject.get(subject) ?? []) entry.gone = true
    this.#bySubject.delete(subject)
  }

  /**
   * Takes what fits into `roomBytes`, each once more told.
   * @param limit of transmissions: see retransmitLimit()
   */
  take(roomBytes: number, limit: number): Uint8Array[] {
    const taken: Entry[] = []
    if (this.empty) this.#levels.length = 0
    let room = roomBytes
    for (let level = 0; level < this.#levels.length && room > 0; level++) {
      const entries = this.#levels[level]!
      const kept: Entry[] = []
      for (let at = entries.length - 1; at >= 0; at--) {
        const entry = entries[at]!
        if (entry.gone) continue
        if (entry.transmits < limit && entry.bytes.length <= room) {
          room -= entry.bytes.length
          taken.push(entry)
        } else if (entry.transmits < limit) kept.push(entry)
        else this.#forget(entry)
      }
      this.#levels[level] = kept.reverse()
    }
    for (const entry of taken) {
      entry.transmits++
      if (entry.transmits < limit) this.#level(entry.transmits).push(entry)
      else this.#forget(entry)
    }
    return taken.map((entry) => entry.bytes)
  }

  #forget(entry: Entry): void {
    entry.gone = true
    const entries = (this.#bySubject.get(entry.subject) ?? []).filter((other) => other !== entry)
    if (entries.length === 0) this.#bySubject.delete(entry.subject)
    else this.#bySubject.set(entry.subject, entries)
  }

  #level(transmits: number): Entry[] {
    while (this.#levels.length <= transmits) this.#levels.push([])
    return this.#levels[transmits]!
  }
}
