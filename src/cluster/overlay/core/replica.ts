import type { HostId } from '../../../base/ids.ts'
import { Entries, type Entry, entryBytes } from './entries.ts'
import { hashText } from './hash.ts'
import type { Delta, Position } from './message.ts'
import { HOST_BYTES_MAX, HOST_ENTRIES_MAX, VERSION_LEAP_MAX } from './options.ts'

/** Names a host in one of its lives, in 48 bits: two that are equal would only delay each other's news. */
export function markOf(host: HostId, life: number): number {
  const [a, b] = hashText(`${host} ${life}`)
  return a * 2 ** 16 + (b & 0xffff)
}

/** Entries of one host in one life, with where they are told of: our own, or a replica. */
export interface Source {
  readonly host: HostId
  readonly life: number
  readonly mark: number
  /** Always complete up to its version. */
  readonly entries: Entries
  readonly position: Position
  /** So many more rounds its news are told. */
  rounds: number
}

/** A key that changed: before and after, undefined where nothing stood there. */
export interface Change {
  key: string
  previous: Entry | undefined
  entry: Entry | undefined
}

/** Why a delta was not used. */
export type Rejection = 'stale' | 'gap' | 'refused'

/**
 * The entries of another host in one life, as far as they are known here.
 *
 * Who missed a deletion that is forgotten by now cannot know which of its entries are gone: it reads all anew, beside
 * what it has, and takes that over once it is complete up to where the sender stood. What is passed on to others is
 * always complete.
 */
export class Replica implements Source {
  readonly host: HostId
  readonly life: number
  readonly mark: number
  entries = new Entries()
  rounds = 0
  /** Somebody was asked for this version, and until then nobody else is. A host just seen is asked for anything. */
  askedVersion = 1
  askedUntilMs = 0
  #anew: { entries: Entries; target: number } | null = null

  constructor(host: HostId, life: number) {
    this.host = host
    this.life = life
    this.mark = markOf(host, life)
  }

  get position(): Position {
    const { mark } = this
    if (this.#anew === null) return { mark, version: this.entries.version, resetTo: 0 }
    return { mark, version: this.#anew.entries.version, resetTo: this.#anew.entries.forgotten }
  }

  /** Gives what changed, which may be nothing yet. */
  apply(delta: Delta): Change[] | Rejection {
    if (delta.last > Math.max(this.entries.version, this.position.version) + VERSION_LEAP_MAX) return 'refused'
    const anew = this.#anew
    const contained = anew === null ? this.entries.version : Math.max(anew.entries.version, anew.entries.forgotten)
    if (delta.forgotten > contained) return this.#begin(delta)
    // The sender misses deletions that are contained here.
    if (anew !== null) return delta.last < anew.entries.forgotten ? 'stale' : this.#continue(delta)
    const changes = extend(this.entries, delta)
    if (typeof changes !== 'string') this.entries.forget(delta.forgotten)
    return changes
  }

  #begin(delta: Delta): Change[] | Rejection {
    if (delta.from !== 0) return 'gap'
    const entries = new Entries()
    entries.forgotten = delta.forgotten
    const outcome = extend(entries, delta)
    if (typeof outcome === 'string') return outcome
    this.#anew = { entries, target: delta.last }
    return this.#finish()
  }

  #continue(delta: Delta): Change[] | Rejection {
    const { entries } = this.#anew!
    const outcome = extend(entries, delta)
    if (typeof outcome === 'string') return outcome
    if (delta.forgotten <= entries.version) entries.forget(delta.forgotten)
    return this.#finish()
  }

  /** Takes over what was read anew, once it is complete. */
  #finish(): Change[] {
    const { entries, target } = this.#anew!
    if (entries.version < target) return []
    const changes: Change[] = []
    for (const previous of this.entries.values()) {
      if (entries.get(previous.key) === undefined) changes.push({ key: previous.key, previous, entry: undefined })
    }
    for (const entry of entries.values()) {
      const previous = this.entries.get(entry.key)
      if (previous?.version !== entry.version) changes.push({ key: entry.key, previous, entry })
    }
    this.entries = entries
    this.#anew = null
    return changes
  }
}

/** What somebody at that position lacks; null: nothing, or nothing that would be of use. */
export function makeDelta(source: Source, position: Position, bytesMax: number): Delta | null {
  const { host, life } = source
  const { version: last, forgotten } = source.entries
  if (last <= position.version || position.resetTo > last) return null
  const missed = position.version < forgotten && position.resetTo < forgotten
  const from = missed ? 0 : position.version
  const entries: Entry[] = []
  let to = last
  let bytes = 0
  for (const entry of source.entries.since(from)) {
    bytes += entryBytes(entry)
    if (bytes > bytesMax) {
      to = entries.at(-1)?.version ?? from
      break
    }
    entries.push(entry)
  }
  return to === from ? null : { type: 'delta', host, life, from, to, last, forgotten, entries }
}

/** Puts what is new into it. */
function extend(entries: Entries, delta: Delta): Change[] | Rejection {
  if (delta.from > entries.version) return 'gap'
  if (delta.to <= entries.version) return 'stale'
  const news = delta.entries.filter((entry) => entry.version > entries.version)
  let { bytes, size } = entries
  for (const entry of news) {
    const previous = entries.get(entry.key)
    bytes += entryBytes(entry) - (previous === undefined ? 0 : entryBytes(previous))
    if (previous === undefined) size++
  }
  if (bytes > HOST_BYTES_MAX || size > HOST_ENTRIES_MAX) return 'refused'
  const changes = news.map((entry) => ({ key: entry.key, previous: entries.put(entry), entry }))
  entries.advance(delta.to)
  return changes
}
