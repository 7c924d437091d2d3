import { assert } from '../../../base/assert.ts'

/** The numbers of the overlay. All times in milliseconds. */
export interface OverlayOptions {
  /** Every so often a whole digest goes to one random host. */
  syncIntervalMs: number
  /** While there is news, what changed is told to `gossipHosts` hosts so often. */
  gossipIntervalMs: number
  gossipHosts: number
  /** See {@link gossipRounds}. */
  retransmitMultiplier: number
  /** News of one turn leave together. */
  batchMs: number
  /** What was asked for and did not come is asked for again after this; until then nobody else is. */
  askTimeoutMs: number
  /** So many questions are asked, or asked again, in one gossip interval. */
  asksMax: number
  /** A deleted key is remembered for so long; a peer that missed it by then gets all entries of its owner again. */
  tombstoneKeepMs: number
  /** Digests and rumours keep below: together with the underlay's header they fit a datagram. */
  packetBytesMax: number
  /** One answer; what does not fit a datagram goes over TCP. */
  answerBytesMax: number
  /** Expired hints are looked for so often. */
  hintSweepMs: number
  /** A hint from further in the future than this is refused: its writer's clock is wrong. */
  clockDriftMsMax: number
}

export const LAN: Readonly<OverlayOptions> = {
  syncIntervalMs: 1_000,
  gossipIntervalMs: 200,
  gossipHosts: 3,
  retransmitMultiplier: 4,
  batchMs: 10,
  askTimeoutMs: 200,
  asksMax: 16,
  tombstoneKeepMs: 60_000,
  packetBytesMax: 1_150,
  answerBytesMax: 60_000,
  hintSweepMs: 1_000,
  clockDriftMsMax: 300_000,
}

/** Names of agents, keys of entries and hints, in bytes of UTF-8. */
export const KEY_BYTES_MAX = 256
/** Of an entry, or of a member's metadata. */
export const VALUE_BYTES_MAX = 16_384
/** Of one host: its entries with their tombstones. */
export const HOST_ENTRIES_MAX = 8_192
export const HOST_BYTES_MAX = 1_048_576
/** Remembered deletions of one host; one more, and the oldest is given up before its time. */
export const TOMBSTONES_MAX = 1_024
/** Hosts beside ourselves, as the underlay has them; one more is not replicated, and counted. */
export const HOSTS_MAX = 1_024
/** Hints with their tombstones; at the limit the oldest make room, everywhere the same. */
export const HINTS_MAX = 4_096
export const HINT_VALUE_BYTES_MAX = 1_024
/** Every hint expires; its writer sets it again where it is to last. */
export const HINT_TTL_MS_MAX = 3_600_000
/** Versions on the wire are at most this; an owner counts from 0, by 1 for each write. */
export const VERSION_MAX = 2 ** 48
/** A version that leaps further than this beyond what is known is a lie. */
export const VERSION_LEAP_MAX = 2 ** 40

export function checkOverlayOptions(options: OverlayOptions): void {
  assert(options.gossipIntervalMs <= options.syncIntervalMs, 'News must be told at least as often as digests')
  assert(options.gossipHosts >= 1, 'News must be told to one host at least')
  // The 256 sums of the hints take 1,024 bytes.
  assert(options.packetBytesMax >= 1_100, 'A packet must hold the sums of the hints: 1,100 bytes at least')
  const largest = KEY_BYTES_MAX + VALUE_BYTES_MAX + 256
  assert(
    options.answerBytesMax >= largest && options.answerBytesMax <= 65_000,
    'An answer must hold one entry at least',
  )
}

/**
 * For how many gossip intervals a host tells one piece of news: as often as SWIM retransmits a rumour,
 * `multiplier * ceil(log10(hosts + 1))`, to so many hosts at a time.
 */
export function gossipRounds(hosts: number, options: OverlayOptions): number {
  return Math.ceil((options.retransmitMultiplier * Math.ceil(Math.log10(hosts + 1))) / options.gossipHosts)
}
