import type { ChannelOptions, MethodDefinition } from '@grpc/grpc-js'
import { serviceOf } from './contracts.ts'

/** HTTP/2 never holds a link back: its own credit does. Strangers are read as fast as they send, and buffer nothing. */
export const WINDOW_BYTES = 8 * 1024 * 1024

/** A frame and its header, with room: nobody sends more at once, least of all before a handshake. */
const PACKET_BYTES_MAX = 128 * 1024

const bytes = (value: Buffer) => value

/** Packets are bytes: link/core reads and writes them by itself. */
export const CONNECT: MethodDefinition<Buffer, Buffer> = {
  ...serviceOf('flockmq.link.v1.Link').Connect!,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
}

/** For both sides. */
export const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': PACKET_BYTES_MAX,
  'grpc.max_send_message_length': PACKET_BYTES_MAX,
  'grpc.enable_channelz': 0,
}
