import { bytesCodec, CHANNEL, type Codec, type MessageChannel, type StreamChannel } from '../../rpc/index.ts'

/** The number of a stream: the letters that belong to it carry it too. */
const NUMBER: Codec<number> = {
  bytes: () => 6,
  write: (target, offset, value) => void target.writeUIntBE(value, offset, 6),
  read: (source) => source.readUIntBE(0, 6),
}

/** Opened by a node with sessions at each node that leads ranges of theirs. */
export const FEED: StreamChannel<number, Uint8Array> = {
  ...{ type: 'stream', number: CHANNEL.inboxFeed, name: 'inbox-feed', kind: 'deliveries' },
  ...{ request: NUMBER, chunk: bytesCodec },
}

/** In order with {@link FEED}: a letter never comes before the stream that it names. */
export const WATCH: MessageChannel<Uint8Array> = {
  ...{ type: 'message', number: CHANNEL.inboxWatch, name: 'inbox-watch', kind: 'deliveries' },
  message: bytesCodec,
}
