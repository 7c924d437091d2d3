/** What the overlay counts, in plain fields: the host gives them to the metrics. */
export class OverlayCounters {
  payloadsSent = 0
  payloadBytesSent = 0
  payloadsReceived = 0
  payloadBytesReceived = 0

  digestsSent = 0
  deltasSent = 0
  /** Entries, with tombstones, that were sent for other hosts or ourselves, and those that were news here. */
  entriesSent = 0
  entriesApplied = 0
  hintsSent = 0
  hintsApplied = 0
  /** Other hosts' entries taken over as a whole, since we were behind a tombstone. */
  resets = 0

  /** Payloads that cannot be read; nothing of them is used. */
  malformed = 0
  /** Payloads from hosts that the underlay does not show, and messages of a later version. */
  strangers = 0
  unknownMessages = 0
  /** Deltas not used: of a host or a life that is not here, already known, not adjoining what is known. */
  foreignDeltas = 0
  staleDeltas = 0
  gaps = 0
  /** Deltas refused for a limit, or for a version that leaps. */
  refusedDeltas = 0
  /** Somebody claimed a later version of our own entries than we wrote: all were written again above it. */
  refutations = 0
  hostsRefused = 0
  /** Hints not used: from the future, or over already. */
  hintsAhead = 0
  hintsLate = 0
  /** Hints that the limit pushed out before their time. */
  hintsEvicted = 0
}
