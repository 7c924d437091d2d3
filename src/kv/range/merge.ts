import { BrokerError } from '../../base/errors.ts'
import { compareBytes } from '../engine/bytes.ts'
import type { RangeDescriptor } from './coprocessor.ts'
import type { MergeEntry } from './entry.ts'
import { ByteReader, ByteWriter } from './wire.ts'

/**
 * A range's part in a merge with a neighbour: a part of its applied state, the same on every replica.
 *
 *     left    none -> taking -> none, with the right one's keys          by `merge-commit`
 *                       '----> taking, cancelled -> none                 by `merge-cancel`, `merge-end`
 *     right   none -> frozen -> gone                                     by `freeze`, and the left one's commit
 *                       '----> none, of the next version                 by `thaw`
 *
 * The left one's log alone decides: a commit counts only while the attempt is neither cancelled nor ended there. The right
 * one is thawed only when the left one's log says cancelled, and the left one forgets the attempt only when the right
 * one's version is a later one, by which the attempt can never freeze it again.
 */
export interface MergeState {
  taking: Taking | null
  frozen: Frozen | null
}

/** The neighbour that begins where this range ends is to become a part of it. */
export interface Taking {
  right: string
  /** Its boundary's generation: with the two ids, the attempt's name. */
  version: number
  /** Where its replicas are; also this range's. */
  stores: readonly string[]
  cancelled: boolean
}

/** Nothing was applied since the entry at `index`, but what ends this. */
export interface Frozen {
  left: string
  index: number
}

export const takesPart = ({ taking, frozen }: MergeState): boolean => taking !== null || frozen !== null

export const NO_MERGE: MergeState = { taking: null, frozen: null }

const FORMAT = 1

export function encodeMergeState({ taking, frozen }: MergeState): Uint8Array {
  const writer = new ByteWriter()
  writer.u8(FORMAT)
  writer.u8((taking === null ? 0 : 1) | (frozen === null ? 0 : 2) | (taking?.cancelled ? 4 : 0))
  if (taking !== null) {
    writer.text(taking.right)
    writer.varint(taking.version)
    writer.varint(taking.stores.length)
    for (const store of taking.stores) writer.text(store)
  }
  if (frozen !== null) {
    writer.text(frozen.left)
    writer.varint(frozen.index)
  }
  return writer.finish()
}

export function decodeMergeState(bytes: Uint8Array): MergeState {
  const reader = new ByteReader(bytes)
  const format = reader.u8()
  if (format !== FORMAT) {
    throw new BrokerError('STORAGE_FAILED', `Cannot read a merge of format ${format}: it is not known here`)
  }
  const bits = reader.u8()
  const cancelled = (bits & 4) !== 0
  let taking: Taking | null = null
  let frozen: Frozen | null = null
  if ((bits & 1) !== 0) {
    const head = { right: reader.text(), version: reader.varint() }
    taking = { ...head, stores: Array.from({ length: reader.varint() }, () => reader.text()), cancelled }
  }
  if ((bits & 2) !== 0) frozen = { left: reader.text(), index: reader.varint() }
  reader.end()
  return { taking, frozen }
}

/** What an entry makes of the range, or why it counts for nothing. The boundary's generation is checked already. */
export function applyMerge(
  descriptor: RangeDescriptor,
  state: MergeState,
  entry: MergeEntry,
  index: number,
): { descriptor: RangeDescriptor; state: MergeState } | string {
  const { taking, frozen } = state
  const { epoch } = descriptor
  switch (entry.type) {
    case 'merge-begin': {
      if (taking !== null) return `its attempt to take over range "${taking.right}" has not come to its end`
      if (entry.confVersion !== epoch.confVersion) return 'its replicas are others by now'
      const { right, version, stores } = entry
      return { descriptor, state: { taking: { right, version, stores, cancelled: false }, frozen } }
    }
    case 'freeze': {
      if (taking !== null) return `it is about to take over range "${taking.right}" itself`
      if (entry.confVersion !== epoch.confVersion) return 'its replicas are others by now'
      return { descriptor, state: { taking, frozen: { left: entry.left, index } } }
    }
    case 'thaw':
      return {
        descriptor: { ...descriptor, epoch: { ...epoch, version: epoch.version + 1 } },
        state: { taking, frozen: null },
      }
    case 'merge-cancel':
      if (!isAttempt(taking, entry) || taking.cancelled) return 'the attempt is decided'
      return { descriptor, state: { taking: { ...taking, cancelled: true }, frozen } }
    case 'merge-end':
      if (!isAttempt(taking, entry) || !taking.cancelled) return 'the attempt is not one that was cancelled'
      return { descriptor, state: { taking: null, frozen } }
    case 'merge-commit': {
      const objection = commitObjection(descriptor, taking, entry.right)
      if (objection !== null) return objection
      const version = Math.max(epoch.version, entry.right.epoch.version) + 1
      return {
        descriptor: { ...descriptor, epoch: { ...epoch, version }, end: entry.right.end },
        state: { taking: null, frozen },
      }
    }
  }
}

/** Why the left range does not become one with `right`; null where it does. */
function commitObjection(left: RangeDescriptor, taking: Taking | null, right: RangeDescriptor): string | null {
  if (!isAttempt(taking, { right: right.id, version: right.epoch.version }) || taking.cancelled) {
    return 'the attempt is decided'
  }
  if (!meet(left, right)) return 'they are no neighbours'
  return sameStores(left, right) ? null : 'their replicas are not on the same stores'
}

/** Whether `right` begins where `left` ends. */
export function meet(left: RangeDescriptor, right: RangeDescriptor): boolean {
  return left.end !== undefined && right.start !== undefined && compareBytes(left.end, right.start) === 0
}

export function sameStores(left: RangeDescriptor, right: RangeDescriptor): boolean {
  return storesOf(left).join('\0') === storesOf(right).join('\0')
}

export function storesOf({ replicas }: RangeDescriptor): string[] {
  return replicas.map(({ store }) => store).sort()
}

function isAttempt(taking: Taking | null, { right, version }: { right: string; version: number }): taking is Taking {
  return taking !== null && taking.right === right && taking.version === version
}
