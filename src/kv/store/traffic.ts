import { compareBytes } from '../engine/bytes.ts'
import type { Bounds } from '../engine/engine.ts'

/** Keys remembered, and of so many commands one: the last few thousand commands at most. */
const KEYS_KEPT = 64
const COMMANDS_PER_KEY = 32
/** Fewer say nothing about where the load lies. */
const KEYS_MIN = 16

/** What is asked of one range by clients, and about where. */
export class Traffic {
  /** Since the replica was opened. */
  commands = 0
  queries = 0
  /** Commands that were not taken. */
  refused = 0
  readonly #keys: Uint8Array[] = []
  #at = 0
  #until = COMMANDS_PER_KEY

  /** `keys`: of these commands, one for each; none for the range's own. */
  noteCommands(count: number, keys: readonly Uint8Array[]): void {
    this.commands += count
    this.#until -= count
    if (this.#until > 0 || keys.length === 0) return
    this.#until = COMMANDS_PER_KEY
    this.#keys[this.#at] = keys[keys.length - 1]!
    this.#at = (this.#at + 1) % KEYS_KEPT
  }

  /**
   * A key that leaves about half of the commands on each side; null where that is not known, or where one key takes
   * most of them. What a command names is never cut by it.
   */
  middle({ start, end }: Bounds): Uint8Array | null {
    const inside = (key: Uint8Array) =>
      (start === undefined || compareBytes(key, start) > 0) && (end === undefined || compareBytes(key, end) < 0)
    const keys = this.#keys.filter(inside).sort(compareBytes)
    if (keys.length < KEYS_MIN) return null
    const middle = keys[keys.length >>> 1]!
    // Where half of all lie on one key, a cut before it leaves them together.
    return compareBytes(middle, keys[0]!) === 0 ? null : middle
  }
}
