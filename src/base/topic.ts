/**
 * The syntax of topic names and topic filters, and the rule by which they match.
 *
 * Plain string functions: they decide about one topic or filter at a time. The trie in `dist` must agree with
 * {@link topicMatches}, which is the slow and obvious statement of the same rule.
 *
 * Source: MQTT 5.0 section 4.7 (topics), 4.8.2 (shared subscriptions).
 */

/** [MQTT-4.7.3-3]: longer topics cannot be put on the wire. */
export const TOPIC_BYTES_MAX = 65_535

const NUL = 0x00
const HASH = 0x23
const DOLLAR = 0x24
const PLUS = 0x2b
const SLASH = 0x2f

export interface SharedFilter {
  /** The share name: not empty, without `/`, `+` and `#`. */
  group: string
  /** The topic filter that the group shares. */
  filter: string
  /** True for `$oshare`: messages of one publisher go to one member, in order. */
  ordered: boolean
}

/** True for a topic that may be published to: not empty, no wildcard, no U+0000, at most 65,535 bytes of UTF-8. */
export function isValidTopicName(topic: string): boolean {
  if (topic.length === 0 || !fitsOnWire(topic)) return false
  for (let i = 0; i < topic.length; i++) {
    const code = topic.charCodeAt(i)
    if (code === NUL || code === HASH || code === PLUS) return false
  }
  return true
}

/**
 * True for a filter that may be subscribed to. One that begins with `$share/` or `$oshare/` must be a complete shared
 * filter [MQTT-4.8.2-1] [MQTT-4.8.2-2]; a shared filter inside a shared filter is refused.
 */
export function isValidTopicFilter(filter: string): boolean {
  if (!fitsOnWire(filter)) return false
  return isShared(filter) ? parseSharedFilter(filter) !== null : isPlainFilter(filter)
}

/** True for a string that claims to be a shared filter, whether or not it is a complete one. */
export function isShared(filter: string): boolean {
  return filter.startsWith('$share/') || filter.startsWith('$oshare/')
}

/** Takes `$share/{group}/{filter}` or `$oshare/{group}/{filter}` apart; null for everything else. */
export function parseSharedFilter(filter: string): SharedFilter | null {
  if (!isShared(filter)) return null
  const groupStart = filter.indexOf('/') + 1
  const groupEnd = filter.indexOf('/', groupStart)
  if (groupEnd <= groupStart) return null
  const group = filter.slice(groupStart, groupEnd)
  const shared = filter.slice(groupEnd + 1)
  if (hasWildcard(group) || group.includes('\0') || isShared(shared) || !isPlainFilter(shared)) return null
  return { group, filter: shared, ordered: filter.charCodeAt(1) === 0x6f }
}

/** True where a `+` or `#` occurs: in a valid filter that is a wildcard. */
export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

/**
 * True when a valid, not shared filter matches a valid topic name. A leading wildcard does not match a topic that
 * begins with `$` [MQTT-4.7.2-1]; `a/#` matches `a` as well [MQTT-4.7.1-1].
 */
export function topicMatches(filter: string, topic: string): boolean {
  const head = filter.charCodeAt(0)
  if (topic.charCodeAt(0) === DOLLAR && (head === PLUS || head === HASH)) return false
  let f = 0
  let t = 0
  while (f < filter.length) {
    const code = filter.charCodeAt(f)
    if (code === HASH) return true
    if (code === PLUS) {
      while (t < topic.length && topic.charCodeAt(t) !== SLASH) t++
      f++
    } else if (t < topic.length && topic.charCodeAt(t) === code) {
      f++
      t++
    } else {
      return t === topic.length && code === SLASH && filter.charCodeAt(f + 1) === HASH
    }
  }
  return t === topic.length
}

/** [MQTT-4.7.1-1], [MQTT-4.7.1-2]: `#` is the last level, and a wildcard fills its level. */
function isPlainFilter(filter: string): boolean {
  if (filter.length === 0) return false
  const last = filter.length - 1
  for (let i = 0; i <= last; i++) {
    const code = filter.charCodeAt(i)
    if (code === NUL) return false
    if (code !== HASH && code !== PLUS) continue
    if (i > 0 && filter.charCodeAt(i - 1) !== SLASH) return false
    if (i < last && (code === HASH || filter.charCodeAt(i + 1) !== SLASH)) return false
  }
  return true
}

/** A string of n UTF-16 units has at most 3n bytes, so that short ones need no count. */
function fitsOnWire(text: string): boolean {
  return text.length * 3 <= TOPIC_BYTES_MAX || Buffer.byteLength(text) <= TOPIC_BYTES_MAX
}
