import type { Clock } from '../../base/clock.ts'
import type { HostId, TenantId } from '../../base/ids.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import { bytesCodec, CHANNEL, type MessageChannel, type Peers } from '../../rpc/index.ts'
import { decodeMessages, encodeMessages } from './message.ts'
import { ClientRegistry, REGISTRY, type RegistryOptions, TICK_MS } from './registry.ts'

/** Beside heartbeats: a CONNECT must not wait behind deliveries to a slow node, and a break is noticed within 3 s. */
const CLIENTS: MessageChannel<Uint8Array> = {
  type: 'message',
  number: CHANNEL.clients,
  name: 'clients',
  kind: 'raft',
  message: bytesCodec,
}

/** A connection as the registry sees it. */
export interface ClaimedConnection {
  /** Ends it because a later one came for its client id (0x8E). Resolves once its session is given up. */
  takeOver(): Promise<void>
}

/** The connections of the whole cluster, as a CONNECT needs them. */
export interface ClusterClients {
  /**
   * Before a CONNECT is answered: true when no other connection of the client id is left, as far as can be told within
   * some seconds; false where a later CONNECT took the place meanwhile. To be released in both cases.
   * @param time of the CONNECT: a hybrid timestamp
   */
  claim(tenant: TenantId, clientId: string, who: ClaimedConnection, time: number): Promise<boolean>
  /** The connection goes: its claim is over where it is not answered yet, with false. */
  abandon(who: ClaimedConnection): void
  /** The connection is gone, and has given its session up. */
  release(who: ClaimedConnection): void
}

export interface ClientsOptions {
  peers: Peers
  /** Of this process: each start of the node has a higher one. */
  run: number
  clock: Clock
  options?: Partial<RegistryOptions>
}

interface Token {
  key: string
  who: ClaimedConnection
  answer: ((granted: boolean) => void) | null
}

/** The host of {@link ClientRegistry}: who is alive it is told by {@link setMembers}, this node among them. */
export class Clients implements ClusterClients, MetricSource {
  evicted = 0
  refused = 0
  malformed = 0
  readonly #options: ClientsOptions
  readonly #machine: ClientRegistry<Token>
  readonly #tokens = new Map<ClaimedConnection, Token>()
  #flushPlanned = false
  #stopped = false

  constructor(options: ClientsOptions) {
    this.#options = options
    const { peers, run } = options
    this.#machine = new ClientRegistry(peers.node, run, { ...REGISTRY, ...options.options })
    peers.handleMessages(CLIENTS, { received: (from, bytes) => this.#received(from, bytes) })
    this.#tick()
  }

  setMembers(members: readonly string[]): void {
    this.#machine.setMembers(members, this.#nowMs())
    this.#perform()
  }

  claim(tenant: TenantId, clientId: string, who: ClaimedConnection, time: number): Promise<boolean> {
    return new Promise((resolve) => {
      const token: Token = { key: keyOf(tenant, clientId), who, answer: resolve }
      this.#tokens.set(who, token)
      this.#machine.claim(token.key, token, time, this.#nowMs())
      this.#perform()
    })
  }

  abandon(who: ClaimedConnection): void {
    const answer = this.#tokens.get(who)?.answer ?? null
    if (answer !== null) this.release(who)
  }

  release(who: ClaimedConnection): void {
    const token = this.#tokens.get(who)
    if (token === undefined) return
    this.#tokens.delete(who)
    token.answer?.(false)
    token.answer = null
    this.#machine.release(token.key, token, this.#nowMs())
    this.#perform()
  }

  stop(): void {
    this.#stopped = true
  }

  collect(sink: MetricSink): void {
    const { held, owned, stale } = this.#machine
    sink.gauge('flockmq_clients_held', 'Connections of this node that the cluster knows of', held)
    sink.gauge('flockmq_clients_owned', 'Connections of any node whose client id falls to this node', owned)
    sink.counter('flockmq_clients_evicted_total', 'Connections closed for a later one on another node', this.evicted)
    sink.counter('flockmq_clients_refused_total', 'CONNECTs refused for a later one on another node', this.refused)
    sink.counter('flockmq_clients_stale_total', 'Messages of earlier runs of other nodes', stale)
    sink.counter('flockmq_clients_malformed_total', 'Messages of other nodes that could not be read', this.malformed)
  }

  #received(from: HostId, bytes: Uint8Array): void {
    const decoded = decodeMessages(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    if (decoded === null) {
      this.malformed++
      return
    }
    this.#machine.received(from, decoded.run, decoded.messages, this.#nowMs())
    this.#perform()
  }

  #tick(): void {
    if (this.#stopped) return
    this.#machine.tick(this.#nowMs())
    this.#perform()
    this.#options.clock.after(TICK_MS, () => this.#tick())
  }

  /** What is to be sent leaves at the end of the turn, in one message for each node. */
  #perform(): void {
    const { granted, refused, evicted } = this.#machine.outcomes()
    for (const token of granted) this.#answer(token, true)
    for (const token of refused) {
      this.refused++
      this.#answer(token, false)
    }
    for (const token of evicted) {
      this.evicted++
      const release = () => this.#releaseToken(token)
      token.who.takeOver().then(release, release)
    }
    if (this.#flushPlanned || !this.#machine.hasMessages) return
    this.#flushPlanned = true
    this.#options.peers.beforeFrames(() => this.#flush())
  }

  #answer(token: Token, granted: boolean): void {
    token.answer?.(granted)
    token.answer = null
  }

  #releaseToken(token: Token): void {
    if (this.#tokens.get(token.who) === token) this.release(token.who)
  }

  #flush(): void {
    this.#flushPlanned = false
    const { peers, run } = this.#options
    for (const [node, messages] of this.#machine.messages()) {
      // What the link does not take is found out by the next digest.
      peers.send(node as HostId, CLIENTS, encodeMessages(run, messages))
    }
  }

  #nowMs(): number {
    return this.#options.clock.monotonic()
  }
}

function keyOf(tenant: TenantId, clientId: string): string {
  return `${tenant}\0${clientId}`
}
