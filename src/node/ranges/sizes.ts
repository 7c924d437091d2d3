import type { Clock } from '../../base/clock.ts'
import { compareBytes } from '../../kv/engine/bytes.ts'
import type { Engine } from '../../kv/engine/engine.ts'
import type { RangeDescriptor, ServiceName } from '../../kv/range/coprocessor.ts'

export interface RangeSize {
  bytes: number
  /** About as many bytes lie before it as behind; null: not known. */
  middle: Uint8Array | null
}

interface Walk {
  descriptor: RangeDescriptor
  /** Behind the last key that was counted. */
  from: Uint8Array | undefined
  bytes: number
  /** Keys with the bytes before them: so many that the middle is near one. */
  marks: { key: Uint8Array; before: number }[]
  markEvery: number
}

/** A range is walked through only where its family holds more: before, it is taken for all of it. */
const WALK_BYTES_MIN = 64 * 2 ** 20
/** How long a measure holds. */
const KEEP_MS = 10 * 60_000
/** Work in one go, and the pause behind: half a percent of a core. */
const SLICE_MS = 2
const SLICE_RECORDS = 512
const PAUSE_MS = 400
/** Where somebody waits for it. */
const URGENT_PAUSE_MS = 2
const MARKS_MAX = 256

/**
 * How large the ranges of this store are, and where their middle is. The engine knows it of families alone, so large
 * ranges are read through: slowly, in slices, each with a cursor of its own, so that nothing is held up.
 */
export class Sizes {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #cutNear: (service: ServiceName, key: Uint8Array) => Uint8Array | null
  readonly #measured = new Map<string, RangeSize & { atMs: number; version: number }>()
  readonly #waiting: RangeDescriptor[] = []
  #walk: Walk | null = null
  #stopTimer: (() => void) | null = null
  #stopped = false

  /** @param cutNear where a cut near a key may lie; null: not there */
  constructor(engine: Engine, clock: Clock, cutNear: (service: ServiceName, key: Uint8Array) => Uint8Array | null) {
    this.#engine = engine
    this.#clock = clock
    this.#cutNear = cutNear
  }

  /** As far as known now; what is not is looked for. */
  of(descriptor: RangeDescriptor): RangeSize {
    const { id, service, epoch } = descriptor
    const bytes = this.#engine.stats().bytes[service]
    const known = this.#measured.get(id)
    if (bytes < WALK_BYTES_MIN) {
      this.#measured.delete(id)
      return { bytes, middle: null }
    }
    const valid = known !== undefined && known.version === epoch.version
    if (!valid || this.#clock.monotonic() - known.atMs > KEEP_MS) this.#ask(descriptor)
    return valid ? known : { bytes: 0, middle: null }
  }

  /** Reads the range through now, at the cost of a part of a core. */
  measure(descriptor: RangeDescriptor): Promise<RangeSize> {
    const walk: Walk = { descriptor, from: descriptor.start, bytes: 0, marks: [], markEvery: 1 }
    return new Promise((resolve) => {
      const go = (): void => {
        if (this.#stopped) return resolve({ bytes: 0, middle: null })
        if (!this.#step(walk)) return void this.#clock.after(URGENT_PAUSE_MS, go)
        resolve({ bytes: walk.bytes, middle: this.#middleOf(descriptor, walk.bytes, walk.marks) })
      }
      go()
    })
  }

  stop(): void {
    this.#stopped = true
    this.#stopTimer?.()
    this.#waiting.length = 0
    this.#walk = null
  }

  #ask(descriptor: RangeDescriptor): void {
    const same = (other: RangeDescriptor | undefined) => other?.id === descriptor.id
    if (same(this.#walk?.descriptor) || this.#waiting.some(same)) return
    this.#waiting.push(descriptor)
    this.#stopTimer ??= this.#clock.after(PAUSE_MS, () => this.#slice())
  }

  #slice(): void {
    this.#stopTimer = null
    if (this.#walk === null) {
      const descriptor = this.#waiting.shift()
      if (descriptor === undefined) return
      this.#walk = { descriptor, from: descriptor.start, bytes: 0, marks: [], markEvery: 2 ** 20 }
    }
    if (this.#step(this.#walk)) this.#end(this.#walk)
    this.#stopTimer = this.#clock.after(PAUSE_MS, () => this.#slice())
  }

  /** True at the end of the range. */
  #step(walk: Walk): boolean {
    const { service, end } = walk.descriptor
    const untilMs = this.#clock.monotonic() + SLICE_MS
    const cursor = this.#engine.cursor(service, { start: walk.from, end })
    try {
      for (let records = 0; cursor.next(); records++) {
        if (records >= SLICE_RECORDS || (records % 32 === 31 && this.#clock.monotonic() >= untilMs)) {
          walk.from = new Uint8Array(cursor.key)
          return false
        }
        this.#count(walk, cursor.key, cursor.value.length)
      }
      return true
    } finally {
      cursor.close()
    }
  }

  #count(walk: Walk, key: Uint8Array, valueBytes: number): void {
    const last = walk.marks.at(-1)?.before ?? Number.NEGATIVE_INFINITY
    if (walk.bytes - last >= walk.markEvery) {
      walk.marks.push({ key: new Uint8Array(key), before: walk.bytes })
      if (walk.marks.length > MARKS_MAX) {
        walk.marks = walk.marks.filter((_, at) => at % 2 === 0)
        walk.markEvery *= 2
      }
    }
    walk.bytes += key.length + valueBytes
  }

  #end({ descriptor, bytes, marks }: Walk): void {
    this.#walk = null
    const middle = this.#middleOf(descriptor, bytes, marks)
    const { version } = descriptor.epoch
    this.#measured.set(descriptor.id, { bytes, middle, atMs: this.#clock.monotonic(), version })
  }

  #middleOf({ service, start }: RangeDescriptor, bytes: number, marks: Walk['marks']): Uint8Array | null {
    for (const { key, before } of marks) {
      if (before < bytes / 2) continue
      const cut = this.#cutNear(service, key)
      if (cut !== null && (start === undefined || compareBytes(cut, start) > 0)) return cut
    }
    return null
  }
}
