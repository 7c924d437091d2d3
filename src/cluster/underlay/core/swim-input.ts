import type { Command } from './effects.ts'
import type { Address } from './host.ts'
import type { Packet } from './message.ts'

/** All that can happen to a host's view of its cluster. */
export type SwimInput =
  | Command
  /** A datagram of our cluster. */
  | { type: 'packet'; from: Address; packet: Packet }
  /** A frame that came over TCP; answered in `answers` under the same number. */
  | { type: 'request'; request: number; packet: Packet }
  /** How an exchange ended; null: it failed. */
  | { type: 'exchanged'; exchange: number; packet: Packet | null }
  /** Where others may be: seeds are asked whenever they are no members, peers only by who sees nobody. */
  | { type: 'contacts'; seeds: readonly Address[]; peers: readonly Address[] }
  /** Exchange views with whoever is there, now. */
  | { type: 'visit'; address: Address }
