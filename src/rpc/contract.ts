/**
 * What the layers above see of other nodes: typed channels, and one {@link Peers} to send on them.
 *
 * Everything on a message's path is batched: what is sent in one turn to one node travels in one frame. A call for this
 * very node is a direct call: nothing is encoded, and deadline, cancellation and errors are the same.
 */
import type { BrokerError } from '../base/errors.ts'
import type { HostId } from '../base/ids.ts'
import type { MetricSource } from '../base/metrics.ts'

/** Each has a connection of its own to each node, so that a snapshot cannot delay a heartbeat. */
export type LinkKind = 'raft' | 'deliveries' | 'bulk'

/** How a value becomes bytes inside a frame. A value that goes to this very node is handed over as it is. */
export interface Codec<Value> {
  /** What {@link write} will need, exactly. */
  bytes(value: Value): number
  write(target: Buffer, offset: number, value: Value): void
  /** `source` is a view of a frame: what is kept for long is copied. May throw: the message is refused and counted. */
  read(source: Buffer): Value
}

interface ChannelBase {
  /** 1-255, the same on every node and for ever: see channels.ts. */
  number: number
  /** For metrics and logs. */
  name: string
  kind: LinkKind
}

/** One-way messages. In order per (sender, kind); at most once; lost only with a report to `discarded`. */
export interface MessageChannel<Message> extends ChannelBase {
  type: 'message'
  message: Codec<Message>
}

/** Requests with one answer each. Sent in order; answers come in any order. */
export interface RequestChannel<Request, Answer> extends ChannelBase {
  type: 'request'
  request: Codec<Request>
  answer: Codec<Answer>
}

/** A request whose answer is a stream of chunks, which comes as fast as the receiver grants credit. */
export interface StreamChannel<Request, Chunk> extends ChannelBase {
  type: 'stream'
  request: Codec<Request>
  chunk: Codec<Chunk>
}

export type DiscardReason =
  /** The peer has started again, or is gone for good. What was sent may have arrived. */
  | 'incarnation-gone'
  /** The peer has forgotten this link. What was sent may have arrived. */
  | 'session-lost'
  /** This node is closing. */
  | 'closed'

/** Why a message was not taken; `accepted`: it is in the link's buffer (or delivered, on this very node). */
export type SendResult = 'accepted' | 'buffer-full' | 'unknown-peer' | 'too-large' | 'closed'

export interface MessageHandler<Message> {
  /** Called in order for each message of a node. Answers at once: what it keeps, it bounds. */
  received(from: HostId, message: Message): void
}

export interface DiscardObserver<Message> {
  /** Was accepted by `send`, and is given up: it may have arrived, and is never sent again. */
  discarded(to: HostId, message: Message, reason: DiscardReason): void
}

/**
 * `answer` is null where there is an `error`: TIMEOUT (deadline), UNAVAILABLE (peer gone, may have been applied),
 * OVERLOADED (never sent), CANCELLED, CLOSED, or what the handler failed with. Never called before `request` returns.
 */
export type AnswerCallback<Answer> = (error: BrokerError | null, answer: Answer | null) => void

export interface CallOptions {
  /** From now, milliseconds; then TIMEOUT. The handler sees it, and is told when nobody waits any more. */
  deadlineMs: number
}

/** A request under way. */
export interface PendingCall {
  /** The callback gets CANCELLED, and the handler is told. Does nothing after the answer. */
  cancel(): void
}

/** A request as its handler sees it; answered once, everything after that does nothing. */
export interface IncomingCall<Answer> {
  readonly from: HostId
  /** Monotonic milliseconds at which the caller gives up. */
  readonly deadlineMs: number
  /** True once nobody waits for the answer any more. */
  readonly cancelled: boolean
  /** Set by a handler that wants to stop work when nobody waits any more. */
  onCancel: (() => void) | null
  answer(value: Answer): void
  /** The error arrives with its code, message and hint. */
  fail(error: BrokerError): void
}

export type RequestHandler<Request, Answer> = (request: Request, call: IncomingCall<Answer>) => void

