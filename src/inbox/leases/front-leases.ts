import type { Clock } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { Logger } from '../../base/logging.ts'
import { within } from '../../kv/engine/bytes.ts'
import { type Answer, type Ask, NodeHolder } from '../../kv/lease/index.ts'
import type { RangeDescriptor } from '../../kv/range/coprocessor.ts'
import type { InboxRanges } from '../feed-host.ts'
import { arrange, rangeOf } from './arrange.ts'
import type { Incarnations, LeasePorts, LeaseWatch } from './contract.ts'
import { Owners } from './owners.ts'

export interface FrontLeasesOptions {
  /** Host id of this node. */
  node: string
  incarnations: Incarnations
  clock: Clock
  log: Logger
  ports: LeasePorts
  /** The ranges of which this store has a replica. */
  here: () => RangeDescriptor[]
  /** The machine has slept: told at once. */
  slept: () => void
  /** As {@link LeasePorts.send}, to this store. */
  askHere: (range: string, ask: Ask, reply: (answer: Answer) => void) => void
}

/** Who answered a range's asks last, and when. */
interface Heard {
  store: string
  ms: number
}

/** Beside heartbeats: who has answered is asked alone, for so long. */
const HEARD_MS = 2_500
/** The wall clock went on and the monotonic one did not: the machine slept. */
const SLEPT_MS = 3_000
const FIRST_KEY = new Uint8Array(0)

/** The front end's side of node leases: from all ranges of `inbox`, for its clients' sessions may be in any. */
export class FrontLeases implements LeaseWatch {
  untilMs = Number.POSITIVE_INFINITY
  /** Connections closed because a lease ended, or the node was fenced. */
  closed = 0
  /** Times that this node found itself fenced. */
  fenced = 0
  readonly owners = new Owners()
  /** Routes of this node's subscribers are made again, by a new incarnation. Resolves when all are. */
  renew: (incarnation: number) => Promise<void> = async () => {}
  readonly #options: FrontLeasesOptions
  readonly #machine: NodeHolder
  #ranges: InboxRanges | null = null
  /** All ranges, in order; empty = not known yet. */
  #spans: readonly RangeDescriptor[] = []
  readonly #heard = new Map<string, Heard>()
  /** What was entered, by range; null = under way. */
  readonly #entered = new Map<string, number | null>()
  #waiting: { key: Uint8Array; done: () => void }[] = []
  /** Of the wall clock to the monotonic one, in ms. */
  #offsetMs: number

  constructor(options: FrontLeasesOptions) {
    this.#options = options
    this.#machine = new NodeHolder(options.node, options.incarnations.next())
    this.#offsetMs = this.#clockOffset()
    options.ports.attach((from, range, message) => {
      if (message.type === 'answer') this.#answered(from, range, message.answer)
      else if (message.type === 'ask')
        options.askHere(range, message.ask, (answer) => options.ports.send(from, range, { type: 'answer', answer }))
    })
  }

  get incarnation(): number {
    return this.#machine.incarnation
  }

  /** Leases that count now. */
  get held(): number {
    const nowMs = this.#nowMs()
    return this.#spans.filter(({ id }) => this.#machine.holds(id, nowMs)).length
  }

  start(ranges: InboxRanges): void {
    this.#ranges = ranges
    this.tick()
  }

