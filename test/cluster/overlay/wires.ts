import { seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import {
  type Input,
  LAN,
  OverlayCore,
  type OverlayEvent,
  type OverlayOptions,
  type Payload,
} from '../../../src/cluster/overlay/core/index.ts'
import type { Message } from '../../../src/cluster/overlay/core/message.ts'
import { decodePayload } from '../../../src/cluster/overlay/core/wire.ts'
import { bytes } from './sim-overlay.ts'

/** A few cores wired to each other, without an underlay: payloads arrive at once, and time goes on by hand. */
export class Wires {
  nowMs = 0
  readonly nodes: WiredNode[] = []
  /** What was sent, oldest first. */
  readonly sent: { from: HostId; to: HostId; bytes: Uint8Array; messages: Message[] }[] = []
  /** False: lost. */
  passes: (from: HostId, to: HostId) => boolean = () => true
  readonly options: Partial<OverlayOptions>
  readonly random = seededRandom(1)

  constructor(count: number, options: Partial<OverlayOptions> = {}) {
    this.options = options
    for (let index = 0; index < count; index++) this.nodes.push(new WiredNode(this, `h${index}` as HostId, 1))
    for (const node of this.nodes) for (const other of this.nodes) if (other !== node) node.up(other)
  }

  node(id: HostId): WiredNode | undefined {
    return this.nodes.find((node) => node.id === id)
  }

  run(ms: number): void {
    const endMs = this.nowMs + ms
    for (;;) {
      const next = this.nodes.reduce((a, b) => (a.core.deadlineMs() <= b.core.deadlineMs() ? a : b))
      if (next.core.deadlineMs() > endMs) break
      this.nowMs = Math.max(this.nowMs, next.core.deadlineMs())
      next.step({ type: 'tick' })
    }
    this.nowMs = endMs
  }

  deliver(from: WiredNode, payloads: readonly Payload[]): void {
    for (const { to, bytes: payload } of payloads) {
      this.sent.push({ from: from.id, to, bytes: payload, messages: decodePayload(payload)!.messages })
      if (this.passes(from.id, to)) this.node(to)?.step({ type: 'payload', from: from.id, payload })
    }
  }
}

export class WiredNode {
  readonly id: HostId
  readonly life: number
  readonly core: OverlayCore
  readonly events: OverlayEvent[] = []
  readonly #wires: Wires

  constructor(wires: Wires, id: HostId, life: number) {
    this.#wires = wires
    this.id = id
    this.life = life
    const { random } = wires
    this.core = new OverlayCore({ options: { ...LAN, ...wires.options }, random, host: id, life }, this.#now())
  }

  step(input: Input): void {
    this.core.step(input, this.#now())
    const { payloads, events } = this.core.ready()
    this.events.push(...events)
    this.#wires.deliver(this, payloads)
  }

  up(other: { id: HostId; life: number }): void {
    this.step({ type: 'host-up', host: other.id, life: other.life })
  }

  down(other: { id: HostId }): void {
    this.step({ type: 'host-down', host: other.id })
  }

  join(agent: string, metadata = ''): void {
    this.step({ type: 'join', agent, metadata: bytes(metadata) })
  }

  set(key: string, value = ''): void {
    this.step({ type: 'set', key, value: bytes(value) })
  }

  /** Events since the last call, without values. */
  told(): string[] {
    return this.events.splice(0).map((event) => {
      if ('agent' in event) return `${event.type} ${event.agent} ${event.host}`
      return `${event.type} ${event.key}${'host' in event ? ` ${event.host}` : ''}`
    })
  }

  #now(): { monotonicMs: number; wallMs: number } {
    return { monotonicMs: this.#wires.nowMs, wallMs: 1_000_000_000_000 + this.#wires.nowMs }
  }
}
