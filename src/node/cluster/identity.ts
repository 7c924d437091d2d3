import type { HostRecord, Metadata, UnderlayPort } from '../../cluster/underlay/index.ts'
import { addressOf, endpointOf } from '../../cluster/underlay/shell/addresses.ts'

/** What a node tells the others of itself, in the metadata of its host. */
export interface NodeIdentity {
  name: string
  version: string
  /** Null: not told. */
  zone: string | null
  /** The services that it runs. */
  roles: readonly string[]
  /**
   * Where its rpc listener is: `host:port`, or a port alone, at the address of the host, which may change while it
   * runs. Null: not told.
   */
  rpc: string | null
}

/** Each entry costs of the 512 bytes that a host may tell. */
export function metadataOf({ name, version, zone, roles, rpc }: NodeIdentity): Metadata {
  const entries: [string, string | null][] = [
    ['name', name],
    ['version', version],
    ['zone', zone],
    ['roles', roles.join(',')],
    ['rpc', rpc],
  ]
  return new Map(entries.filter((entry): entry is [string, string] => entry[1] !== null))
}

/** What that host tells; a host of another version may tell less. */
export function identityOf({ metadata, id }: HostRecord): NodeIdentity {
  return {
    name: metadata.get('name') ?? id,
    version: metadata.get('version') ?? '',
    zone: metadata.get('zone') ?? null,
    roles: (metadata.get('roles') ?? '').split(',').filter((role) => role !== ''),
    rpc: metadata.get('rpc') ?? null,
  }
}

/** Hosts that are not known to be dead, this one among them. */
export function livingHosts(underlay: Pick<UnderlayPort, 'self' | 'members'>): HostRecord[] {
  const others = underlay.members().filter(({ state }) => state === 'alive' || state === 'suspect')
  return [underlay.self, ...others]
}

/** `host:port` of its rpc listener; null where it tells none. */
export function rpcAddressOf(host: HostRecord): string | null {
  const rpc = host.metadata.get('rpc') ?? ''
  if (!/^\d+$/.test(rpc)) return rpc === '' ? null : rpc
  return addressOf(endpointOf(host.address).host, Number(rpc))
}
