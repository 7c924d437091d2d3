export type * from './effects.ts'
export type { ClusterIdentity } from './forming.ts'
export {
  type Address,
  type ClusterId,
  type HostRecord,
  type HostState,
  type HostView,
  isAddress,
  METADATA_BYTES_MAX,
  type Metadata,
  metadataBytes,
} from './host.ts'
export { MESSAGE_BYTES_MAX as PAYLOAD_BYTES_MAX, PAYLOAD_DATAGRAM_BYTES } from './message.ts'
export { LAN, type SwimOptions } from './options.ts'
export { type Input, type Persistent, type Ready, Underlay, type UnderlayOptions } from './underlay.ts'
export { FRAME_BYTES_MAX } from './wire.ts'
