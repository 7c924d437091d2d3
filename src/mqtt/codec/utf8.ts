/**
 * Strict validation of UTF-8 Encoded Strings, on bytes, without building a string.
 *
 * Refused: overlong forms, surrogates, code points above U+10FFFF, cut sequences [MQTT-1.5.4-1] and U+0000
 * [MQTT-1.5.4-2]. Accepted: control characters (U+0001..U+001F, U+007F..U+009F) and non-characters, which the
 * specification leaves to the server (MQTT 5.0 1.5.4).
 */

export const UTF8_INVALID = -1
export const UTF8_ASCII = 0
export const UTF8_MULTIBYTE = 1

/** What the bytes in [start, end) are: one of the three constants above. */
export function utf8Kind(bytes: Uint8Array, start: number, end: number): number {
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    if (byte >= 0x80) return isStrictFrom(bytes, i, end) ? UTF8_MULTIBYTE : UTF8_INVALID
    if (byte === 0) return UTF8_INVALID
  }
  return UTF8_ASCII
}

/** True when the bytes in [start, end) are a well-formed UTF-8 Encoded String. */
export function isStrictUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  return utf8Kind(bytes, start, end) !== UTF8_INVALID
}

/** The string in [start, end); null when it is not well formed. U+FEFF is kept [MQTT-1.5.4-3]. */
export function decodeUtf8(buffer: Buffer, start: number, end: number): string | null {
  const kind = utf8Kind(buffer, start, end)
  if (kind === UTF8_INVALID) return null
  return kind === UTF8_ASCII ? buffer.toString('latin1', start, end) : buffer.toString('utf8', start, end)
}

/** The general case, by the table of RFC 3629 section 4. */
function isStrictFrom(bytes: Uint8Array, start: number, end: number): boolean {
  let i = start
  while (i < end) {
    const lead = bytes[i++]!
    if (lead < 0x80) {
      if (lead === 0) return false
      continue
    }
    const more = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0
    if (more === 0 || i + more > end) return false
    const second = bytes[i]!
    if (second < (lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80)) return false
    if (second > (lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf)) return false
    for (let k = 1; k < more; k++) if ((bytes[i + k]! & 0xc0) !== 0x80) return false
    i += more
  }
  return true
}
