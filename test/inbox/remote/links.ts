import { BrokerError } from '../../../src/base/errors.ts'
import type { HostId } from '../../../src/base/ids.ts'
import type {
  LinkKind,
  LinkState,
  MessageChannel,
  MessageHandler,
  Peers,
  StreamCall,
  StreamChannel,
  StreamHandler,
  StreamOptions,
  StreamReceiver,
  StreamSink,
} from '../../../src/rpc/index.ts'

export interface Times {
  defer: (callback: () => void) => void
  after: (ms: number, callback: () => void) => void
  /** How long a frame takes, in ms. */
  delayMs: () => number
}

interface Open {
  receiver: StreamReceiver<unknown>
  sink: SimSink
  ended: boolean
}

/** Links between nodes of a test: in order for each pair, until they break, when what is under way is lost. */
export class SimLinks {
  readonly #times: Times
  readonly #nodes = new Map<string, SimPeers>()
  readonly #opens = new Set<Open>()
  /** What is under way, by direction. */
  readonly #queues = new Map<string, (() => void)[]>()

  constructor(times: Times) {
    this.#times = times
  }

  node(name: string): SimPeers {
    let peers = this.#nodes.get(name)
    if (peers === undefined) this.#nodes.set(name, (peers = new SimPeers(name, this, this.#times)))
    return peers
  }

  /** All links break: streams end at both sides. */
  cut(): void {
    this.#queues.clear()
    for (const open of [...this.#opens]) this.#end(open)
    for (const peers of this.#nodes.values()) for (const other of this.#nodes.keys()) peers.broke(other)
  }

  deliver(from: string, to: string, work: () => void): void {
    const queue = this.#queues.get(`${from}>${to}`) ?? []
    this.#queues.set(`${from}>${to}`, queue)
    queue.push(work)
    // Each takes the first one: order holds, whatever the delays.
    this.#times.after(this.#times.delayMs(), () => {
      if (this.#queues.get(`${from}>${to}`) === queue) queue.shift()?.()
    })
  }

  open(
    from: SimPeers,
    to: string,
    number: number,
    request: unknown,
    options: StreamOptions,
    receiver: StreamReceiver<unknown>,
  ): StreamCall {
    const target = this.node(to)
    const sink = new SimSink(from.node, options.creditBytes)
    const open: Open = { receiver, sink, ended: false }
    this.#opens.add(open)
    sink.write_ = (chunk) => {
      target.written += (chunk as Uint8Array).length
      this.deliver(to, from.node, () => {
        if (!open.ended) receiver.chunk(Buffer.from(chunk as Uint8Array), (chunk as Uint8Array).length)
      })
    }
    sink.end_ = () => this.deliver(to, from.node, () => this.#end(open))
    this.deliver(from.node, to, () => target.streams.get(number)?.(request, sink))
    return {
      grant: (bytes) => this.deliver(from.node, to, () => sink.granted(bytes)),
      cancel: () => this.#end(open),
    }
  }

  #end(open: Open): void {
    if (open.ended) return
    open.ended = true
    this.#opens.delete(open)
    this.#times.defer(() => {
      open.sink.cancelledByPeer()
      open.receiver.ended(new BrokerError('UNAVAILABLE', 'The link broke'))
    })
  }
}

class SimSink implements StreamSink<unknown> {
  readonly from: HostId
  cancelled = false
  onCancel: (() => void) | null = null
  onReady: (() => void) | null = null
  write_: (chunk: unknown) => void = () => {}
  end_: () => void = () => {}
  #credit: number
  #waiting = false

  constructor(from: HostId, credit: number) {
    this.from = from
    this.#credit = credit
  }

  get ready(): boolean {
    const ready = this.#credit > 0 && !this.cancelled
    this.#waiting = !ready
    return ready
  }

  /** Takes all credit away: nothing fits any more, until some is granted. */
  stall(): void {
    this.#credit = 0
  }

  write(chunk: unknown): void {
    if (this.cancelled) return
    this.#credit -= (chunk as Uint8Array).length
    this.write_(chunk)
  }

  end(): void {
    if (!this.cancelled) this.end_()
    this.cancelled = true
  }

  fail(): void {
    this.end()
  }

  granted(bytes: number): void {
    this.#credit += bytes
    if (this.#waiting && this.ready) this.onReady?.()
  }

  cancelledByPeer(): void {
    if (this.cancelled) return
    this.cancelled = true
    this.onCancel?.()
  }
}

/** One node's side: what feeds need of it. */
export class SimPeers {
  readonly node: HostId
  readonly streams = new Map<number, StreamHandler<unknown, unknown>>()
  /** Of streams that others opened here, in order. */
  readonly sinks: SimSink[] = []
  /** Its links are between two attempts. */
  down = false
  /** Bytes of their chunks. */
  written = 0
  readonly #messages = new Map<number, MessageHandler<unknown>>()
  readonly #links: SimLinks
  readonly #times: Times
  #watcher: (node: HostId, kind: LinkKind, state: LinkState) => void = () => {}

  constructor(node: string, links: SimLinks, times: Times) {
    this.node = node as HostId
    this.#links = links
    this.#times = times
  }

  get peers(): Peers {
    return this as unknown as Peers
  }

  handleMessages<Message>(channel: MessageChannel<Message>, handler: MessageHandler<Message>): void {
    this.#messages.set(channel.number, handler as MessageHandler<unknown>)
  }

  handleStreams<Request, Chunk>(channel: StreamChannel<Request, Chunk>, handler: StreamHandler<Request, Chunk>): void {
    this.streams.set(channel.number, (request, sink) => {
      this.sinks.push(sink as SimSink)
      handler(request as Request, sink as StreamSink<Chunk>)
    })
  }

  send<Message>(to: HostId, channel: MessageChannel<Message>, message: Message): 'accepted' {
    const bytes = Buffer.from(message as Uint8Array)
    const target = this.#links.node(to)
    this.#links.deliver(this.node, to, () => target.#messages.get(channel.number)?.received(this.node, bytes))
    return 'accepted'
  }

  open<Request, Chunk>(
    to: HostId,
    channel: StreamChannel<Request, Chunk>,
    request: Request,
    options: StreamOptions,
    receiver: StreamReceiver<Chunk>,
  ): StreamCall {
    return this.#links.open(this, to, channel.number, request, options, receiver as StreamReceiver<unknown>)
  }

  beforeFrames(callback: () => void): void {
    this.#times.defer(callback)
  }

  watchLinks(watcher: (node: HostId, kind: LinkKind, state: LinkState) => void): () => void {
    this.#watcher = watcher
    return () => {}
  }

  linkState(): LinkState {
    return this.down ? 'waiting' : 'open'
  }

  broke(node: string): void {
    this.#watcher(node as HostId, 'deliveries', 'waiting')
  }
}
