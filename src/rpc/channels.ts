/**
 * The numbers of the channels on the wire: never changed, never used for something else. Names only; what travels on
 * them is the business of the folder that declares the channel.
 */
export const CHANNEL = {
  /** kv: the Raft messages of all groups of two stores. */
  raft: 1,
  /** kv: batches of commands for a range. */
  propose: 2,
  /** kv: reads. */
  query: 3,
  /** kv: chunks of a range's snapshot. */
  snapshot: 4,
  /** kv: match leases and node leases. */
  lease: 5,
  /** mqtt: messages for subscribers of another node. */
  deliver: 6,
  /** mqtt: the registry of transient clients. */
  clients: 7,
  /** mqtt: a message for one member of a shared group of another node. */
  group: 8,
  /** dist: matches for a node without leases of its own. */
  match: 9,
  /** dist: changes of routes for nodes without a replica. */
  routeFeed: 10,
  /** inbox: what is pushed to a session's node. */
  inboxFeed: 11,
  /** retain: matches of a wildcard, streamed. */
  retained: 12,
  /** inbox: what a session's node asks of a range's leader; QoS 0 for a session there. */
  inboxWatch: 14,
  /** api: a question to one node of the cluster. */
  control: 13,
} as const
