import type { TenantId } from '../../base/ids.ts'
import { hasWildcard } from '../../base/topic.ts'
import { afterSubtree, levelBytes, tenantStart, topicKey } from './schema.ts'

/**
 * What a key means for a filter: it matches; the one after it may; none before {@link TopicMatcher.target} does;
 * none after it does.
 */
export type Verdict = 'match' | 'next' | 'seek' | 'done'

const LEVEL_END = 0x01
const DOLLAR = 0x24
const PLUS = null

/**
 * Finds the topics that match a filter by walking their keys in order, and says where to go on: straight to the next
 * level that a literal names, past a subtree that is too deep, past the `$` topics. It keeps nothing of the topics.
 *
 * It must agree with `topicMatches` of `base/topic.ts`.
 */
export class TopicMatcher {
  /** All that can match lies in [start, end). */
  readonly start: Buffer
  readonly end: Buffer
  /** After the verdict `seek`. */
  target: Buffer
  readonly #tenant: Buffer
  /** Bytes of each level, its end included; null for `+`. */
  readonly #levels: readonly (Buffer | null)[]
  readonly #subtree: boolean

  /** @param filter valid, not shared */
  constructor(tenant: TenantId, filter: string) {
    const levels = filter.split('/')
    this.#tenant = tenantStart(tenant)
    this.#subtree = levels.at(-1) === '#'
    if (this.#subtree) levels.pop()
    this.#levels = levels.map((level) => (level === '+' ? PLUS : levelBytes(level)))
    const first = levels.indexOf('+')
    const literal = first < 0 ? levels : levels.slice(0, first)
    this.start = literal.length === 0 ? this.#tenant : topicKey(tenant, literal.join('/'))
    this.end = hasWildcard(filter) ? afterSubtree(this.start) : Buffer.concat([this.start, Buffer.of(0)])
    this.target = this.start
  }

  /** @param key of a slot of the tenant */
  visit(key: Uint8Array): Verdict {
    const levels = this.#levels
    let at = this.#tenant.length
    // Behind the last level that a `+` took: where the walk may leave a subtree for its sibling.
    let siblingAt = -1
    if (key[at] === DOLLAR && levels[0] === (levels.length === 0 ? undefined : PLUS)) return this.#skipDollar()
    for (let i = 0; i < levels.length; i++) {
      const level = levels[i]!
      // What is below a topic comes right after it: mostly nothing, so that a seek would be dearer.
      if (at === key.length) return 'next'
      if (level === PLUS) {
        at = key.indexOf(LEVEL_END, at) + 1
        siblingAt = at
        continue
      }
      const order = compareLevel(key, at, level)
      if (order < 0) return this.#seekBelow(key, at, level)
      if (order > 0) return this.#seekSibling(key, siblingAt)
      at += level.length
    }
    if (this.#subtree || at === key.length) return 'match'
    return this.#seekSibling(key, siblingAt)
  }

  /** [MQTT-4.7.2-1]: a leading wildcard matches no topic that begins with `$`. */
  #skipDollar(): Verdict {
    this.target = Buffer.concat([this.#tenant, Buffer.of(DOLLAR + 1)])
    return 'seek'
  }

  #seekBelow(key: Uint8Array, at: number, level: Buffer): Verdict {
    this.target = Buffer.concat([key.subarray(0, at), level])
    return 'seek'
  }

  #seekSibling(key: Uint8Array, siblingAt: number): Verdict {
    if (siblingAt < 0) return 'done'
    this.target = afterSubtree(key.subarray(0, siblingAt))
    return 'seek'
  }
}

/** Compares the level of `key` at `at` with `level`; both end, so that one never runs out within the other. */
function compareLevel(key: Uint8Array, at: number, level: Buffer): number {
  for (let i = 0; i < level.length; i++) {
    const difference = key[at + i]! - level[i]!
    if (difference !== 0) return difference
  }
  return 0
}
