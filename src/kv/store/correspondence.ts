import { unreachable } from '../../base/assert.ts'
import type { Message, ReplicaId } from '../raft/index.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Expected } from './audit.ts'
import type { Group } from './group.ts'
import type { Hosted } from './hosted.ts'
import type { MergeAnswer, MergeAsk, Packet } from './packet.ts'
import type { Absorption } from './raft-schema.ts'
import type { Snapshots } from './snapshots.ts'

/** A replica with a state, which can tell of its range. */
interface Informed {
  readonly group: Group
  readonly range: { readonly latest: RangeDescriptor }
  readonly halted: string | null
  readonly expected: Expected
}

export interface CorrespondenceOptions {
  snapshots: Snapshots
  /** Takes packets for another store; may lose, delay and repeat them. */
  send(store: string, packets: readonly Packet[]): void
  replica(range: string): Hosted | undefined
  informed(range: string): Informed | undefined
  wake(host: Hosted): void
  /** Somebody told of a range that has a place here. Which replica of it is gone from here for ever; 0: none. */
  meet(descriptor: RangeDescriptor): ReplicaId | 0
  /** The replica is no part of its group any more. */
  remove(host: Hosted): void
  /** What the range became a part of, as far as this store knows. */
  absorption(range: string): Absorption | null
  /** What a range became a part of, as another store knows. */
  absorbed(range: string, proof: Absorption): void
  merge(from: string, packet: MergeAsk | MergeAnswer): void
  /** The highest number of a replica that was here and is gone for ever; 0: none was. */
  erased(range: string): ReplicaId
  /** Takes the replica of that store out of a group that is led here. */
  replace(range: string, store: string): void
}

/**
 * What this store says to others and hears from them: packets to replicas, and how replicas that do not know each other
 * get acquainted. What one turn brings for a store travels together.
 */
export class Correspondence {
  readonly #options: CorrespondenceOptions
  readonly #outgoing = new Map<string, Packet[]>()

  constructor(options: CorrespondenceOptions) {
    this.#options = options
  }

  send(store: string, packet: Packet): void {
    const packets = this.#outgoing.get(store)
    if (packets === undefined) this.#outgoing.set(store, [packet])
    else packets.push(packet)
  }

  flush(): void {
    if (this.#outgoing.size === 0) return
    for (const [store, packets] of this.#outgoing) this.#options.send(store, packets)
    this.#outgoing.clear()
  }

  take(from: string, packet: Packet): void {
    switch (packet.type) {
      case 'raft':
        return this.#takeMessage(from, packet.range, packet.message)
      case 'stranger':
        return this.#introduce(from, packet.range, packet.replica)
      case 'introduction':
        return this.#meet(from, packet.descriptor)
      case 'gone': {
        const host = this.#options.replica(packet.range)
        if (host?.group.replica === packet.replica) this.#options.remove(host)
        return
      }
      case 'merged':
        return this.#options.absorbed(packet.range, { into: packet.into, version: packet.version })
      case 'merge-ask':
      case 'merge-answer':
        return this.#options.merge(from, packet)
      case 'audit':
        return this.#options.informed(packet.range)?.expected.expect(packet.index, packet.hash)
      case 'damaged':
        return this.#replace(from, packet.range, packet.replica)
      case 'snapshot':
        return this.#options.snapshots.receive(from, packet.toSender, packet.message)
      default:
        return unreachable(packet)
    }
  }

  #takeMessage(from: string, range: string, message: Message): void {
    const host = this.#options.replica(range)
    if (host === undefined && this.#arrives(range)) return
    const absorption = host === undefined ? this.#options.absorption(range) : null
    if (absorption !== null) return this.send(from, { type: 'merged', range, ...absorption })
    if (host === undefined || host.group.replica < message.to) {
      const type = this.#options.erased(range) >= message.to ? 'damaged' : 'stranger'
      return this.send(from, { type, range, replica: message.to })
    }
    if (host.group.isGone(message.from)) return this.send(from, { type: 'gone', range, replica: message.from })
    host.group.heardFrom(message.from, from)
    host.group.step({ type: 'message', message })
    this.#options.wake(host)
  }

  /** Only by a leader that is well itself: where all are halted, none is worse than the others. */
  #replace(from: string, range: string, replica: ReplicaId): void {
    const host = this.#options.informed(range)
    if (host === undefined || !host.group.leads || host.halted !== null) return
    const member = host.range.latest.replicas.some((each) => each.replica === replica && each.store === from)
    if (member) this.#options.replace(range, from)
  }

  /** A replica that is being given its state takes no part until then. */
  #arrives(range: string): boolean {
    for (const { id } of this.#options.snapshots.arriving()) if (id === range) return true
    return false
  }

  #meet(from: string, descriptor: RangeDescriptor): void {
    const replica = this.#options.meet(descriptor)
    if (replica > 0) this.send(from, { type: 'damaged', range: descriptor.id, replica })
  }

  #introduce(from: string, range: string, replica: ReplicaId): void {
    const host = this.#options.informed(range)
    const absorption = host === undefined ? this.#options.absorption(range) : null
    if (absorption !== null) this.send(from, { type: 'merged', range, ...absorption })
    if (host === undefined) return
    if (host.group.isGone(replica)) this.send(from, { type: 'gone', range, replica })
    else this.send(from, { type: 'introduction', descriptor: host.range.latest })
  }
}
