export { ACK_BYTES_MAX, AckView, isPingreq, parseAck, writeAck, writePingresp } from './ack.ts'
export { decodePacket } from './decode.ts'
export { encodePacket, encodeWithin } from './encode.ts'
export {
  FRAME_MALFORMED,
  FRAME_MORE,
  FRAME_READY,
  FRAME_TOO_LARGE,
  FrameReader,
  type FrameStatus,
} from './frame.ts'
export type * from './packet.ts'
export { type Direction, PACKET, type ProtocolVersion } from './packet-type.ts'
export { checkTopicName, forwardProperties, PublishView, parsePublish } from './publish.ts'
export { PublishOut, publishSize, writePublish } from './publish-out.ts'
export { connackReturnCode, isReasonAllowed, REASON, type ReasonCode, reasonName } from './reason.ts'
export { isStrictUtf8 } from './utf8.ts'
