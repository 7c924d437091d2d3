import type { Clock } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { UnderlayPort } from '../../cluster/underlay/index.ts'
import type { RangeClient } from '../../kv/client/client.ts'
import type { MetaAnswer, MetaCommand, MetaQuery, MetaResponse, MetaState } from '../../kv/meta/index.ts'

export type MetaRanges = RangeClient<MetaCommand, MetaResponse, MetaQuery, MetaAnswer>

export interface FoundingOptions {
  underlay: UnderlayPort
  meta: MetaRanges
  /** As this node knows it. */
  state(): MetaState
  clusterName: string
  /** Of this process: higher than those of its host before it. */
  incarnation: number
  services: readonly string[]
  /** Names of what this program can do. */
  features: readonly string[]
  /** All that a founder has to do is on disk. */
  founded(): void
  /** This node may never act in this cluster again. */
  banned(error: Error): void
  clock: Clock
  log: Logger
}

const AGAIN_MS = 1_000
/** All records lie in one range. */
const ANY_KEY = new Uint8Array(1)

/**
 * What a node writes into the `meta` range when it starts: the founder who the cluster is and that the first ranges are
 * there, each node that this process is the newest of its host. Tried until it is done: who cannot reach the range
 * cannot do anything else either.
 */
export class Founding {
  readonly #options: FoundingOptions
  readonly #founds: () => boolean
  #done = false
  #running = false
  #stopped = false
  #stopTimer: (() => void) | null = null

  /** @param founds this node has created the first ranges */
  constructor(options: FoundingOptions, founds: () => boolean) {
    this.#options = options
    this.#founds = founds
  }

  get done(): boolean {
    return this.#done
  }

  /** Begins, or begins again: in another cluster. */
  start(): void {
    this.#done = false
    if (!this.#running) void this.#run()
  }

  stop(): void {
    this.#stopped = true
    this.#stopTimer?.()
  }

  async #run(): Promise<void> {
    const { underlay, log } = this.#options
    this.#running = true
    try {
      while (!this.#done && !this.#stopped) {
        if (underlay.cluster !== null) this.#done = await this.#write(underlay.cluster.id)
        if (!this.#done) await this.#pause()
      }
    } catch (error) {
      log.error({ err: error }, 'This node cannot be registered in its cluster')
      this.#options.banned(error as Error)
    } finally {
      this.#running = false
    }
  }

  /** False: not yet. */
  async #write(clusterId: string): Promise<boolean> {
    const { underlay, services, clusterName, features, incarnation, log } = this.#options
    const { id: host } = underlay.self
    try {
      if (this.#founds() && this.#options.state().cluster === null) {
        await this.#mutate({ type: 'found', id: clusterId, name: clusterName, founder: host, services })
        for (const service of services) await this.#mutate({ type: 'created', service, store: host })
      }
      if (this.#founds()) this.#options.founded()
      return await this.#register(host, incarnation, features)
    } catch (error) {
      if (!(error instanceof BrokerError) || error.code === 'CONFLICT' || error.code === 'NOT_AUTHORIZED') throw error
      log.debug({ err: error }, 'The records of the cluster cannot be written yet')
      return false
    }
  }

  async #register(host: HostId, incarnation: number, features: readonly string[]): Promise<boolean> {
    const answer = await this.#mutate({ type: 'register', host, incarnation, features })
    if (answer.type === 'done') return true
    const { reason, detail } = answer
    if (reason === 'not-founded') return false
    const message = `Cannot take part in the cluster: ${detail}`
    throw new BrokerError(reason === 'gone' ? 'NOT_AUTHORIZED' : 'CONFLICT', message)
  }

  #mutate(command: MetaCommand): Promise<MetaResponse> {
    return this.#options.meta.mutate(ANY_KEY, command)
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#stopTimer = this.#options.clock.after(AGAIN_MS, resolve)
    })
  }
}