  /** Whether the node may act on the session now. */
  holds(key: Uint8Array): boolean {
    if (this.#options.ports.lonely()) return true
    const range = rangeOf(this.#spans, key)
    return range !== null && this.#machine.holds(range.id, this.#nowMs())
  }

  /** Resolves when a session may be attached; refuses where that takes longer than `msMax`. */
  async ready(key: Uint8Array, msMax: number): Promise<void> {
    if (this.#isReady(key)) return
    await new Promise<void>((resolve) => {
      const waiter = { key, done: () => resolve() }
      this.#waiting.push(waiter)
      this.#options.clock.after(msMax, () => {
        this.#waiting = this.#waiting.filter((each) => each !== waiter)
        resolve()
      })
      this.tick()
    })
    if (this.#isReady(key)) return
    throw new BrokerError('UNAVAILABLE', 'Cannot attach a session: its range has given this node no lease; try again')
  }

  /** A range says that this incarnation is held for gone. */
  isFenced(incarnation: number): void {
    if (incarnation !== this.incarnation || this.#machine.state === 'fenced') return
    this.#machine.fence(incarnation)
    this.#comeBack()
  }

  /** Another leader is known of some range that is here: it is asked at once. */
  ledAnew(): void {
    const nowMs = this.#nowMs()
    for (const { id } of this.#spans) if (!this.#machine.holds(id, nowMs)) this.#machine.soon(id)
    this.tick()
  }

  look(nowMs: number): void {
    if (nowMs >= this.untilMs) this.tick()
  }

  /** What time brings. */
  tick(): void {
    if (this.#ranges === null) return
    const nowMs = this.#nowMs()
    this.#learnRanges()
    if (this.#slept() && this.#machine.doubt().length > 0) this.#closeLost()
    for (const { key } of this.#waiting) this.#machine.soon(rangeOf(this.#spans, key)?.id ?? '')
    const { asks, close } = this.#machine.tick(nowMs)
    for (const { range, ask } of asks) this.#ask(range, ask, nowMs)
    if (close.length > 0) this.#closeLost()
    this.#settle()
    this.owners.settle(this.#ranges, this.incarnation)
  }

  /** All that this node had is given up: nobody need hold it for gone. */
  async leave(): Promise<void> {
    const ranges = this.#ranges
    this.#ranges = null
    if (ranges === null || this.owners.owed > 0) return
    const { node } = this.#options
    const exits = [...this.#entered].map(([id, incarnation]) => {
      const range = this.#spans.find((each) => each.id === id)
      if (range === undefined || incarnation === null) return null
      const key = range.start ?? FIRST_KEY
      return ranges.mutate(key, { type: 'exit', key, node, incarnation }, { deadlineMs: 1_000 })
    })
    // Else the next incarnation says so, or the lease ends.
    await Promise.allSettled(exits)
  }

  #isReady(key: Uint8Array): boolean {
    return this.#machine.mayAcknowledge && this.holds(key)
  }

  #ask(range: string, ask: Ask, nowMs: number): void {
    const { node, askHere, ports } = this.#options
    const heard = this.#heard.get(range)
    const replicas = this.#spans.find(({ id }) => id === range)?.replicas ?? []
    for (const { store, role } of replicas) {
      if (heard !== undefined && nowMs - heard.ms < HEARD_MS ? store !== heard.store : role !== 'voter') continue
      if (store === node) askHere(range, ask, (answer) => this.#answered(node, range, answer))
      else ports.send(store, range, { type: 'ask', ask })
    }
  }

  #answered(from: string, range: string, answer: Answer): void {
    const nowMs = this.#nowMs()
    if (answer.type === 'granted') this.#heard.set(range, { store: from, ms: nowMs })
    this.#machine.answered(range, answer, nowMs)
    if (this.#machine.state === 'fenced') this.#comeBack()
    else this.#settle()
  }

  /** Leases have come, or gone. */
  #settle(): void {
    this.untilMs = this.#options.ports.lonely() ? Number.POSITIVE_INFINITY : this.#machine.endsMs()
    this.#enterHeld()
    if (this.#waiting.length === 0) return
    const ready = this.#waiting.filter(({ key }) => this.#isReady(key))
    this.#waiting = this.#waiting.filter((each) => !ready.includes(each))
    for (const { done } of ready) done()
  }

  /** Says that this incarnation is here, so that those before it are fenced at once. */
  #enterHeld(): void {
    const nowMs = this.#nowMs()
    const { node } = this.#options
    const { incarnation } = this
    for (const { id, start: key = FIRST_KEY } of this.#spans) {
      const known = this.#entered.get(id)
      if (known === null || known === incarnation || !this.#machine.holds(id, nowMs)) continue
      this.#entered.set(id, null)
      this.#ranges?.mutateWith(key, { type: 'enter', key, node, incarnation }, (error, response) => {
        this.#entered.delete(id)
        if (error === null && response === 'done') this.#entered.set(id, incarnation)
        else if (response === 'fenced') this.isFenced(incarnation)
      })
    }
  }

  #learnRanges(): void {
    const { ports, here } = this.#options
    const spans = arrange([...ports.landscape(), ...here()])
    if (spans === null) return
    const before = this.#spans
    this.#spans = spans
    let changed = spans.length !== before.length
    for (const span of spans) {
      const known = before.find(({ id }) => id === span.id)
      if (known?.epoch.version === span.epoch.version) continue
      changed = true
      // Its lease is of before the split: it covers the part that was cut off.
      const from = known === undefined ? parentOf(span, before) : null
      this.#machine.enter(span.id, span.epoch.version, from)
    }
    if (!changed) return
    for (const { id } of before) {
      if (spans.some((span) => span.id === id)) continue
      this.#machine.leave(id)
      this.#heard.delete(id)
      this.#entered.delete(id)
    }
    this.#closeLost()
  }

  #closeLost(): void {
    const closed = this.owners.closeWhere(({ key }) => !this.holds(key))
    if (closed === 0) return
    this.closed += closed
    const message = 'Closed connections: this node has no lease of the ranges that hold their sessions'
    this.#options.log.warn({ connections: closed }, message)
  }

  /** Nothing of before counts any more: it begins anew, as after a start. */
  #comeBack(): void {
    const { log, node, incarnations } = this.#options
    this.fenced++
    const closed = this.owners.closeWhere(() => true)
    this.closed += closed
    const incarnation = incarnations.next()
    log.warn({ host: node, incarnation, connections: closed }, 'This node was held for gone: it begins anew')
    this.#entered.clear()
    this.#machine.reincarnate(incarnation)
    this.#settle()
    this.renew(incarnation).then(
      () => {
        this.#machine.registered(incarnation)
        this.#settle()
      },
      (error: unknown) => log.error({ err: error }, 'Could not make the routes of this node again'),
    )
    this.tick()
  }

  #slept(): boolean {
    const offsetMs = this.#clockOffset()
    const slept = offsetMs - this.#offsetMs > SLEPT_MS
    this.#offsetMs = offsetMs
    if (slept) this.#options.slept()
    return slept && !this.#options.ports.lonely()
  }

  #clockOffset(): number {
    const { clock } = this.#options
    return clock.now() - clock.monotonic()
  }

  #nowMs(): number {
    return this.#options.clock.monotonic()
  }
}

function parentOf(child: RangeDescriptor, before: readonly RangeDescriptor[]): string | null {
  const key = child.start ?? FIRST_KEY
  const parent = before.find((each) => within(key, each) && each.epoch.version < child.epoch.version)
  return parent?.id ?? null
}
