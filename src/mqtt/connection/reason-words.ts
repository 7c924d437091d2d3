import { REASON } from '../codec/index.ts'

/** The event catalogue's word for the end of a connection, by MQTT 5 reason code. */
const WORDS: ReadonlyMap<number, string> = new Map<number, string>([
  [REASON.SUCCESS, 'by-client'],
  [REASON.DISCONNECT_WITH_WILL, 'by-client'],
  [REASON.MALFORMED_PACKET, 'malformed'],
  [REASON.PROTOCOL_ERROR, 'protocol-error'],
  [REASON.NOT_AUTHORIZED, 'not-authorized'],
  [REASON.SERVER_UNAVAILABLE, 'unavailable'],
  [REASON.SERVER_BUSY, 'server-busy'],
  [REASON.SERVER_SHUTTING_DOWN, 'stopping'],
  [REASON.SESSION_TAKEN_OVER, 'taken-over'],
  [REASON.TOPIC_NAME_INVALID, 'topic-invalid'],
  [REASON.TOPIC_FILTER_INVALID, 'filter-invalid'],
  [REASON.RECEIVE_MAXIMUM_EXCEEDED, 'receive-maximum'],
  [REASON.TOPIC_ALIAS_INVALID, 'topic-alias'],
  [REASON.PACKET_TOO_LARGE, 'packet-too-large'],
  [REASON.QUOTA_EXCEEDED, 'quota'],
  [REASON.ADMINISTRATIVE_ACTION, 'kicked'],
  [REASON.PAYLOAD_FORMAT_INVALID, 'payload-format'],
  [REASON.RETAIN_NOT_SUPPORTED, 'unsupported'],
  [REASON.QOS_NOT_SUPPORTED, 'unsupported'],
  [REASON.USE_ANOTHER_SERVER, 'redirected'],
  [REASON.SERVER_MOVED, 'redirected'],
])

/** `opened`: the CONNECT had been accepted. */
export function reasonWord(reasonCode: number, opened: boolean): string {
  if (reasonCode === REASON.KEEP_ALIVE_TIMEOUT) return opened ? 'keep-alive' : 'timeout'
  if (reasonCode === REASON.BAD_USER_NAME_OR_PASSWORD) return opened ? 'auth-failed' : 'bad-credentials'
  if (reasonCode === REASON.UNSUPPORTED_PROTOCOL_VERSION) return 'protocol-version'
  if (reasonCode === REASON.CLIENT_IDENTIFIER_NOT_VALID) return 'client-id'
  return WORDS.get(reasonCode) ?? 'connection-lost'
}
