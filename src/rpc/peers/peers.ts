import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { MetricSink } from '../../base/metrics.ts'
import type {
  AnswerCallback,
  CallOptions,
  DiscardObserver,
  LinkKind,
  LinkState,
  MessageChannel,
  MessageHandler,
  PeerAddress,
  Peers,
  PendingCall,
  RequestChannel,
  RequestHandler,
  SendResult,
  StreamCall,
  StreamChannel,
  StreamHandler,
  StreamOptions,
  StreamReceiver,
} from '../contract.ts'
import { LinkMeters } from '../link/core/index.ts'
import type { Wire, WireEvents } from '../link/transport.ts'
import type { PeersContext, PeersOptions } from './context.ts'
import { DEADLINE_STEP_MS, Deadlines } from './deadlines.ts'
import { Handlers } from './handlers.ts'
import { IncomingLinks } from './incoming.ts'
import { Local } from './local.ts'
import { collectLinks } from './metrics.ts'
import { OutgoingLink } from './outgoing.ts'
import type { Outlet } from './outlet.ts'

interface Peer {
  address: string
  links: Map<LinkKind, OutgoingLink>
}

type LinkWatcher = (node: HostId, kind: LinkKind, state: LinkState) => void

const NO_CALL: PendingCall & StreamCall = { cancel() {}, grant() {} }

/** The other nodes: a link of each kind to each of them, dialled when the first message goes out; and this very node. */
export class LinkedPeers implements Peers {
  readonly node: HostId
  readonly #context: PeersContext
  readonly #incoming: IncomingLinks
  readonly #local: Local
  readonly #peers = new Map<HostId, Peer>()
  /** Links that were open when last heard of. */
  /** Links that were refused, and have not been open since. */
  readonly #refused = new Set<string>()
  readonly #open = new Set<string>()
  readonly #banned = new Set<HostId>()
  readonly #watchers = new Set<LinkWatcher>()
  readonly #counts = { unreadable: 0, unknown: 0, unanswered: 0 }
  #flushing: Outlet[] = []
  #gathering: (() => void)[] = []
  #flushPlanned = false
  #draining = false
  #closed = false
  #ticking = false

