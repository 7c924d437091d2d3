import type { Clock } from '../../base/clock.ts'
import type { MergingHost } from './merge.ts'
import type { MergeAnswer, MergeAsk, Packet } from './packet.ts'

export interface MergeLoopOptions {
  storeId: string
  clock: Clock
  send(store: string, packet: Packet): void
  host(range: string): MergingHost | undefined
  /** Whether the range became a part of another one. */
  isAbsorbed(range: string): boolean
  /** Asks for a turn of the store's loop. */
  schedule(): void
}

/** The right range serves nobody while a merge is under way, so its leader is asked often. */
const ASK_MS = 50

/** Moves the merges of the ranges that this store leads, until each has come to its end. Decides nothing. */
export class MergeLoop {
  readonly #options: MergeLoopOptions
  readonly #hosts = new Set<MergingHost>()
  #stop: (() => void) | null = null

  constructor(options: MergeLoopOptions) {
    this.#options = options
  }

  /** The range may have something to bring to its end. */
  watch(host: MergingHost): void {
    if (!host.merger.busy) return
    this.#hosts.add(host)
    this.#stop ??= this.#options.clock.after(0, () => this.#tick())
  }

  take(from: string, packet: MergeAsk | MergeAnswer): void {
    const { host, isAbsorbed } = this.#options
    const found = host(packet.range)
    if (packet.type === 'merge-answer') return found?.merger.answered(packet)
    const { left, version, range: right, thaw } = packet
    const answer = found?.merger.asked(packet) ?? null
    if (answer !== null) this.#send(from, answer)
    else if (found === undefined && thaw && isAbsorbed(right)) {
      // By another range: so it was thawed before.
      const none = { descriptor: null, index: 0, term: 0, reason: '' }
      this.#send(from, { type: 'merge-answer', range: left, right, version, state: 'thawed', ...none })
    }
  }

  stop(): void {
    this.#stop?.()
    this.#hosts.clear()
  }

  #tick(): void {
    this.#stop = null
    const { clock, host, schedule } = this.#options
    for (const left of this.#hosts) {
      const { taking } = left.range.merge
      if (!left.merger.busy || taking === null || host(left.id) !== left) {
        this.#hosts.delete(left)
        continue
      }
      const ask = left.merger.tick(clock.monotonic(), host(taking.right))
      if (ask !== null) for (const store of ask.stores) this.#send(store, ask)
    }
    schedule()
    if (this.#hosts.size > 0) this.#stop ??= clock.after(ASK_MS, () => this.#tick())
  }

  #send(store: string, packet: MergeAsk | MergeAnswer): void {
    if (store === this.#options.storeId) this.take(store, packet)
    else this.#options.send(store, packet)
  }
}
