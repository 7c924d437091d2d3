import { assert } from '../../../base/assert.ts'

/** One key of one host. */
export interface Entry {
  /** {@link memberKey} or {@link plainKey}. */
  readonly key: string
  /** Null: deleted. */
  readonly value: Uint8Array | null
  /** The owner's counter at this write: each of its writes has another. */
  readonly version: number
}

/** Where an agent's membership stands: the value is the metadata. */
export function memberKey(agent: string): string {
  return `a${agent}`
}

export function plainKey(key: string): string {
  return `k${key}`
}

/** Null: no key of ours. */
export function parseKey(key: string): { kind: 'member' | 'key'; name: string } | null {
  if (key.length < 2) return null
  if (key[0] === 'a') return { kind: 'member', name: key.slice(1) }
  return key[0] === 'k' ? { kind: 'key', name: key.slice(1) } : null
}

/** On the wire, at most. */
export function entryBytes(entry: Entry): number {
  return Buffer.byteLength(entry.key) + (entry.value?.length ?? 0) + 16
}

/**
 * The entries of one host, with tombstones: a map in the order of versions.
 *
 * Whoever knows version v of a host has exactly those of its entries whose last write is at most v; a delta is all that
 * was last written after it. Raising {@link forgotten} is a write of the owner, too, so that two copies at one version
 * are equal.
 *
 * Source: van Renesse et al., "Efficient Reconciliation and Flow Control for Anti-Entropy Protocols" (Scuttlebutt), 2008.
 */
export class Entries {
  /** In the order of versions: a key that is written again moves to the end. */
  readonly #entries = new Map<string, Entry>()
  #version = 0
  /** Tombstones up to this version are gone. */
  forgotten = 0
  bytes = 0

  get version(): number {
    return this.#version
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key)
  }

  /** Tombstones as well. */
  values(): IterableIterator<Entry> {
    return this.#entries.values()
  }

  /** Gives what stood there before. */
  put(entry: Entry): Entry | undefined {
    assert(entry.version > this.#version, 'Entries must be put in the order of their versions')
    const previous = this.#entries.get(entry.key)
    if (previous !== undefined) {
      this.bytes -= entryBytes(previous)
      this.#entries.delete(entry.key)
    }
    this.#version = entry.version
    // A deletion may come from who has not forgotten it yet.
    if (entry.value === null && entry.version <= this.forgotten) return previous
    this.#entries.set(entry.key, entry)
    this.bytes += entryBytes(entry)
    return previous
  }

  /** Up to here all is known. */
  advance(version: number): void {
    assert(version >= this.#version, 'Versions must not go back')
    this.#version = version
  }

  forget(upTo: number): void {
    if (upTo <= this.forgotten) return
    this.forgotten = upTo
    for (const entry of this.#entries.values()) {
      if (entry.version > upTo) break
      if (entry.value !== null) continue
      this.#entries.delete(entry.key)
      this.bytes -= entryBytes(entry)
    }
  }

  /** What was written after `version`, in order. */
  *since(version: number): Generator<Entry> {
    for (const entry of this.#entries.values()) if (entry.version > version) yield entry
  }
}