  constructor(options: PeersOptions) {
    this.node = options.node
    const deadlines = new Deadlines(options.clock.monotonic())
    const handlers = new Handlers()
    const counts = this.#counts
    this.#context = {
      ...options,
      meters: { raft: new LinkMeters(), deliveries: new LinkMeters(), bulk: new LinkMeters() },
      handlers,
      deadlines,
      schedule: (outlet) => this.#schedule(outlet),
      stateChanged: (peer, kind, state) => this.#stateChanged(peer, kind, state),
      unreadable: () => counts.unreadable++,
      unknown: () => counts.unknown++,
      unanswered: () => counts.unanswered++,
      draining: () => this.#draining,
      admits: (node) => !this.#banned.has(node),
    }
    this.#incoming = new IncomingLinks(this.#context)
    const { node, clock, defer } = options
    this.#local = new Local({ node, handlers, deadlines, nowMs: clock.monotonic, defer })
  }

  join({ node, address }: PeerAddress): void {
    if (node === this.node || this.#closed || this.#banned.has(node)) return
    const peer = this.#peers.get(node)
    if (peer === undefined) this.#peers.set(node, { address, links: new Map() })
    else if (peer.address !== address) {
      peer.address = address
      this.alive(node)
    }
  }

  forget(node: HostId): void {
    const peer = this.#peers.get(node)
    this.#peers.delete(node)
    for (const [kind, link] of peer?.links ?? []) {
      this.#refused.delete(`${node} ${kind}`)
      link.close('incarnation-gone')
    }
    this.#incoming.forget(node)
  }

  ban(node: HostId): void {
    this.#banned.add(node)
    this.forget(node)
  }

  alive(node: HostId): void {
    for (const link of this.#peers.get(node)?.links.values() ?? []) link.hint()
  }

  handleMessages<Message>(channel: MessageChannel<Message>, handler: MessageHandler<Message>): void {
    this.#context.handlers.messages(channel, handler)
  }

  handleRequests<Request, Answer>(
    channel: RequestChannel<Request, Answer>,
    handler: RequestHandler<Request, Answer>,
  ): void {
    this.#context.handlers.requests(channel, handler)
  }

  handleStreams<Request, Chunk>(channel: StreamChannel<Request, Chunk>, handler: StreamHandler<Request, Chunk>): void {
    this.#context.handlers.streams(channel, handler)
  }

  observeDiscards<Message>(channel: MessageChannel<Message>, observer: DiscardObserver<Message>): void {
    this.#context.handlers.discards(channel, observer)
  }

  send<Message>(to: HostId, channel: MessageChannel<Message>, message: Message): SendResult {
    if (to === this.node) return this.#sendLocal(channel, message)
    const link = this.#link(to, channel.kind)
    if (link === null) return this.#closed ? 'closed' : 'unknown-peer'
    return link.send(channel, message)
  }

  beforeFrames(callback: () => void): void {
    this.#gathering.push(callback)
    this.#planFlush()
  }

  request<Request, Answer>(
    to: HostId,
    channel: RequestChannel<Request, Answer>,
    request: Request,
    options: CallOptions,
    callback: AnswerCallback<Answer>,
  ): PendingCall {
    const { deadlineMs } = options
    assert(deadlineMs > 0, 'A call has time')
    const link = to === this.node ? null : this.#link(to, channel.kind)
    if (this.#closed || (link === null && to !== this.node)) {
      const error = this.#unreachable(to, channel.name)
      this.#context.defer(() => callback(error, null))
      return NO_CALL
    }
    this.#startTicking()
    if (link === null) return this.#local.request(channel, request, deadlineMs, callback)
    return link.caller.request(channel, request, deadlineMs, callback)
  }

  open<Request, Chunk>(
    to: HostId,
    channel: StreamChannel<Request, Chunk>,
    request: Request,
    options: StreamOptions,
    receiver: StreamReceiver<Chunk>,
  ): StreamCall {
    const link = to === this.node ? null : this.#link(to, channel.kind)
    if (this.#closed || (link === null && to !== this.node)) {
      const error = this.#unreachable(to, channel.name)
      this.#context.defer(() => receiver.ended(error))
      return NO_CALL
    }
    this.#startTicking()
    if (link === null) return this.#local.open(channel, request, options, receiver)
    return link.caller.open(channel, request, options, receiver)
  }

  bufferedBytes(to: HostId, kind: LinkKind): number {
    return this.#peers.get(to)?.links.get(kind)?.bufferedBytes ?? 0
  }

  linkState(to: HostId, kind: LinkKind): LinkState {
    if (to === this.node) return 'open'
    return this.#peers.get(to)?.links.get(kind)?.state ?? 'idle'
  }

  watchLinks(watcher: LinkWatcher): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** A connection came in at the listener. */
  accept(wire: Wire): WireEvents {
    return this.#incoming.accept(wire)
  }

  /** From now on new calls are refused; true once none is under way, and every peer has what was sent to it. */
  drain(): boolean {
    this.#draining = true
    if (this.#incoming.pending > 0 || this.#incoming.bufferedBytes > 0) return false
    for (const { links } of this.#peers.values()) {
      for (const link of links.values()) if (link.state === 'open' && link.bufferedBytes > 0) return false
    }
    return true
  }

  /** What is under way fails with CLOSED; what was not acknowledged is reported. */
  close(): void {
    if (this.#closed) return
    this.#flush()
    this.#closed = true
    for (const { links } of this.#peers.values()) for (const link of links.values()) link.close('closed')
    this.#incoming.close()
  }

  collect(sink: MetricSink): void {
    const outgoing: { kind: LinkKind; state: LinkState; bufferedBytes: number; pending: number }[] = []
    for (const { links } of this.#peers.values()) {
      for (const { kind, state, bufferedBytes, caller } of links.values()) {
        outgoing.push({ kind, state, bufferedBytes, pending: caller.pending })
      }
    }
    const { meters } = this.#context
    collectLinks(sink, {
      meters,
      outgoing,
      incoming: this.#incoming,
      counts: this.#counts,
      localCalls: this.#local.calls,
    })
  }

  #sendLocal<Message>(channel: MessageChannel<Message>, message: Message): SendResult {
    if (this.#closed) return 'closed'
    const handler = this.#context.handlers.get(channel.number)?.received ?? null
    if (handler === null) this.#counts.unknown++
    else handler.received(this.node, message)
    return 'accepted'
  }

  #link(to: HostId, kind: LinkKind): OutgoingLink | null {
    const peer = this.#peers.get(to)
    if (peer === undefined || this.#closed) return null
    let link = peer.links.get(kind)
    if (link === undefined) {
      link = new OutgoingLink(this.#context, to, kind, () => peer.address)
      peer.links.set(kind, link)
    }
    return link
  }

  #unreachable(to: HostId, name: string): BrokerError {
    if (this.#closed) return new BrokerError('CLOSED', `Cannot send "${name}": this node is closing`)
    return new BrokerError('UNAVAILABLE', `Cannot send "${name}": node "${to}" is not known here`)
  }

  #schedule(outlet: Outlet): void {
    this.#flushing.push(outlet)
    this.#planFlush()
  }

  #planFlush(): void {
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    this.#context.defer(() => this.#flush())
  }

  #flush(): void {
    const gathering = this.#gathering
    this.#gathering = []
    for (const callback of gathering) callback()
    this.#flushPlanned = false
    const outlets = this.#flushing
    this.#flushing = []
    for (const outlet of outlets) outlet.flush()
  }

  #startTicking(): void {
    if (this.#ticking) return
    this.#ticking = true
    this.#tick()
  }

  #tick(): void {
    const { clock, deadlines } = this.#context
    clock.after(DEADLINE_STEP_MS, () => {
      deadlines.advance(clock.monotonic())
      if (deadlines.size > 0) this.#tick()
      else this.#ticking = false
    })
  }

  #stateChanged(peer: HostId, kind: LinkKind, state: LinkState): void {
    const { log } = this.#context
    const link = `${peer} ${kind}`
    if (state === 'open') {
      this.#open.add(link)
      log.info({ peer, kind }, 'Connected to a node')
    } else if (this.#open.delete(link) && !this.#closed) log.warn({ peer, kind }, 'The connection to a node broke')
    if (state === 'open') this.#refused.delete(link)
    // It is tried again and again: once is enough to say.
    if (state === 'refused' && !this.#refused.has(link)) {
      this.#refused.add(link)
      log.warn({ peer, kind }, 'A node does not accept this one: secret, cluster, or an old life')
    }
    for (const watcher of this.#watchers) watcher(peer, kind, state)
  }
}
