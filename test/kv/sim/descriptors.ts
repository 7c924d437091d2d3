import { overlaps, subtract } from '../../../src/kv/engine/bytes.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import type { DiskView } from './disk-view.ts'
import { text } from './logic.ts'
import { Violation } from './violation.ts'

interface Applied {
  nowMs: number
  hash: number
}

/** Watches what stores write about their ranges: descriptors, replica numbers, applied states. */
export class Descriptors {
  splits = 0
  changes = 0
  /** By range and epoch. */
  readonly #known = new Map<string, RangeDescriptor>()
  /** Of each range, those of one boundary's version and all others, by rising epoch of replicas. */
  readonly #histories = new Map<string, RangeDescriptor[]>()
  readonly #latest = new Map<string, RangeDescriptor>()
  /** They became a part of a neighbour. */
  readonly #merged = new Set<string>()
  readonly #applied = new Map<string, Applied>()
  /** Of each store and range, the last one written. */
  readonly #written = new Map<string, RangeDescriptor>()

  /** The newest of each range. */
  get latest(): readonly RangeDescriptor[] {
    return [...this.#latest.values()]
  }

  /** Records of these ranges have landed on a store. */
  landed(store: string, view: DiskView, touched: ReadonlySet<string>): void {
    let moved = false
    for (const id of touched) {
      const range = view.ranges.get(id)!
      const whole = range.descriptor !== null && !range.installing
      if (range.applied !== null && whole) this.#checkApplied(store, id, range.applied.index, range.applied)
      if (!whole) this.#written.delete(`${store} ${id}`)
      else if (this.#takeDescriptor(store, range.descriptor!)) moved = true
    }
    if (moved) this.#checkTiles()
    this.#checkOverlaps(store, view, touched)
  }

  /** Forgets what was written and lost again. */
  restarted(store: string): void {
    for (const key of this.#written.keys()) if (key.startsWith(`${store} `)) this.#written.delete(key)
  }

  #checkApplied(store: string, id: string, index: number, { nowMs, hash }: Applied): void {
    const key = `${id} ${index}`
    const known = this.#applied.get(key)
    if (known === undefined) this.#applied.set(key, { nowMs, hash })
    else if (known.hash !== hash || known.nowMs !== nowMs) {
      throw new Violation(`State machine safety: ${store} differs after entry ${index} of ${id}`)
    }
  }

  /** True where a boundary has moved. */
  #takeDescriptor(store: string, descriptor: RangeDescriptor): boolean {
    const { id, epoch } = descriptor
    const before = this.#written.get(`${store} ${id}`)
    this.#written.set(`${store} ${id}`, descriptor)
    if (before !== undefined && !isAfter(epoch, before.epoch)) {
      throw new Violation(`Epochs rise: ${nameOf(descriptor)} follows on ${nameOf(before)} at ${store}`)
    }
    const known = this.#known.get(nameOf(descriptor))
    if (known !== undefined) {
      if (shapeOf(known) === shapeOf(descriptor)) return false
      throw new Violation(`One descriptor an epoch: ${shapeOf(known)} and ${shapeOf(descriptor)}, at ${store}`)
    }
    this.#known.set(nameOf(descriptor), descriptor)
    this.#checkReplicas(descriptor)
    const latest = this.#latest.get(id)
    const moved = latest === undefined || latest.epoch.version < epoch.version
    if (moved && latest === undefined && epoch.version > 1) this.splits++
    if (this.#merged.has(id)) return false
    if (latest === undefined || isAfter(epoch, latest.epoch)) this.#latest.set(id, descriptor)
    if (moved) this.#takeOver(descriptor)
    return moved
  }

  /** Whom a range covers now is a part of it, where it is of an older generation. */
  #takeOver(descriptor: RangeDescriptor): void {
    for (const other of this.latest) {
      if (other.id === descriptor.id || other.epoch.version >= descriptor.epoch.version) continue
      if (subtract(other, [descriptor]).length > 0) continue
      this.#latest.delete(other.id)
      this.#merged.add(other.id)
    }
  }

  /** Numbers that come are above all that there were; a number stays with its store. */
  #checkReplicas(descriptor: RangeDescriptor): void {
    const { id, epoch } = descriptor
    const history = this.#histories.get(id) ?? []
    this.#histories.set(id, history)
    const at = history.findIndex((each) => each.epoch.confVersion > epoch.confVersion)
    if (history.length > 0) this.changes++
    history.splice(at < 0 ? history.length : at, 0, descriptor)
    const place = history.indexOf(descriptor)
    const before = history.slice(0, place)
    if (before.length > 0) checkNumbers(before, descriptor)
    const after = history[place + 1]
    if (after !== undefined) checkNumbers(history.slice(0, place + 1), after)
  }

  #checkTiles(): void {
    const tiles = this.latest.toSorted((a, b) => (textOf(a.start, '') < textOf(b.start, '') ? -1 : 1))
    const ends = tiles.map(({ end }) => (end === undefined ? null : text(end)))
    const fits = tiles.every(({ start }, i) => (i === 0 ? start === undefined : ends[i - 1] === textOf(start, '')))
    if (!fits || ends.at(-1) !== null) throw new Violation(`Ranges tile the keys: ${tiles.map(shapeOf).join(', ')}`)
  }

  #checkOverlaps(store: string, view: DiskView, touched: ReadonlySet<string>): void {
    for (const id of touched) {
      const own = view.ranges.get(id)!
      if (own.descriptor === null || own.installing) continue
      for (const [other, { descriptor, installing }] of view.ranges) {
        if (other === id || descriptor === null || installing || !overlaps(descriptor, own.descriptor)) continue
        throw new Violation(
          `${store} holds two replicas of a key: ${shapeOf(descriptor)} and ${shapeOf(own.descriptor)}`,
        )
      }
    }
  }
}

function checkNumbers(before: readonly RangeDescriptor[], next: RangeDescriptor): void {
  const last = before.at(-1)!
  const most = Math.max(...before.flatMap(({ replicas }) => replicas.map(({ replica }) => replica)))
  for (const { replica, store } of next.replicas) {
    const known = last.replicas.find((each) => each.replica === replica)
    if (known === undefined ? replica > most : known.store === store) continue
    throw new Violation(`Replica ids are never used twice: ${shapeOf(next)} follows on ${shapeOf(last)}`)
  }
}

function isAfter(a: RangeDescriptor['epoch'], b: RangeDescriptor['epoch']): boolean {
  return a.version >= b.version && a.confVersion >= b.confVersion
}

function nameOf({ id, epoch }: RangeDescriptor): string {
  return `${id} ${epoch.version}.${epoch.confVersion}`
}

export function shapeOf(descriptor: RangeDescriptor): string {
  const { start, end, replicas } = descriptor
  const who = replicas.map(({ store, replica, role }) => `${store}#${replica}${role === 'voter' ? '' : 'L'}`).join(' ')
  return `${nameOf(descriptor)} [${textOf(start, '-')}, ${textOf(end, '-')}) ${who}`
}

function textOf(key: Uint8Array | undefined, otherwise: string): string {
  return key === undefined ? otherwise : text(key)
}
