import { assert } from '../../../base/assert.ts'
import type { Brand, HostId } from '../../../base/ids.ts'

/** Where a host listens, UDP and TCP: `10.0.0.1:7946` or `[fd00::1]:7946`. Always an IP address, never a DNS name. */
export type Address = Brand<'Address'>
/** Random, chosen when a cluster forms: tells two clusters of one name apart. */
export type ClusterId = Brand<'ClusterId'>

/** What a host tells of itself: roles, zone, version, rpc address. At most {@link METADATA_BYTES_MAX} on the wire. */
export type Metadata = ReadonlyMap<string, string>

/** As memberlist's MetaMaxSize: a record must always fit into a datagram. */
export const METADATA_BYTES_MAX = 512
/** The wire's limit; the counter rises by 1 for each refutation or change, so it is never reached. */
export const INCARNATION_MAX = 2 ** 47

export type HostState = 'alive' | 'suspect' | 'dead' | 'left'

/** What a host last said of itself. Only the host makes these, each with an incarnation of its own. */
export interface HostRecord {
  readonly id: HostId
  readonly incarnation: number
  /** See {@link lifeOf}: another one means that the process was restarted, or that two hosts have one id. */
  readonly life: number
  readonly address: Address
  readonly metadata: Metadata
}

/** A host as others see it. */
export interface HostView extends HostRecord {
  readonly state: HostState
  /** Of the state: equal to the record's or, after a change that was not seen, above it. */
  readonly stateIncarnation: number
}

/**
 * Names one life of a process, at most 2^53 - 1: the later life has the greater number wherever clocks are right, and
 * two copies of one data folder that start in the same millisecond still differ, mostly.
 * @param startedMs wall clock at the start, ms since 1970
 * @param salt random, in [0, 4096)
 */
export function lifeOf(startedMs: number, salt: number): number {
  assert(salt >= 0 && salt < 4_096, 'The salt of a life must be below 4,096')
  return Math.min(Math.max(0, Math.floor(startedMs)), 2 ** 41 - 1) * 4_096 + Math.floor(salt)
}

/** At one incarnation the worse state wins, and only the host itself can go on: by a higher one. */
const RANK: Readonly<Record<HostState, number>> = { alive: 0, suspect: 1, dead: 2, left: 3 }

/**
 * True where (incarnation, state) a overrides b. A total order, so that views become equal whatever the order in which
 * news arrives. Source: SWIM 4.2.
 */
export function overrides(
  a: { incarnation: number; state: HostState },
  b: { incarnation: number; state: HostState },
): boolean {
  if (a.incarnation !== b.incarnation) return a.incarnation > b.incarnation
  return RANK[a.state] > RANK[b.state]
}

/** On the wire. */
export function metadataBytes(metadata: Metadata): number {
  let bytes = 0
  for (const [key, value] of metadata) bytes += 4 + Buffer.byteLength(key) + Buffer.byteLength(value)
  return bytes
}

export function sameMetadata(a: Metadata, b: Metadata): boolean {
  if (a.size !== b.size) return false
  for (const [key, value] of a) if (b.get(key) !== value) return false
  return true
}

/**
 * The text form that packets may carry: an IP address and a port, never a name, so that nobody can make us look one up.
 * The form of an IPv6 address is checked by its letters only.
 */
export function isAddress(text: string): boolean {
  const match = /^(?:(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})|\[[0-9a-f.]{0,15}:[0-9a-f:.]{1,39}\]):(\d{1,5})$/i.exec(
    text,
  )
  if (match === null) return false
  for (let octet = 1; octet <= 4; octet++) if (Number(match[octet] ?? 0) > 255) return false
  const port = Number(match[5])
  return port >= 1 && port <= 65_535
}
