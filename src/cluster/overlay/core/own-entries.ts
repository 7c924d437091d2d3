import { assert } from '../../../base/assert.ts'
import { Fifo } from '../../../base/fifo.ts'
import type { HostId } from '../../../base/ids.ts'
import { Entries, type Entry, entryBytes } from './entries.ts'
import type { Position } from './message.ts'
import { HOST_BYTES_MAX, HOST_ENTRIES_MAX, TOMBSTONES_MAX, VERSION_LEAP_MAX, VERSION_MAX } from './options.ts'
import { markOf, type Source } from './replica.ts'

/** What this host writes itself. Nobody else makes versions of it. */
export class OwnEntries implements Source {
  readonly host: HostId
  readonly life: number
  readonly mark: number
  readonly entries = new Entries()
  rounds = 0
  readonly #keepMs: number
  readonly #deletions = new Fifo<{ version: number; atMs: number }>()

  constructor(host: HostId, life: number, keepMs: number) {
    this.host = host
    this.life = life
    this.mark = markOf(host, life)
    this.#keepMs = keepMs
  }

  get position(): Position {
    return { mark: this.mark, version: this.entries.version, resetTo: 0 }
  }

  /** True where there is no room for it. */
  isFull(key: string, value: Uint8Array): boolean {
    const { entries } = this
    const previous = entries.get(key)
    const bytes = entries.bytes - (previous === undefined ? 0 : entryBytes(previous))
    if (bytes + entryBytes({ key, value, version: 0 }) > HOST_BYTES_MAX) return true
    return previous === undefined && entries.size >= HOST_ENTRIES_MAX
  }

  /** Null deletes. Gives what was there, or null where nothing changes. */
  write(key: string, value: Uint8Array | null, nowMs: number): { previous: Entry | undefined } | null {
    const { entries } = this
    const old = entries.get(key)
    if (value === null && (old === undefined || old.value === null)) return null
    if (value !== null && old !== undefined && old.value !== null && Buffer.compare(value, old.value) === 0) return null
    assert(value === null || !this.isFull(key, value), 'A write beyond the limits must be refused before')
    const version = entries.version + 1
    const previous = entries.put({ key, value, version })
    if (value === null) this.#remember(version, nowMs)
    return { previous }
  }

  /** When tombstones may be given up next; Infinity: there are none. */
  deadlineMs(): number {
    const oldest = this.#deletions.peek()
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.atMs + this.#keepMs
  }

  tick(nowMs: number): void {
    if (nowMs < this.deadlineMs()) return
    let upTo = 0
    while (nowMs >= this.deadlineMs()) upTo = this.#deletions.shift()!.version
    this.#forget(upTo)
  }

  /**
   * Somebody says that we wrote this version, and we did not: it goes around, and what comes below it is not listened to.
   * So we go on above it, and everybody reads all our entries anew. False where nobody can have believed it.
   */
  refute(claimed: number): boolean {
    const { entries } = this
    if (claimed <= entries.version || claimed > entries.version + VERSION_LEAP_MAX) return false
    if (claimed + 1 > VERSION_MAX) return false
    entries.advance(claimed + 1)
    entries.forget(claimed + 1)
    while (this.#deletions.length > 0) this.#deletions.shift()
    return true
  }

  #remember(version: number, nowMs: number): void {
    this.#deletions.push({ version, atMs: nowMs })
    if (this.#deletions.length > TOMBSTONES_MAX) this.#forget(this.#deletions.shift()!.version)
  }

  /** A write as any other: two copies at one version are equal. */
  #forget(upTo: number): void {
    const { entries } = this
    if (upTo <= entries.forgotten) return
    entries.forget(upTo)
    entries.advance(entries.version + 1)
  }
}
