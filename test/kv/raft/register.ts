import { Violation } from './invariants.ts'

/** One call on the register, by the order of events: `end` is Infinity where the caller never heard what became of it. */
export interface Call {
  kind: 'write' | 'read'
  value: string
  start: number
  end: number
}

interface Zone {
  value: string
  /** The first end and the last start among the calls of one value. */
  firstEnd: number
  lastStart: number
}

/**
 * What clients saw of one register, and whether one order of it explains all: knows nothing of logs, terms or indexes.
 *
 * Every write has its own value, so the calls of one value (its write, and the reads that gave it) must stand together
 * in that order. Where they cannot have been all at one moment they fill a zone, in which no other value may have been.
 *
 * Source: Gibbons and Korach, "Testing Shared Memories", SIAM J. Comput. 26(4), 1997, section 4: with a write known for
 * each read, zones decide it.
 */
export class RegisterHistory {
  readonly #calls = new Map<number, Call>()
  readonly #refused = new Set<string>()
  #now = 0

  begin(context: number, kind: Call['kind'], value = ''): void {
    this.#calls.set(context, { kind, value, start: ++this.#now, end: Number.POSITIVE_INFINITY })
  }

  end(context: number, value?: string): void {
    const call = this.#calls.get(context)
    if (call === undefined || call.end !== Number.POSITIVE_INFINITY) return
    call.end = ++this.#now
    if (value !== undefined) call.value = value
  }

  /** It is certain that it did not happen. */
  refused(context: number): void {
    const call = this.#calls.get(context)
    this.#calls.delete(context)
    if (call?.kind === 'write') this.#refused.add(call.value)
  }

  /** How many reads were answered. */
  check(initial: string): number {
    const calls = [...this.#calls.values()].filter(({ kind, end }) => kind === 'write' || end < Infinity)
    for (const { value } of calls) {
      if (this.#refused.has(value)) throw new Violation(`Linearizability: "${value}" was refused, and then read`)
    }
    checkRegister([{ kind: 'write', value: initial, start: -1, end: 0 }, ...calls])
    return calls.filter(({ kind }) => kind === 'read').length
  }
}

export function checkRegister(calls: readonly Call[]): void {
  const zones = zonesOf(calls).sort((a, b) => from(a) - from(b))
  let last: Zone | null = null
  for (const zone of zones) {
    if (last !== null && isForward(last) && overlaps(last, zone)) {
      throw new Violation(`Linearizability: "${last.value}" and "${zone.value}" must have been there at the same time`)
    }
    if (isForward(zone)) last = zone
  }
}

/** In a forward zone nothing else fits: not the beginning of another one, nor the whole of a backward zone. */
function overlaps(forward: Zone, next: Zone): boolean {
  return isForward(next) ? from(next) < to(forward) : to(next) < to(forward)
}

function zonesOf(calls: readonly Call[]): Zone[] {
  const writes = new Map(calls.filter(({ kind }) => kind === 'write').map((call) => [call.value, call]))
  const zones = new Map<string, Zone>()
  for (const { kind, value, start, end } of calls) {
    const write = writes.get(value)
    if (write === undefined) throw new Violation(`Linearizability: "${value}" was read and never written`)
    if (kind === 'read' && end < write.start)
      throw new Violation(`Linearizability: "${value}" was read before its write`)
    const zone = zones.get(value)
    if (zone === undefined) zones.set(value, { value, firstEnd: end, lastStart: start })
    else {
      zone.firstEnd = Math.min(zone.firstEnd, end)
      zone.lastStart = Math.max(zone.lastStart, start)
    }
  }
  // A write without an end that nobody has read need not have happened.
  return [...zones.values()].filter(({ firstEnd }) => firstEnd < Number.POSITIVE_INFINITY)
}

function isForward({ firstEnd, lastStart }: Zone): boolean {
  return firstEnd < lastStart
}

function from({ firstEnd, lastStart }: Zone): number {
  return Math.min(firstEnd, lastStart)
}

function to({ firstEnd, lastStart }: Zone): number {
  return Math.max(firstEnd, lastStart)
}
