import type { FrameBytes, FrameCursor } from '../raft/frame-bytes.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import { encodeDescriptor } from '../range/schema.ts'
import type { MergeAnswer, MergeAsk } from '../store/packet.ts'

/** Packets of merges, behind the kind and the range. */
const STATES = ['frozen', 'thawed', 'refused'] as const
const NAME_BYTES_MAX = 255
const REASON_BYTES_MAX = 4_096
/** Of one range. */
const STORES_MAX = 256

export function encodeAsk(bytes: FrameBytes, { left, version, stores, thaw }: MergeAsk): void {
  bytes.text(left)
  bytes.varint(version)
  bytes.u8(thaw ? 1 : 0)
  bytes.varint(stores.length)
  for (const store of stores) bytes.text(store)
}

export function decodeAsk(cursor: FrameCursor, range: string): MergeAsk {
  const head = { range, left: cursor.text(NAME_BYTES_MAX), version: cursor.varint(), thaw: cursor.flag() }
  const count = cursor.varint()
  if (count > STORES_MAX) throw cursor.malformed(`it names ${count} stores`)
  return { type: 'merge-ask', ...head, stores: Array.from({ length: count }, () => cursor.text(NAME_BYTES_MAX)) }
}

export function encodeAnswer(bytes: FrameBytes, answer: MergeAnswer): void {
  const { right, version, state, descriptor, index, term, reason } = answer
  bytes.text(right)
  bytes.varint(version)
  bytes.u8(STATES.indexOf(state))
  bytes.u8(descriptor === null ? 0 : 1)
  if (descriptor !== null) bytes.data(encodeDescriptor(descriptor))
  bytes.varint(index)
  bytes.varint(term)
  if (state === 'refused') bytes.text(reason)
}

export function decodeAnswer(
  cursor: FrameCursor,
  range: string,
  readDescriptor: (cursor: FrameCursor) => RangeDescriptor,
): MergeAnswer {
  const head = { range, right: cursor.text(NAME_BYTES_MAX), version: cursor.varint() }
  const state = STATES[cursor.u8()]
  if (state === undefined) throw cursor.malformed('the state of a merge is not known here')
  const descriptor = cursor.flag() ? readDescriptor(cursor) : null
  const place = { index: cursor.varint(), term: cursor.varint() }
  const reason = state === 'refused' ? cursor.text(REASON_BYTES_MAX) : ''
  return { type: 'merge-answer', ...head, state, descriptor, ...place, reason }
}
