import { BrokerError } from '../../base/errors.ts'
import type { Route } from '../contract.ts'
import { readRoute, routeKey, routeValue } from './schema.ts'

/** One route change on its way through a range: as words for the effects, as bytes for the log and the engine. */
export interface RouteCommand {
  op: 'add' | 'remove'
  route: Route
  key: Uint8Array
  value: Uint8Array
}

/**
 * A batch in the log. Keys of one batch mostly begin alike (tenant, common levels), so that each names only what
 * differs from the one before:
 *
 *     version u8 | count varint | { op u8 | shared varint | rest varint | rest of key | value length u8 | value }
 */
const BATCH_VERSION = 1
const OP_ADD = 1
const OP_REMOVE = 2
/** op, two varints of at most 3 bytes (a key has at most 200 KB), value length. */
const COMMAND_OVERHEAD_BYTES = 8
const HEADER_BYTES = 6

export function routeCommand(op: 'add' | 'remove', route: Route): RouteCommand {
  return { op, route, key: routeKey(route), value: routeValue(route) }
}

export function encodeCommands(commands: readonly RouteCommand[]): Uint8Array {
  let bytesMax = HEADER_BYTES
  for (const { key, value } of commands) bytesMax += COMMAND_OVERHEAD_BYTES + key.length + value.length
  const target = Buffer.allocUnsafe(bytesMax)
  target[0] = BATCH_VERSION
  let at = writeVarint(target, 1, commands.length)
  let last: Uint8Array = new Uint8Array(0)
  for (const { op, key, value } of commands) {
    const shared = sharedPrefix(last, key)
    target[at++] = op === 'add' ? OP_ADD : OP_REMOVE
    at = writeVarint(target, at, shared)
    at = writeVarint(target, at, key.length - shared)
    target.set(shared === 0 ? key : key.subarray(shared), at)
    at += key.length - shared
    target[at++] = value.length
    target.set(value, at)
    at += value.length
    last = key
  }
  return target.subarray(0, at)
}

/** The reverse of {@link encodeCommands}; throws STORAGE_FAILED on bytes that are not a batch of routes. */
export function decodeCommands(entry: Uint8Array): RouteCommand[] {
  const source = new Source(entry)
  const version = source.byte()
  if (version !== BATCH_VERSION) throw damaged(`unknown version ${version}`)
  const count = source.varint()
  const commands: RouteCommand[] = []
  let last: Uint8Array = new Uint8Array(0)
  for (let i = 0; i < count; i++) {
    const op = source.byte()
    if (op !== OP_ADD && op !== OP_REMOVE) throw damaged(`unknown operation ${op}`)
    const shared = source.varint()
    if (shared > last.length) throw damaged('a key shares more bytes than the one before has')
    const rest = source.take(source.varint())
    const key = new Uint8Array(shared + rest.length)
    key.set(last.subarray(0, shared))
    key.set(rest, shared)
    const value = source.take(source.byte()).slice()
    commands.push({ op: op === OP_ADD ? 'add' : 'remove', route: readRoute(key, value), key, value })
    last = key
  }
  source.end()
  return commands
}

/** Reads a batch from front to back; never past its end. */
class Source {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  byte(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw damaged('it is cut short')
    return value
  }

  varint(): number {
    let value = 0
    for (let scale = 1; scale <= 0x800_0000; scale *= 128) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    throw damaged('a number is too long')
  }

  take(length: number): Uint8Array {
    const end = this.#at + length
    if (end > this.#bytes.length) throw damaged('it is cut short')
    const taken = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return taken
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw damaged('bytes follow the last command')
  }
}

function writeVarint(target: Uint8Array, at: number, value: number): number {
  while (value >= 0x80) {
    target[at++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  target[at++] = value
  return at
}

function sharedPrefix(a: Uint8Array, b: Uint8Array): number {
  const limit = Math.min(a.length, b.length)
  let i = 0
  while (i < limit && a[i] === b[i]) i++
  return i
}

function damaged(reason: string): BrokerError {
  return new BrokerError('STORAGE_FAILED', `Cannot read a batch of route changes: ${reason}`)
}
