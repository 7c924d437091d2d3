import type { Draft } from './draft.ts'
import { timerHeadKey } from './schema.ts'
import { damaged, Reading, Writer } from './wire.ts'

const NO_KEY = Buffer.alloc(0)

/** The record at {@link timerHeadKey}. */
export interface IndexHead {
  /** Highest incarnation given out in this range. */
  incarnation: number
  /** All inboxes below are in the index; null = all of the range. */
  covered: Uint8Array | null
  /** Some node's sessions are being detached: see `nodes.ts`. */
  sweeping: boolean
}

export function readHead(draft: Draft): IndexHead {
  const bytes = draft.get(timerHeadKey(draft.context.boundary.start))
  return bytes === undefined ? { incarnation: 0, covered: NO_KEY, sweeping: false } : decodeHead(bytes)
}

export function writeHead(draft: Draft, head: IndexHead): void {
  draft.put(timerHeadKey(draft.context.boundary.start), encodeHead(head))
}

export function setSweeping(draft: Draft, sweeping: boolean): void {
  const head = readHead(draft)
  if (head.sweeping !== sweeping) writeHead(draft, { ...head, sweeping })
}

/** The first one had neither nodes nor {@link IndexHead.sweeping}: its index is built anew, which finds the nodes. */
const HEAD_VERSION = 2
const COMPLETE = 1
const SWEEPING = 2

export function encodeHead(head: IndexHead): Uint8Array {
  const writer = new Writer(64)
  writer.u8(HEAD_VERSION)
  writer.varint(head.incarnation)
  writer.u8((head.covered === null ? COMPLETE : 0) | (head.sweeping ? SWEEPING : 0))
  writer.bytes(head.covered ?? NO_KEY)
  return writer.finish()
}

export function decodeHead(bytes: Uint8Array): IndexHead {
  const reading = new Reading(bytes)
  const version = reading.u8()
  if (version !== HEAD_VERSION && version !== 1) throw damaged(`it has version ${version}`)
  const incarnation = reading.varint()
  const flags = reading.u8()
  const covered = reading.bytes()
  if (version === 1) return { incarnation, covered: NO_KEY, sweeping: false }
  return {
    incarnation,
    covered: (flags & COMPLETE) !== 0 ? null : Buffer.from(covered),
    sweeping: (flags & SWEEPING) !== 0,
  }
}