export interface StreamOptions {
  /** What may come before the first grant. At least one chunk always may. */
  creditBytes: number
  /** Longest time without a chunk while credit is out; then TIMEOUT. */
  idleMs: number
}

/** Receives a stream. */
export interface StreamReceiver<Chunk> {
  /** `bytes` is what to {@link StreamCall.grant} again once the chunk is dealt with. */
  chunk(chunk: Chunk, bytes: number): void
  /** The last call; null: the sender ended it, and everything arrived. */
  ended(error: BrokerError | null): void
}

/** A stream under way, as its receiver holds it. */
export interface StreamCall {
  grant(bytes: number): void
  cancel(): void
}

/** A stream as its handler sees it. */
export interface StreamSink<Chunk> {
  readonly from: HostId
  readonly cancelled: boolean
  onCancel: (() => void) | null
  /** Called when {@link ready} has become true again. */
  onReady: (() => void) | null
  /** True while there is credit and room: write only then. */
  readonly ready: boolean
  write(chunk: Chunk): void
  end(): void
  fail(error: BrokerError): void
}

export type StreamHandler<Request, Chunk> = (request: Request, sink: StreamSink<Chunk>) => void

/** Where a node is to be reached. */
export interface PeerAddress {
  node: HostId
  /** `host:port` of its rpc listener; an IPv6 host in brackets. */
  address: string
}

export type LinkState =
  /** Nothing was sent yet. */
  | 'idle'
  | 'connecting'
  | 'open'
  /** Between two attempts. */
  | 'waiting'
  /** The peer does not accept this node (secret, cluster, stale incarnation). Tried again all the same. */
  | 'refused'

/** The other nodes. One for each process. */
export interface Peers extends MetricSource {
  /** This very node. */
  readonly node: HostId

  /** From now on this node is known, at this address. Idempotent; a new address is used from the next attempt on. */
  join(peer: PeerAddress): void
  /** This node is gone: what waits for it is discarded and reported. It may come back, and is to be joined again. */
  forget(node: HostId): void
  /** This node id was decommissioned: forgotten, and never let in again. */
  ban(node: HostId): void
  /** A hint that the node may be reached again: waiting links try at once. */
  alive(node: HostId): void

  /** One handler per channel, before the first message can come. */
  handleMessages<Message>(channel: MessageChannel<Message>, handler: MessageHandler<Message>): void
  handleRequests<Request, Answer>(
    channel: RequestChannel<Request, Answer>,
    handler: RequestHandler<Request, Answer>,
  ): void
  handleStreams<Request, Chunk>(channel: StreamChannel<Request, Chunk>, handler: StreamHandler<Request, Chunk>): void
  /** Whoever wants to know of accepted messages that were given up. Without one they are only counted. */
  observeDiscards<Message>(channel: MessageChannel<Message>, observer: DiscardObserver<Message>): void

  /** Hot: allocates nothing but room in the frame that leaves at the end of this turn. */
  send<Message>(to: HostId, channel: MessageChannel<Message>, message: Message): SendResult
  /** Calls back once, right before the frames of this turn leave: for whoever gathers small things into one message. */
  beforeFrames(callback: () => void): void
  request<Request, Answer>(
    to: HostId,
    channel: RequestChannel<Request, Answer>,
    request: Request,
    options: CallOptions,
    callback: AnswerCallback<Answer>,
  ): PendingCall
  open<Request, Chunk>(
    to: HostId,
    channel: StreamChannel<Request, Chunk>,
    request: Request,
    options: StreamOptions,
    receiver: StreamReceiver<Chunk>,
  ): StreamCall

  /** Bytes that wait for an acknowledgement of the peer; to slow down before `buffer-full`. */
  bufferedBytes(to: HostId, kind: LinkKind): number
  linkState(to: HostId, kind: LinkKind): LinkState
  /** Tells when a link opens or breaks: a broken one to a leader's node is a reason to look for another leader. */
  watchLinks(watcher: (node: HostId, kind: LinkKind, state: LinkState) => void): () => void
}
