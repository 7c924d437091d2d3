import type { HostId } from '../../base/ids.ts'
import { CHANNEL, type MessageChannel, type Peers } from '../../rpc/index.ts'
import type { Packet } from '../store/packet.ts'
import type { Store } from '../store/store.ts'
import { BYTES } from './bytes-codec.ts'
import { decodePackets, encodePackets } from './packet-codec.ts'

const RAFT: MessageChannel<Uint8Array> = {
  type: 'message',
  number: CHANNEL.raft,
  name: 'raft',
  kind: 'raft',
  message: BYTES,
}

/** On a connection of its own, so that a state cannot delay a heartbeat. */
const SNAPSHOT: MessageChannel<Uint8Array> = {
  type: 'message',
  number: CHANNEL.snapshot,
  name: 'snapshot',
  kind: 'bulk',
  message: BYTES,
}

/** Carries a store's packets to other stores and back: a store is named by its host. */
export class StoreLinks {
  readonly #peers: Peers
  /** Packets that a link did not take: consensus sends again what matters. */
  refused = 0
  /** Frames that could not be read. */
  malformed = 0

  constructor(peers: Peers) {
    this.#peers = peers
  }

  /** From now on what comes in goes to `store`; a connection that breaks is a reason to look for other leaders. */
  attach(store: Store): void {
    const received = (from: HostId, frame: Uint8Array) => {
      let packets: Packet[]
      try {
        packets = decodePackets(frame)
      } catch {
        this.malformed++
        return
      }
      store.receive(from, packets)
    }
    this.#peers.handleMessages(RAFT, { received })
    this.#peers.handleMessages(SNAPSHOT, { received })
    this.#peers.watchLinks((node, kind, state) => {
      if (kind === 'raft' && state === 'waiting') store.suspect(node)
    })
  }

  /** The store's way out: see {@link StoreOptions.send}. */
  readonly send = (to: string, packets: readonly Packet[]): void => {
    const states = packets.filter(({ type }) => type === 'snapshot')
    const rest = states.length === 0 ? packets : packets.filter(({ type }) => type !== 'snapshot')
    if (rest.length > 0) this.#send(to, RAFT, rest)
    // One by one: each is as large as a frame may be.
    for (const state of states) this.#send(to, SNAPSHOT, [state])
  }

  #send(to: string, channel: MessageChannel<Uint8Array>, packets: readonly Packet[]): void {
    if (this.#peers.send(to as HostId, channel, encodePackets(packets)) !== 'accepted') this.refused++
  }
}
