/** What every scenario gets, and the few things they share. */
import { type Measured, type Progress, placeOf, type Spec, type Target } from '../spec.ts'
import type { Link, LinkOptions } from './link.ts'
import type { Meter } from './meter.ts'

export interface Context {
  spec: Spec
  target: Target
  meter: Meter
  /** A few letters that make topics and client ids of this run its own. */
  run: string
  report(line: Progress): void
}

export type Scenario = (context: Context) => Promise<Measured>

/** Figures of a scenario that sends no messages. */
export const noMessages: Pick<Measured, 'sent' | 'lost' | 'duplicated' | 'outOfOrder'> = {
  sent: 0,
  lost: 0,
  duplicated: 0,
  outOfOrder: 0,
}

const connectsUnderWay = 64

export function linkOptions(
  { target, spec, run }: Context,
  name: string,
  role: 'publisher' | 'subscriber' = 'publisher',
  i = 0,
): LinkOptions {
  const nodes = [target, ...(target.others ?? [])]
  const { host, port } = nodes[placeOf(spec.placing, role, i, nodes.length)]!
  return { host, port, version: spec.version, clientId: `${run}${name}` }
}

/** Runs `task` for each item, at most 64 at a time. */
export async function forEachBounded<T>(items: readonly T[], task: (item: T, index: number) => Promise<void>) {
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const i = next++
      await task(items[i]!, i)
    }
  }
  await Promise.all(Array.from({ length: Math.min(connectsUnderWay, items.length) }, worker))
}

export function openAll(links: readonly Link[]): Promise<void> {
  return forEachBounded(links, (link) => link.open())
}

export function closeAll(links: readonly Link[], last?: Uint8Array): Promise<void> {
  return forEachBounded(links, (link) => link.close(last))
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Waits until `done()`, or until `progress()` has not changed for `stallMs`. Returns whether it was done. */
export async function untilDone(done: () => boolean, progress: () => number, stallMs: number): Promise<boolean> {
  let last = progress()
  let since = performance.now()
  while (!done()) {
    await sleep(2)
    const now = progress()
    if (now !== last) {
      last = now
      since = performance.now()
    } else if (performance.now() - since > stallMs) {
      return false
    }
  }
  return true
}
