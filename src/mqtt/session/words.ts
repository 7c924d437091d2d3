import { isReasonAllowed, PACKET, REASON } from '../codec/index.ts'

/** Characters of a reason string: enough for a sentence, far below what a packet can carry. */
const REASON_CHARACTERS_MAX = 1024
/** Bytes of a string or of binary data in a packet (MQTT 5.0 1.5.4, 1.5.6). */
const FIELD_BYTES_MAX = 65_535

/** A reason in words, which may come from a plugin: cut to a bound, never inside a surrogate pair. */
export function boundedReason(text: string): string {
  const bounded = text.length > REASON_CHARACTERS_MAX ? text.slice(0, lastWhole(text, REASON_CHARACTERS_MAX)) : text
  return bounded.includes('\0') ? bounded.replaceAll('\0', '\ufffd') : bounded // [MQTT-1.5.4-2]
}

/** True where a string of a plugin can be sent: what names something is left out rather than cut. */
export function isSendable(text: string): boolean {
  return Buffer.byteLength(text) <= FIELD_BYTES_MAX && !text.includes('\0')
}

/** The same for authentication data. */
export function isSendableData(data: Uint8Array | null): boolean {
  return data === null || data.length <= FIELD_BYTES_MAX
}

function lastWhole(text: string, end: number): number {
  const last = text.charCodeAt(end - 1)
  return last >= 0xd800 && last <= 0xdbff ? end - 1 : end
}

/** The reason code for CONNACK: what the packet may not carry is told by its nearest relative (MQTT 5.0 3.2.2.2). */
export function connackReason(code: number): number {
  if (isReasonAllowed(PACKET.CONNACK, code, true)) return code
  if (code === REASON.SERVER_SHUTTING_DOWN || code === REASON.SESSION_TAKEN_OVER) return REASON.SERVER_UNAVAILABLE
  return REASON.UNSPECIFIED_ERROR
}

/** The same for DISCONNECT (MQTT 5.0 3.14.2.1). */
export function disconnectReason(code: number): number {
  if (isReasonAllowed(PACKET.DISCONNECT, code, true)) return code
  switch (code) {
    case REASON.BAD_USER_NAME_OR_PASSWORD:
    case REASON.BAD_AUTHENTICATION_METHOD:
    case REASON.BANNED:
      return REASON.NOT_AUTHORIZED
    case REASON.SERVER_UNAVAILABLE:
      return REASON.SERVER_BUSY
    default:
      return REASON.UNSPECIFIED_ERROR
  }
}

/** The same for PUBACK and PUBREC (MQTT 5.0 3.4.2.1, 3.5.2.1). */
export function publishReason(code: number): number {
  return isReasonAllowed(PACKET.PUBACK, code, true) ? code : REASON.IMPLEMENTATION_SPECIFIC_ERROR
}
