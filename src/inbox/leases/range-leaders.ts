import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logging.ts'
import { type Answer, type Ask, NODE_LEASE, NodeLeader } from '../../kv/lease/index.ts'
import type { RangeDescriptor } from '../../kv/range/coprocessor.ts'
import type { WatchedReplica, WatchReplicas } from '../../kv/store/watch.ts'
import type { InboxRanges } from '../feed-host.ts'
import type { NodeEffect } from '../store/command.ts'
import { readNodes } from '../store/nodes.ts'

export interface RangeLeadersOptions {
  clock: Clock
  defer: (callback: () => void) => void
  log: Logger
  /** Takes routes of gone nodes back: see `WillPublisher`. */
  nodeGone: (node: string, incarnation: number) => Promise<void>
}

interface Led {
  readonly term: number
  readonly machine: NodeLeader
  ready: boolean
  version: number
  /** Fences under way. */
  readonly proposed: Set<string>
  /** Of the first range: the routes of which nodes are to be taken back, up to which incarnation. */
  readonly owed: Map<string, { incarnation: number; underWay: boolean; againMs: number }>
}

interface Replica {
  readonly watched: WatchedReplica
  led: Led | null
}

/** Where this loop stood still for so long, asks may lie unread. */
const STILL_MS = 2_000
const AGAIN_MS = 1_000
const FIRST_KEY = new Uint8Array(0)

/** Gives out the node leases of the ranges of `inbox` that this store leads, and fences nodes that are gone. */
export class RangeLeaders {
  fences = 0
  /** Sessions detached by fences. */
  sessions = 0
  readonly #options: RangeLeadersOptions
  readonly #replicas = new Map<string, Replica>()
  #ranges: InboxRanges | null = null
  #lookedMs: number
  #lookPlanned = false

  constructor(options: RangeLeadersOptions) {
    this.#options = options
    this.#lookedMs = options.clock.monotonic()
  }

