import type { Answer, Ask, NodeIncarnation, Refused } from './contract.ts'
import { Grants } from './grants.ts'
import { type LeaseOptions, NODE_LEASE } from './options.ts'

interface Tracked {
  incarnation: number
  /** A session of this range is attached there: it is fenced when its leases have ended, else only forgotten. */
  attached: boolean
  /** Leases of others than this leader end by then. */
  untilMs: number
  /** Held for gone. It stays so until the fence is committed: an entry under way cannot be called back. */
  fencing: boolean
}

/**
 * The leader's side of node leases, for one term of a range of `inbox`: which nodes may act on its sessions, and which
 * are gone, so that their sessions are detached, their wills fire and their routes are swept.
 *
 * A node is held for gone when every lease it may have has ended on this leader's clock: by then it has closed what
 * rested on them. A new incarnation of a host shows at once that the old one is gone. A fence is a committed entry: the
 * host proposes what {@link toFence} says until {@link fenced} is told, and the next leader knows it from its state.
 */
export class NodeLeader {
  readonly #options: LeaseOptions
  readonly #grants: Grants
  readonly #electedMs: number
  readonly #nodes = new Map<string, Tracked>()
  /** Older incarnations of hosts that came back, which have sessions here. */
  #replaced: NodeIncarnation[] = []
  /** By host: this incarnation and those before it are fenced. */
  readonly #fenced = new Map<string, number>()
  #ready = false
  #version = 0

  /** @param electedMs see {@link Grants} */
  constructor(electedMs: number, options: LeaseOptions = NODE_LEASE) {
    this.#options = options
    this.#electedMs = electedMs
    this.#grants = new Grants(electedMs, options)
  }

  /**
   * The term's first entry is applied.
   *
   * @param attached nodes that have sessions here
   * @param fenced of each host, the highest incarnation that is fenced
   * @param version of the range's boundary
   */
  ready(attached: readonly NodeIncarnation[], fenced: readonly NodeIncarnation[], version: number): void {
    this.#ready = true
    this.#version = version
    this.#grants.ready()
    for (const { host, incarnation } of fenced) this.fenced(host, incarnation)
    this.adopt(attached, version, this.#electedMs)
  }

  confirmed(sentMs: number): void {
    this.#grants.confirmed(sentMs)
  }

  /** The clock may have stood still, and asks may lie unread: as if elected anew. */
  doubt(nowMs: number): void {
    this.#grants.doubt(nowMs)
    for (const node of this.#nodes.values()) node.untilMs = nowMs + this.#options.leaseMs
  }

  /** Sessions came along: when a neighbour was merged into this range, whose leases may run still. */
  adopt(attached: readonly NodeIncarnation[], version: number, nowMs: number): void {
    this.#version = version
    for (const { host, incarnation } of attached) {
      this.attached(host, incarnation)
      const node = this.#nodes.get(host)
      if (node?.incarnation === incarnation) node.untilMs = Math.max(node.untilMs, nowMs + this.#options.leaseMs)
    }
  }

  /** The range ends elsewhere now: asks by the old boundary are refused. */
  bounded(version: number): void {
    this.#version = version
  }

  ask(ask: Ask, nowMs: number): Answer {
    const { holder, incarnation } = ask
    const refuse = (reason: Refused['reason']): Refused => ({
      type: 'refused',
      holder,
      incarnation,
      ask: ask.ask,
      reason,
    })
    if (!this.#ready) return refuse('not-ready')
    if (this.#isGone(holder, incarnation)) return refuse('fenced')
    this.#meet(holder, incarnation)
    if (ask.version !== this.#version) return refuse('version')
    const forMs = this.#grants.grant(key(holder, incarnation), 0, nowMs)
    if (forMs === null) return refuse('not-ready')
    return { type: 'granted', holder, incarnation, ask: ask.ask, index: 0, forMs }
  }

  /** Whether a session may be attached at that node: checked before the entry is proposed. */
  mayAttach(host: string, incarnation: number, nowMs: number): boolean {
    return !this.#isGone(host, incarnation) && this.#grants.endMs(key(host, incarnation), nowMs) !== null
  }

  /** An entry was applied that attached the node's first session here. */
  attached(host: string, incarnation: number): void {
    if (incarnation <= (this.#fenced.get(host) ?? -1)) return
    const node = this.#nodes.get(host)
    if (node !== undefined && node.incarnation > incarnation) {
      if (!this.#replaced.some((other) => other.host === host && other.incarnation === incarnation)) {
        this.#replaced.push({ host, incarnation })
      }
      return
    }
    this.#meet(host, incarnation)
    this.#nodes.get(host)!.attached = true
  }

  /** The node has no session here any more: its leases may end without a fence. */
  detached(host: string, incarnation: number): void {
    const node = this.#nodes.get(host)
    if (node?.incarnation === incarnation && !node.fencing) node.attached = false
    this.#replaced = this.#replaced.filter((other) => other.host !== host || other.incarnation !== incarnation)
  }

  /** Whom to fence: proposed again until it is committed. */
  toFence(nowMs: number): NodeIncarnation[] {
    if (!this.#ready) return []
    const gone = [...this.#replaced]
    for (const [host, node] of this.#nodes) {
      const endMs = this.#grants.endMs(key(host, node.incarnation), nowMs) ?? Number.NEGATIVE_INFINITY
      if (!node.fencing && (endMs > nowMs || node.untilMs > nowMs)) continue
      if (!node.attached) this.#nodes.delete(host)
      else {
        node.fencing = true
        gone.push({ host, incarnation: node.incarnation })
      }
    }
    return gone
  }

  /** The fence of this incarnation, and of those before it, is applied. */
  fenced(host: string, incarnation: number): void {
    this.#fenced.set(host, Math.max(incarnation, this.#fenced.get(host) ?? incarnation))
    if ((this.#nodes.get(host)?.incarnation ?? Number.POSITIVE_INFINITY) <= incarnation) this.#nodes.delete(host)
    this.#replaced = this.#replaced.filter((other) => other.host !== host || other.incarnation > incarnation)
  }

  /** When {@link toFence} may have more although nothing is heard; null = it has not. */
  nextMs(nowMs: number): number | null {
    const ends: number[] = []
    for (const [host, node] of this.#nodes) {
      if (!node.attached || node.fencing) continue
      ends.push(Math.max(node.untilMs, this.#grants.endMs(key(host, node.incarnation), nowMs) ?? nowMs))
    }
    return ends.length === 0 ? null : Math.min(...ends)
  }

  /** Leases run, or nodes are watched: the range does not sleep. */
  held(nowMs: number): boolean {
    return this.#grants.nextMs(nowMs) !== null || [...this.#nodes.values()].some(({ attached }) => attached)
  }

  #isGone(host: string, incarnation: number): boolean {
    if (incarnation <= (this.#fenced.get(host) ?? -1)) return true
    const node = this.#nodes.get(host)
    if (node === undefined) return false
    return incarnation < node.incarnation || (incarnation === node.incarnation && node.fencing)
  }

  /** Nobody of that host is known, or an older one, which is gone therefore. */
  #meet(host: string, incarnation: number): void {
    const node = this.#nodes.get(host)
    if (node?.incarnation === incarnation) return
    if (node?.attached) this.#replaced.push({ host, incarnation: node.incarnation })
    // It may have a lease of an older leader.
    const untilMs = this.#electedMs + this.#options.leaseMs
    this.#nodes.set(host, { incarnation, attached: false, untilMs, fencing: false })
  }
}

function key(host: string, incarnation: number): string {
  return `${host}\0${incarnation}`
}
