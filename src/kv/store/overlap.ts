import { compareBytes, overlaps, within } from '../engine/bytes.ts'
import type { Bounds } from '../engine/engine.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import { FIRST_KEY } from '../snapshot/index.ts'
import type { Absorption } from './raft-schema.ts'

/** A replica with a state: its keys as applied, and as they are on disk. */
interface Holder {
  readonly descriptor: RangeDescriptor
  readonly range: { readonly latest: RangeDescriptor }
}

/** Those that hold some of these keys. A split or merge that is not on disk yet still has those of before. */
export function holdersOf<Host extends Holder>(hosts: Iterable<Host>, bounds: Bounds): Host[] {
  return [...hosts].filter((host) => overlaps(host.range.latest, bounds) || overlaps(host.descriptor, bounds))
}

/**
 * Those whose ranges are a part of the one that is described, but for those that a left range's replica here, not one of
 * `replaced`, may still have to take over.
 *
 * A range owns its first key for as long as it lives, and along every key generations only rise: so where a later one of
 * another range covers that key, it is no more.
 */
export function absorbedBy<Host extends Holder>(
  hosts: Iterable<Host>,
  by: RangeDescriptor,
  replaced: readonly unknown[],
): Host[] {
  const all = [...hosts]
  const absorbed = all.filter(({ range: { latest } }) => {
    const isLater = latest.id !== by.id && latest.epoch.version < by.epoch.version
    return isLater && within(latest.start ?? FIRST_KEY, by)
  })
  const proof = { into: by.id, version: by.epoch.version }
  const gone = [...absorbed, ...replaced]
  return absorbed.filter(({ range }) => !isNeeded(all, range.latest, proof, gone))
}

/** Whether a left range's replica here, none of `gone`, may still have to take over keys that begin at `start`. */
export function isNeeded(
  hosts: Iterable<Holder>,
  { start }: Bounds,
  { into, version }: Absorption,
  gone: readonly unknown[],
): boolean {
  for (const left of hosts) {
    const { id, end, epoch } = left.range.latest
    const isLeft = id === into || (end !== undefined && start !== undefined && compareBytes(end, start) === 0)
    if (isLeft && !gone.includes(left) && epoch.version < version) return true
  }
  return false
}
