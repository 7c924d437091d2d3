import { Buffer } from 'node:buffer'
import type { AcceptWire, LinkTransport, WireEvents } from '../../src/rpc/link/transport.ts'
import type { World } from './world.ts'

/**
 * A connection: packets in order, until it is cut; then each end hears of it late, or never. While a way is blocked its
 * packets wait, as those of TCP do, which sends them again.
 */
export class SimWire {
  readonly #world: World
  readonly #arrivals = [0, 0]
  readonly #ends: [WireEvents, WireEvents]
  readonly #open = [true, true]
  readonly #held: [(() => void)[], (() => void)[]] = [[], []]
  readonly #isBlocked: (side: 0 | 1) => boolean
  #cut = false

  /** @param isBlocked whether what that side sends does not arrive now: 0 is the dialler */
  constructor(
    world: World,
    dialler: WireEvents,
    listener: WireEvents,
    isBlocked: (side: 0 | 1) => boolean = () => false,
  ) {
    this.#world = world
    this.#ends = [dialler, listener]
    this.#isBlocked = isBlocked
  }

  get alive(): boolean {
    return !this.#cut && (this.#open[0]! || this.#open[1]!)
  }

  write(side: 0 | 1, bytes: Buffer): void {
    if (!this.#open[side]) return
    const copy = Buffer.from(bytes)
    this.#arrive(side, () => this.#ends[1 - side]!.packet(copy))
  }

  /** A clean close: what was written before it arrives. */
  close(side: 0 | 1): void {
    if (!this.#open[side]) return
    this.#open[side] = false
    this.#arrive(side, () => {
      this.#open[1 - side] = false
      this.#ends[1 - side]!.closed('closed by the peer')
    })
  }

  /** Nothing that is on its way arrives any more: any prefix of what each side wrote has. */
  cut(silent: boolean): void {
    this.#cut = true
    if (silent) return
    for (const side of [0, 1]) {
      if (!this.#open[side]) continue
      this.#world.clock.after(this.#world.random.below(30), () => {
        if (!this.#open[side]) return
        this.#open[side] = false
        this.#ends[side]!.closed('cut')
      })
    }
  }

  /** What was held back arrives where nothing blocks it any more. */
  release(): void {
    for (const side of [0, 1] as const) {
      if (this.#isBlocked(side)) continue
      for (const deliver of this.#held[side].splice(0)) this.#arrive(side, deliver)
    }
  }

  #arrive(side: 0 | 1, deliver: () => void): void {
    const nowMs = this.#world.clock.monotonic()
    const atMs = Math.max(this.#arrivals[side]!, nowMs + 0.2 + this.#world.random.float() * 5)
    this.#arrivals[side] = atMs
    this.#world.clock.after(atMs - nowMs, () => {
      if (this.#cut || !this.#open[1 - side]) return
      if (this.#held[side].length > 0 || this.#isBlocked(side)) this.#held[side].push(deliver)
      else deliver()
    })
  }
}

/** The connections of the simulated world: who listens where, who reaches whom. Carries links (`LinkTransport`). */
export class Wires {
  readonly #world: World
  readonly #listeners = new Map<string, AcceptWire>()
  readonly #wires = new Map<SimWire, { from: string; to: string }>()
  readonly #blocked = new Set<string>()
  readonly #silenced = new Set<string>()

  constructor(world: World) {
    this.#world = world
  }

  /** `address` is the name under which it is dialled. The returned function ends it, as the end of its process does. */
  listen(address: string, accept: AcceptWire): () => void {
    this.#listeners.set(address, accept)
    return () => {
      if (this.#listeners.get(address) === accept) this.#listeners.delete(address)
      for (const [wire, { from, to }] of this.#wires) if (from === address || to === address) this.#end(wire)
    }
  }

  /** For the process that listens at `from`. */
  transport(from: string): LinkTransport {
    return {
      dial: (target, events) => {
        const to = target.address
        let wire: SimWire | null = null
        let open = true
        this.#world.clock.after(this.#world.random.below(10), () => {
          if (!open) return
          // Whoever cannot be asked, or cannot answer, says nothing: the dialler loses patience.
          if (this.#silenced.has(`${from}>${to}`) || this.#silenced.has(`${to}>${from}`)) return
          const accept = this.#listeners.get(to)
          if (accept === undefined || this.#blocked.has(`${from}>${to}`)) {
            events.closed('refused')
            return
          }
          wire = this.#connect(from, to, events, accept)
          events.connected()
        })
        return {
          write: (bytes) => wire?.write(0, bytes),
          close: () => {
            open = false
            wire?.close(0)
          },
        }
      },
    }
  }

  /** Cuts each connection with a chance; some are never heard of again by either side. */
  cutSome(percent: number): void {
    for (const wire of this.#wires.keys()) {
      if (!wire.alive) this.#wires.delete(wire)
      else if (this.#world.random.below(100) < percent) this.#end(wire)
    }
  }

  /** From now on the two groups do not reach each other. */
  partition(left: readonly string[], right: readonly string[]): void {
    for (const a of left) for (const b of right) for (const way of [`${a}>${b}`, `${b}>${a}`]) this.#blocked.add(way)
    for (const [wire, { from, to }] of this.#wires) if (this.#blocked.has(`${from}>${to}`)) this.#end(wire)
  }

  heal(): void {
    this.#blocked.clear()
    this.#silenced.clear()
    for (const wire of this.#wires.keys()) wire.release()
  }

  /** From now on nothing arrives that `from` sends to `to`, and nobody hears of it. */
  silence(from: string, to: string): void {
    this.#silenced.add(`${from}>${to}`)
  }

  /** Undoes {@link silence}. */
  restore(from: string, to: string): void {
    if (!this.#silenced.delete(`${from}>${to}`)) return
    for (const wire of this.#wires.keys()) wire.release()
  }

  #connect(from: string, to: string, dialler: WireEvents, accept: AcceptWire): SimWire {
    let accepted: WireEvents | null = null
    const listener: WireEvents = {
      packet: (bytes) => accepted!.packet(bytes),
      closed: (reason) => accepted!.closed(reason),
    }
    const isBlocked = (side: 0 | 1) => this.#silenced.has(side === 0 ? `${from}>${to}` : `${to}>${from}`)
    const wire: SimWire = new SimWire(this.#world, dialler, listener, isBlocked)
    accepted = accept({ write: (bytes) => wire.write(1, bytes), close: () => wire.close(1) })
    this.#wires.set(wire, { from, to })
    return wire
  }

  #end(wire: SimWire): void {
    this.#wires.delete(wire)
    wire.cut(this.#world.random.below(5) === 0)
  }
}
