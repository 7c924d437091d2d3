export type { UnderlayHostOptions, UnderlayNotice, UnderlayPort } from './contract.ts'
export {
  type Address,
  type ClusterId,
  type ClusterIdentity,
  type HostRecord,
  type HostState,
  type HostView,
  METADATA_BYTES_MAX,
  type Metadata,
  PAYLOAD_BYTES_MAX,
  PAYLOAD_DATAGRAM_BYTES,
} from './core/index.ts'
export { UnderlayHost } from './underlay-host.ts'
