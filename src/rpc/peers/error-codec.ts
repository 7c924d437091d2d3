import { BrokerError, ERRORS, type ErrorCode } from '../../base/errors.ts'
import type { Codec } from '../contract.ts'

const MESSAGE_CHARS_MAX = 2_000
const HINT_CHARS_MAX = 32_768

/**
 * A {@link BrokerError} on the wire, as JSON: code, message, hint. Bytes inside a hint (keys of a boundary) come back as
 * bytes. A hint that is too large is left out: whoever gets the error asks again. CLOSED is about the node that says it:
 * elsewhere it means that another one may be asked.
 */
export const errorCodec: Codec<BrokerError> = {
  bytes: (error) => Buffer.byteLength(encode(error)),
  write: (target, offset, error) => void target.write(encode(error), offset),
  read: (source) => decode(source.toString()),
}

/** `bytes` and `write` follow each other for one error. */
let last: { error: BrokerError; text: string } | null = null

function encode(error: BrokerError): string {
  if (last?.error === error) return last.text
  const hint = JSON.stringify(pack(error.hint))
  const text = JSON.stringify({
    code: error.code === 'CLOSED' ? 'UNAVAILABLE' : error.code,
    message: error.message.slice(0, MESSAGE_CHARS_MAX),
    hint: hint !== undefined && hint.length <= HINT_CHARS_MAX ? JSON.parse(hint) : null,
  })
  last = { error, text }
  return text
}

function decode(text: string): BrokerError {
  try {
    const { code, message, hint } = JSON.parse(text)
    if (typeof code === 'string' && typeof message === 'string') {
      // A newer peer may know codes that are not known here: of all that is safe, the most careful.
      return Object.hasOwn(ERRORS, code)
        ? new BrokerError(code as ErrorCode, message, { hint: unpack(hint) })
        : new BrokerError('UNAVAILABLE', `${message} (${code})`)
    }
  } catch {
    // What it says does not matter: it is not understood.
  }
  return new BrokerError('UNAVAILABLE', 'The peer failed with an error that cannot be read')
}

/** Marks what JSON does not have; `$` in front of names that look like a mark. */
function pack(value: unknown): unknown {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return value.map(pack)
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? Number(value) : value
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name.startsWith('$') ? `$${name}` : name, pack(each)]),
  )
}

function unpack(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unpack)
  if (typeof value !== 'object' || value === null) return value
  if ('$bytes' in value && typeof value.$bytes === 'string') return new Uint8Array(Buffer.from(value.$bytes, 'base64'))
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name.startsWith('$$') ? name.slice(1) : name, unpack(each)]),
  )
}