  /** For the store that serves the ranges. */
  readonly watch: WatchReplicas = (watched) => {
    const replica: Replica = { watched, led: null }
    this.#replicas.set(watched.id, replica)
    return {
      ledBy: () => this.#lookSoon(),
      split: () => this.#lookSoon(),
      merged: () => this.#lookSoon(),
      applied: () => {},
      closed: () => {
        if (this.#replicas.get(watched.id) === replica) this.#replicas.delete(watched.id)
      },
    }
  }

  /** Called after each look that something had happened before. */
  onChange: () => void = () => {}

  start(ranges: InboxRanges): void {
    this.#ranges = ranges
    this.#lookSoon()
  }

  stop(): void {
    this.#ranges = null
  }

  /** The ranges that are here. */
  landscape(): RangeDescriptor[] {
    return [...this.#replicas.values()].map(({ watched }) => watched.range.latest)
  }

  /** What time brings, and what groups have told. */
  look(): void {
    const nowMs = this.#options.clock.monotonic()
    const stood = nowMs - this.#lookedMs > STILL_MS
    this.#lookedMs = nowMs
    if (stood) this.doubt()
    for (const replica of this.#replicas.values()) {
      this.#lookAt(replica, nowMs)
      if (replica.led?.ready) this.#act(replica, replica.led, nowMs)
    }
  }

  /** The clock may have stood still, or what others have said may lie unread. */
  doubt(): void {
    const nowMs = this.#options.clock.monotonic()
    for (const { led } of this.#replicas.values()) led?.machine.doubt(nowMs)
  }

  /** A node asks for a lease. Nobody answers where this store does not lead. */
  ask(range: string, ask: Ask, reply: (answer: Answer) => void): void {
    const replica = this.#replicas.get(range)
    if (replica === undefined) return
    const { clock } = this.#options
    const askedMs = clock.monotonic()
    this.#lookAt(replica, askedMs)
    const { led } = replica
    if (led === null) return
    replica.watched.confirm((leads) => {
      if (!leads || replica.led !== led || this.#replicas.get(range) !== replica) return
      const nowMs = clock.monotonic()
      this.#lookAt(replica, nowMs)
      // What it has is about to be another range's.
      if (replica.led !== led || replica.watched.range.merge.frozen !== null) return
      led.machine.confirmed(askedMs)
      reply(led.machine.ask(ask, nowMs))
    })
  }

  /** An entry was applied that changed what a range knows of a node. */
  applied(range: string, effect: NodeEffect): void {
    const led = this.#replicas.get(range)?.led
    if (!led?.ready) return
    const { node, present, fenced, owesRoutes, isFence, sessions } = effect
    if (fenced > 0) led.machine.fenced(node, fenced)
    if (present > 0) led.machine.attached(node, present)
    if (owesRoutes) this.#owe(led, node, fenced)
    else led.owed.delete(node)
    this.sessions += sessions
    if (!isFence) return
    this.fences++
    const fields = { host: node, incarnation: fenced, range }
    this.#options.log.warn(fields, `Node ${node} is held for gone in range "${range}": what it had is given up`)
    this.#lookSoon()
  }

  #lookSoon(): void {
    if (this.#lookPlanned) return
    this.#lookPlanned = true
    this.#options.defer(() => {
      this.#lookPlanned = false
      if (this.#ranges === null) return
      this.look()
      this.onChange()
    })
  }

  /** Follows what the group has told. */
  #lookAt(replica: Replica, nowMs: number): void {
    const { group, range } = replica.watched
    if (!group.leads || range.halted !== null) {
      replica.led = null
      group.keepAwake(false, 'node leases')
      return
    }
    let { led } = replica
    if (led === null || led.term !== group.term) {
      const machine = new NodeLeader(nowMs, NODE_LEASE)
      led = { term: group.term, machine, ready: false, version: 0, proposed: new Set(), owed: new Map() }
      replica.led = led
    }
    const { version } = range.latest.epoch
    if (led.ready ? version === led.version : !group.established) return
    const nodes = readNodes(range.reader, range.latest.start)
    const attached = nodes
      .filter(({ record }) => record.present > 0)
      .map(({ node, record }) => ({ host: node, incarnation: record.present }))
    const fenced = nodes
      .filter(({ record }) => record.fenced > 0)
      .map(({ node, record }) => ({ host: node, incarnation: record.fenced }))
    if (!led.ready) led.machine.ready(attached, fenced, version)
    else {
      // Of the leases of a range that came in, this leader knows nothing.
      led.machine.bounded(version)
      for (const { host, incarnation } of fenced) led.machine.fenced(host, incarnation)
      led.machine.adopt(attached, version, nowMs)
    }
    led.ready = true
    led.version = version
    for (const { node, record } of nodes) if (record.owesRoutes) this.#owe(led, node, record.fenced)
  }

  #act({ watched }: Replica, led: Led, nowMs: number): void {
    watched.group.keepAwake(led.machine.held(nowMs), 'node leases')
    const ranges = this.#ranges
    if (ranges === null || watched.range.merge.frozen !== null) return
    const key = watched.range.latest.start ?? FIRST_KEY
    for (const { host: node, incarnation } of led.machine.toFence(nowMs)) {
      const name = `${node} ${incarnation}`
      if (led.proposed.has(name)) continue
      led.proposed.add(name)
      ranges.mutateWith(key, { type: 'fence', key, node, incarnation }, () => led.proposed.delete(name))
    }
    for (const [node, owed] of led.owed) {
      if (!owed.underWay && owed.againMs <= nowMs) this.#takeRoutes(node, owed, ranges)
    }
  }

  #owe(led: Led, node: string, incarnation: number): void {
    if (led.owed.get(node)?.incarnation === incarnation) return
    led.owed.set(node, { incarnation, underWay: false, againMs: 0 })
    this.#lookSoon()
  }

  #takeRoutes(
    node: string,
    owed: { incarnation: number; underWay: boolean; againMs: number },
    ranges: InboxRanges,
  ): void {
    const { incarnation } = owed
    owed.underWay = true
    this.#options
      .nodeGone(node, incarnation)
      .then(() => ranges.mutate(FIRST_KEY, { type: 'routed', key: FIRST_KEY, node, incarnation }))
      .catch((error: unknown) => {
        const message = `Could not take back the routes of node ${node}: it is tried again`
        this.#options.log.warn({ err: error, host: node }, message)
      })
      .finally(() => {
        owed.underWay = false
        owed.againMs = this.#options.clock.monotonic() + AGAIN_MS
      })
  }
}
