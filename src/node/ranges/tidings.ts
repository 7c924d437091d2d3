import type { Clock } from '../../base/clock.ts'
import type { HostId } from '../../base/ids.ts'
import type { Keys } from '../../cluster/overlay/index.ts'
import type { RangeDescriptor, ServiceName } from '../../kv/range/coprocessor.ts'
import {
  decodeRangeTiding,
  decodeStoreTiding,
  encodeRangeTiding,
  encodeStoreTiding,
  type RangeTiding,
  type StoreTiding,
} from './tiding.ts'

/** A range as its leader tells it, and since when it has told so. */
export interface HeardRange extends RangeTiding {
  leader: HostId
  changedForMs: number
  ledForMs: number
}

interface Memory {
  epoch: string
  term: number
  changedMs: number
  ledMs: number
}

interface Told {
  tiding: RangeTiding
  toldMs: number
}

const RANGE = 'range/'
const STORE = 'store'
/** What is not urgent is told so often at most: each word goes to every node. */
const NEWS_MS = 10_000
/** Entries: a replica that lags by less counts as caught up by everybody. */
const LAG_SMALL = 1_000

/** What the stores of the cluster tell of themselves and of their ranges, over the overlay: hints, and late. */
export class Tidings {
  readonly #keys: Keys
  readonly #clock: Clock
  readonly #own = new Map<string, Told>()
  readonly #memories = new Map<string, Memory>()
  readonly #unwatch: () => void
  #ownStore = ''
  #watcher = () => {}
  /** By range; null: something changed since. */
  #heard: Map<string, { leader: HostId; tiding: RangeTiding }> | null = null
  readonly #landscapes = new Map<ServiceName, RangeDescriptor[]>()

  constructor(keys: Keys, clock: Clock) {
    this.#keys = keys
    this.#clock = clock
    this.#unwatch = keys.watch(RANGE, () => {
      this.#heard = null
      this.#landscapes.clear()
      this.#watcher()
    })
  }

  /** One watcher: told of each change. The returned function ends it. */
  watch(watcher: () => void): () => void {
    this.#watcher = watcher
    return () => {
      this.#watcher = () => {}
    }
  }

  /** Tells of all ranges that this store leads, and of no others. */
  tell(ranges: readonly RangeTiding[]): void {
    const nowMs = this.#clock.monotonic()
    const led = new Set<string>()
    for (const tiding of ranges) {
      const { id } = tiding.descriptor
      led.add(id)
      const told = this.#own.get(id)
      if (told !== undefined && !isNews(told.tiding, tiding, nowMs - told.toldMs)) continue
      this.#own.set(id, { tiding, toldMs: nowMs })
      this.#keys.set(RANGE + id, encodeRangeTiding(tiding))
    }
    for (const id of [...this.#own.keys()]) {
      if (led.has(id)) continue
      this.#own.delete(id)
      this.#keys.delete(RANGE + id)
    }
  }

  tellStore(store: StoreTiding): void {
    // Free space to a sixteenth of a GiB: a store that is written to would tell anew each second.
    const rounded = { ...store, freeBytes: Math.floor(store.freeBytes / 2 ** 26) * 2 ** 26 }
    const said = JSON.stringify(rounded)
    if (said === this.#ownStore) return
    this.#ownStore = said
    this.#keys.set(STORE, encodeStoreTiding(rounded))
  }

  /** What that host tells of its store; null: nothing, or nothing that is understood. */
  store(host: HostId): StoreTiding | null {
    const bytes = this.#keys.get(host, STORE)
    return bytes === null ? null : decodeStoreTiding(bytes)
  }

  /** All ranges of a service that somebody leads. The same array until something changes. */
  landscape(service: ServiceName): readonly RangeDescriptor[] {
    let known = this.#landscapes.get(service)
    if (known === undefined) {
      known = [...this.#ranges().values()]
        .map(({ tiding }) => tiding.descriptor)
        .filter((descriptor) => descriptor.service === service)
      this.#landscapes.set(service, known)
    }
    return known
  }

  /** As the balancers see them. Call it now and then: how long something lasts is measured by it. */
  ranges(): HeardRange[] {
    const nowMs = this.#clock.monotonic()
    const heard = [...this.#ranges().entries()].map(([id, { leader, tiding }]) => {
      const { changedMs, ledMs } = this.#remember(id, tiding, nowMs)
      return { ...tiding, leader, changedForMs: nowMs - changedMs, ledForMs: nowMs - ledMs }
    })
    for (const id of this.#memories.keys()) if (!this.#ranges().has(id)) this.#memories.delete(id)
    return heard
  }

  stop(): void {
    this.#unwatch()
  }

  #ranges(): Map<string, { leader: HostId; tiding: RangeTiding }> {
    if (this.#heard !== null) return this.#heard
    const heard = new Map<string, { leader: HostId; tiding: RangeTiding }>()
    for (const { host, value } of this.#keys.entries(RANGE)) {
      const tiding = decodeRangeTiding(value)
      if (tiding === null) continue
      const { id } = tiding.descriptor
      const known = heard.get(id)
      // Who led before may not have heard of it yet.
      if (known === undefined || known.tiding.term < tiding.term) heard.set(id, { leader: host, tiding })
    }
    this.#heard = heard
    return heard
  }

  #remember(id: string, { descriptor, term }: RangeTiding, nowMs: number): Memory {
    const { version, confVersion } = descriptor.epoch
    const epoch = `${version}/${confVersion}`
    let memory = this.#memories.get(id)
    if (memory === undefined) {
      memory = { epoch, term, changedMs: nowMs, ledMs: nowMs }
      this.#memories.set(id, memory)
    }
    if (memory.epoch !== epoch) Object.assign(memory, { epoch, changedMs: nowMs })
    if (memory.term !== term) Object.assign(memory, { term, ledMs: nowMs })
    return memory
  }
}

/** Whether others should hear of it now: what decides about replicas at once, figures now and then. */
function isNews(before: RangeTiding, now: RangeTiding, ageMs: number): boolean {
  const epoch = ({ descriptor: { epoch } }: RangeTiding) => `${epoch.version}/${epoch.confVersion}`
  if (epoch(before) !== epoch(now) || before.term !== now.term || before.busy !== now.busy) return true
  if (caughtUp(before) !== caughtUp(now)) return true
  if (ageMs < NEWS_MS) return false
  return (
    differs(before.sizeBytes, now.sizeBytes, 2 ** 20) ||
    differs(before.writeLoad, now.writeLoad, 50) ||
    differs(before.queryLoad, now.queryLoad, 50) ||
    (before.middleKey === null) !== (now.middleKey === null) ||
    (before.splitHint === null) !== (now.splitHint === null)
  )
}

function caughtUp({ lag }: RangeTiding): string {
  return Object.entries(lag)
    .map(([store, entries]) => `${store} ${entries <= LAG_SMALL}`)
    .sort()
    .join()
}

/** By more than a quarter, and by more than `least`. */
function differs(before: number, now: number, least: number): boolean {
  return Math.abs(before - now) > Math.max(least, before / 4)
}
