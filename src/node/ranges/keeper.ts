import { unreachable } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import type { HostId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { HostRecord, UnderlayPort } from '../../cluster/underlay/index.ts'
import {
  type Action,
  balance,
  type Landscape,
  type Proposal,
  type Rules,
  type StoreView,
} from '../../kv/balance/index.ts'
import type { MetaState } from '../../kv/meta/index.ts'
import type { RangeStats } from '../../kv/store/figures.ts'
import type { Store } from '../../kv/store/store.ts'
import type { RangeTiding, StoreTiding } from './tiding.ts'
import type { Tidings } from './tidings.ts'

export interface KeeperOptions {
  store: Store
  underlay: UnderlayPort & { stateAgeMs(host: HostId): number | null }
  tidings: Tidings
  clock: Clock
  log: Logger
  rules(): Rules
  meta(): MetaState
  zoneOf(host: HostRecord): string
  rolesOf(host: HostRecord): readonly string[]
  /** Bytes, and where the middle lies. */
  sizeOf(range: RangeStats): { bytes: number; middle: Uint8Array | null }
  storeTiding(): StoreTiding
}

const ROUND_MS = 1_000
/** After an action, or news of others: the next step need not wait for the round. */
const SOON_MS = 100
/** A change that is not done by then is no longer waited for: the next round sees what has become of it. */
const ACTION_MS_MAX = 30_000
/** Between two looks at how far a drain is. */
const DRAIN_LOOK_MS = 20

interface Load {
  commands: number
  queries: number
  atMs: number
  writeLoad: number
  queryLoad: number
}

/** A mean over about so long. */
const LOAD_MS = 5_000

/**
 * Looks after the ranges that this store leads, once a second: tells of them, and carries out this store's part of what
 * the balancers plan.
 */
export class Keeper {
  readonly #options: KeeperOptions
  readonly #loads = new Map<string, Load>()
  /** Ranges with an action under way, and since when. */
  readonly #acting = new Map<string, number>()
  #draining = false
  #stopTimer: (() => void) | null = null
  #nextMs = 0
  readonly #unwatch: () => void
  #stopped = false

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#unwatch = options.tidings.watch(() => this.#soon())
  }

  start(): void {
    this.#round()
  }

  stop(): void {
    this.#stopped = true
    this.#unwatch()
    this.#stopTimer?.()
  }

  /** Gives this store's leaders to others, as far as there are any; resolves when none is left, or after `msMax`. */
  drain(msMax: number): Promise<void> {
    const { clock } = this.#options
    const untilMs = clock.monotonic() + msMax
    this.#draining = true
    this.#tell()
    const asked = new Set<string>()
    return new Promise((resolve) => {
      const look = (): void => {
        const left = this.#options.store.ranges().filter((range) => range.leads && heirOf(range) !== null)
        if (left.length === 0 || clock.monotonic() >= untilMs) return resolve()
        for (const range of left) {
          if (asked.has(range.descriptor.id)) continue
          asked.add(range.descriptor.id)
          const again = () => asked.delete(range.descriptor.id)
          this.#options.store.transfer(range.descriptor.id, heirOf(range)!).then(again, again)
        }
        clock.after(DRAIN_LOOK_MS, look)
      }
      look()
    })
  }

  /** An operator changes the range: the balancers leave it alone, for a while. */
  hold(range: string): void {
    this.#acting.set(range, this.#options.clock.monotonic())
  }

  /** What balancers are shown. `self`: null for a dry run. */
  landscape(self: string | null): Landscape {
    const { underlay, tidings } = this.#options
    const hosts: { record: HostRecord; state: string; ageMs: number }[] = [
      { record: underlay.self, state: 'alive', ageMs: 0 },
      ...underlay.members().map((host) => ({
        ...{ record: host, state: host.state },
        ageMs: underlay.stateAgeMs(host.id) ?? 0,
      })),
    ]
    const stores = hosts.filter(({ state }) => state !== 'left').map((host) => this.#storeView(host))
    const live = new Set(stores.filter(({ alive }) => alive).map(({ id }) => id))
    const ranges = tidings.ranges().map((heard) => ({
      ...heard,
      leaderStore: live.has(heard.leader) ? heard.leader : null,
      busy: heard.busy || this.#acting.has(heard.descriptor.id),
    }))
    return { self, stores, ranges }
  }

  #storeView({ record, state, ageMs }: { record: HostRecord; state: string; ageMs: number }): StoreView {
    const { tidings, underlay, zoneOf, rolesOf, storeTiding, meta } = this.#options
    const alive = state === 'alive' || state === 'suspect'
    const told = record.id === underlay.self.id ? storeTiding() : tidings.store(record.id)
    return {
      id: record.id,
      zone: zoneOf(record),
      alive,
      deadForMs: alive ? 0 : ageMs,
      decommissioning: meta().members.get(record.id)?.leaving ?? false,
      draining: record.id === underlay.self.id ? this.#draining : (told?.draining ?? false),
      roles: rolesOf(record),
      // Who has not told yet gets nothing yet.
      freeBytes: told?.freeBytes ?? 0,
      full: told?.full ?? false,
    }
  }

  #round(): void {
    if (this.#stopped) return
    this.#tell()
    this.#act()
    this.#stopTimer?.()
    this.#nextMs = this.#options.clock.monotonic() + ROUND_MS
    this.#stopTimer = this.#options.clock.after(ROUND_MS, () => this.#round())
  }

  #soon(): void {
    const { clock } = this.#options
    if (this.#stopped || clock.monotonic() + SOON_MS >= this.#nextMs) return
    this.#stopTimer?.()
    this.#nextMs = clock.monotonic() + SOON_MS
    this.#stopTimer = clock.after(SOON_MS, () => this.#round())
  }

  #tell(): void {
    const { store, tidings, storeTiding } = this.#options
    tidings.tellStore({ ...storeTiding(), draining: this.#draining })
    const led = store.ranges().filter(({ leads }) => leads)
    const ids = new Set(led.map(({ descriptor }) => descriptor.id))
    for (const id of this.#loads.keys()) if (!ids.has(id)) this.#loads.delete(id)
    tidings.tell(led.map((range) => this.#tidingOf(range)))
  }

  #tidingOf(range: RangeStats): RangeTiding {
    const { writeLoad, queryLoad } = this.#loadOf(range)
    const { bytes, middle } = this.#options.sizeOf(range)
    const lag = Object.entries(range.lag).filter((entry): entry is [string, number] => entry[1] !== null)
    return {
      ...{ descriptor: range.descriptor, term: range.term, sizeBytes: bytes, middleKey: middle },
      ...{ writeLoad, queryLoad, splitHint: range.splitHint, busy: range.joint, lag: Object.fromEntries(lag) },
    }
  }

  #loadOf({ descriptor, taken }: RangeStats): Load {
    const atMs = this.#options.clock.monotonic()
    const before = this.#loads.get(descriptor.id)
    const load: Load = { ...taken, atMs, writeLoad: 0, queryLoad: 0 }
    if (before !== undefined && atMs > before.atMs) {
      const seconds = (atMs - before.atMs) / 1_000
      const weight = Math.min(1, (atMs - before.atMs) / LOAD_MS)
      const mean = (last: number, now: number) => last + (now - last) * weight
      load.writeLoad = mean(before.writeLoad, (taken.commands - before.commands) / seconds)
      load.queryLoad = mean(before.queryLoad, (taken.queries - before.queries) / seconds)
    } else if (before !== undefined) return before
    this.#loads.set(descriptor.id, load)
    return load
  }

  #act(): void {
    const { clock, rules, underlay, log } = this.#options
    const nowMs = clock.monotonic()
    for (const [range, sinceMs] of this.#acting) if (nowMs - sinceMs > ACTION_MS_MAX) this.#acting.delete(range)
    let plan: Proposal[]
    try {
      plan = balance(this.landscape(underlay.self.id), clock.now(), rules())
    } catch (error) {
      log.error({ err: error }, 'The balancers cannot plan')
      return
    }
    for (const proposal of plan) if (!this.#acting.has(proposal.range)) this.#carryOut(proposal)
  }

  #carryOut(proposal: Proposal): void {
    const { store, log, clock } = this.#options
    const { range, balancer, reason, action } = proposal
    const current = store.ranges().find(({ descriptor }) => descriptor.id === range)
    if (current === undefined || !current.leads || !isEpoch(current, proposal)) return
    const sinceMs = clock.monotonic()
    this.#acting.set(range, sinceMs)
    log.info({ range, balancer, action: nameOf(action) }, `Range "${range}": ${reason}`)
    const done = () => {
      if (this.#acting.get(range) === sinceMs) this.#acting.delete(range)
      this.#soon()
    }
    perform(store, proposal).then(done, (error: unknown) => {
      log.info({ range, balancer, err: error }, `Range "${range}" did not follow a balancer: it is asked again`)
      done()
    })
  }
}

/** The voter that lacks least; null: there is none that is heard. */
function heirOf({ descriptor, lag, leads }: RangeStats): string | null {
  if (!leads) return null
  let heir: string | null = null
  for (const { store, role } of descriptor.replicas) {
    const entries = lag[store]
    if (role !== 'voter' || entries === undefined || entries === null) continue
    if (heir === null || entries < lag[heir]!) heir = store
  }
  return heir
}

function isEpoch({ descriptor }: RangeStats, { epoch }: Proposal): boolean {
  return descriptor.epoch.version === epoch.version && descriptor.epoch.confVersion === epoch.confVersion
}

function perform(store: Store, { range, service, action }: Proposal): Promise<void> {
  switch (action.type) {
    case 'change':
      return store.change(
        range,
        action.changes.map(({ store: to, to: role }) => ({ store: to, role })),
      )
    case 'transfer':
      return store.transfer(range, action.to)
    case 'split':
      return store.split(service, action.key)
    case 'merge':
      return store.merge(range, action.right)
    default:
      return unreachable(action)
  }
}

function nameOf(action: Action): string {
  return action.type === 'transfer' ? `transfer to ${action.to}` : action.type
}
