/**
 * What a frame's body holds: messages, one after the other.
 *
 * `type u8 | channel u8 | length u32 | [id u32] | [extra u32] | payload`, little endian; the type says which of the two
 * in brackets are there.
 */
export const TYPE = {
  /** One-way, from the initiator. */
  send: 1,
  /** `extra` = milliseconds until the caller gives up. */
  request: 2,
  answer: 3,
  /** The payload is an error. */
  fail: 4,
  /** Nobody waits any more for the request or stream `id`. */
  cancel: 5,
  /** `extra` = credit in bytes. */
  open: 6,
  chunk: 7,
  /** `extra` = further credit in bytes. */
  grant: 8,
  end: 9,
  /** A part of one message that is too large for a frame; `extra` = size of the whole, header included. */
  part: 10,
} as const

export type MessageType = (typeof TYPE)[keyof typeof TYPE]

/** Header size by type; 0 = no such type. */
const HEADER_BYTES: readonly number[] = [0, 6, 14, 10, 10, 10, 14, 10, 14, 10, 10]

/** Types with an id and types with `extra`. A part has `extra` in the place of the id. */
const PLACE_OF_EXTRA: readonly number[] = [0, 0, 10, 0, 0, 0, 10, 0, 10, 0, 6]

export function headerBytes(type: MessageType): number {
  return HEADER_BYTES[type]!
}

export interface MessageHeader {
  type: MessageType
  channel: number
  length: number
  id: number
  extra: number
}

/** Writes the header; the payload follows at the returned offset. */
export function writeHeader(target: Buffer, at: number, header: MessageHeader): number {
  const { type, length, id, extra } = header
  target[at] = type
  target[at + 1] = header.channel
  target.writeUInt32LE(length, at + 2)
  const size = HEADER_BYTES[type]!
  const place = PLACE_OF_EXTRA[type]!
  if (size > 6 && place !== 6) target.writeUInt32LE(id, at + 6)
  if (place !== 0) target.writeUInt32LE(extra, at + place)
  return at + size
}

/** Walks the messages of one body. One for each link, used again: nothing is allocated for a message but its view. */
export class BodyReader {
  type: MessageType = TYPE.send
  channel = 0
  id = 0
  extra = 0
  /** A view of the body. */
  payload: Buffer = EMPTY
  /** Header and payload of the message at hand. */
  size = 0
  #body: Buffer = EMPTY
  #at = 0

  start(body: Buffer): void {
    this.#body = body
    this.#at = 0
  }

  /** False at the end; null where the bytes make no sense, and the rest of the body cannot be read. */
  next(): boolean | null {
    const body = this.#body
    const at = this.#at
    if (at >= body.length) return false
    const type = body[at]!
    const header = HEADER_BYTES[type] ?? 0
    if (header === 0 || at + header > body.length) return null
    const length = readUInt32(body, at + 2)
    this.size = header + length
    if (at + this.size > body.length) return null
    const place = PLACE_OF_EXTRA[type]!
    this.type = type as MessageType
    this.channel = body[at + 1]!
    this.id = header > 6 && place !== 6 ? readUInt32(body, at + 6) : 0
    this.extra = place === 0 ? 0 : readUInt32(body, at + place)
    this.payload = body.subarray(at + header, at + this.size)
    this.#at = at + this.size
    return true
  }
}

const EMPTY = Buffer.alloc(0)

function readUInt32(source: Buffer, at: number): number {
  return (source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24)) >>> 0
}

/** Puts the parts of a large message together. Parts of one message follow each other. */
export class Assembler {
  readonly #bytesMax: number
  #whole: Buffer | null = null
  #filled = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** The message, once its last part is here; null before; `violation` where the parts make no sense. */
  add(total: number, part: Buffer): Buffer | null | 'violation' {
    this.#whole ??= total > this.#bytesMax ? null : Buffer.allocUnsafeSlow(total)
    const whole = this.#whole
    if (whole === null || whole.length !== total || part.length === 0 || this.#filled + part.length > total) {
      this.clear()
      return 'violation'
    }
    part.copy(whole, this.#filled)
    this.#filled += part.length
    if (this.#filled < total) return null
    this.clear()
    return whole
  }

  clear(): void {
    this.#whole = null
    this.#filled = 0
  }
}
