import type { Clock } from '../../../base/clock.ts'
import type { Logger } from '../../../base/logging.ts'
import type { UnderlayNotice } from '../contract.ts'
import type { HostView } from '../core/index.ts'

/** A stall shorter than this is told to who debugs, in ms. */
const STALL_WORTH_MS = 1_000
/** The same reason is told at most so often, in ms. */
const REFUSAL_MS = 60_000

/** Tells an operator what happens to the cluster, in sentences. */
export class Narrator {
  readonly #log: Logger
  readonly #clock: Clock
  readonly #name: string
  readonly #seeds: string
  readonly #refusals = new Map<string, { count: number; toldAtMs: number }>()

  constructor(log: Logger, clock: Clock, clusterName: string, seeds: readonly string[]) {
    this.#log = log
    this.#clock = clock
    this.#name = clusterName
    this.#seeds = seeds.join(', ')
  }

  tell(notice: UnderlayNotice): void {
    switch (notice.type) {
      case 'joined':
        return this.#host('info', notice.host, 'is a member')
      case 'alive':
        return this.#host('info', notice.host, `is alive again, after it was ${notice.previous.state}`)
      case 'suspect':
        return this.#host('info', notice.host, `does not answer, says ${notice.by}: it has some seconds to refute that`)
      case 'dead':
        if (notice.by === notice.host.id) return this.#host('info', notice.host, 'pauses: it is expected back')
        return this.#host('warn', notice.host, 'is dead: it answers nobody. It is asked again for 24 hours')
      case 'left':
        return this.#host('info', notice.host, 'left the cluster for ever')
      case 'restarted':
        return this.#host('info', notice.host, 'was restarted')
      case 'changed':
        return this.#changed(notice.host, notice.previous)
      case 'forgotten':
        return this.#host('info', notice.host, 'is forgotten: it was away for too long')
      default:
        this.#own(notice)
    }
  }

  /** A packet was not taken; `from` is whom to look at. */
  refused(reason: string, from: string): void {
    const nowMs = this.#clock.monotonic()
    const refusal = this.#refusals.get(reason) ?? { count: 0, toldAtMs: Number.NEGATIVE_INFINITY }
    refusal.count++
    this.#refusals.set(reason, refusal)
    if (nowMs - refusal.toldAtMs < REFUSAL_MS) return
    refusal.toldAtMs = nowMs
    this.#log.warn({ reason, from, count: refusal.count }, `Packets are refused: ${REFUSALS[reason] ?? reason}`)
    refusal.count = 0
  }

  #host(level: 'info' | 'warn', host: HostView, what: string): void {
    const { id, address, state, incarnation } = host
    this.#log[level]({ host: id, address, state, incarnation }, `Host ${id} at ${address} ${what}`)
  }

  #changed(host: HostView, previous: HostView): void {
    if (host.address === previous.address) return this.#log.debug({ host: host.id }, `Host ${host.id} tells news`)
    this.#host('info', host, `was at ${previous.address} before`)
  }

  #own(notice: Exclude<UnderlayNotice, { host: HostView }>): void {
    const log = this.#log
    switch (notice.type) {
      case 'waiting':
        return log.info({ reason: notice.reason, sees: notice.sees, expect: notice.expect }, this.#waiting(notice))
      case 'formed':
        return log.info({ clusterId: notice.clusterId }, `Founded cluster "${this.#name}"`)
      case 'adopted':
        return log.info(
          { clusterId: notice.clusterId, contact: notice.contact },
          `Joined cluster "${this.#name}" through ${notice.contact}`,
        )
      case 'dissolve':
        return log.warn(
          { clusterId: notice.clusterId, into: notice.into, contact: notice.contact },
          `The fresh cluster of this host ends: cluster "${this.#name}" is already there, at ${notice.contact}`,
        )
      case 'refused-cluster':
        return log.error(
          { clusterId: notice.clusterId, address: notice.address },
          `Another cluster named "${this.#name}" is at ${notice.address}: both stay as they are. ` +
            'Empty the data folders of the one that is not wanted, or give one another cluster.name',
        )
      case 'duplicate-id':
        return log[notice.refused ? 'error' : 'warn'](
          { address: notice.address },
          notice.refused
            ? `This host's id is in use at ${notice.address}: was the data folder copied? This host stops`
            : `A second host with this host's id is at ${notice.address}, and was refused: was the data folder copied?`,
        )
      case 'refuted':
        return log.info(
          { by: notice.by, incarnation: notice.incarnation },
          `Host ${notice.by} took this host for gone, and was told otherwise; where that happens often, this host is ` +
            'overloaded or packets are lost',
        )
      case 'stalled':
        return log[notice.lateMs >= STALL_WORTH_MS ? 'warn' : 'debug'](
          { lateMs: Math.round(notice.lateMs) },
          `This process stood still for ${Math.round(notice.lateMs)} ms: nobody is blamed for it`,
        )
      case 'departed':
        return log.info({}, 'The other hosts know that this one goes')
    }
  }

  #waiting({ reason, sees, expect }: Extract<UnderlayNotice, { type: 'waiting' }>): string {
    if (reason === 'listening') return 'The only seed is this host: it listens for others, then founds a cluster'
    if (reason === 'expecting')
      return `Waits for ${expect} hosts that all see each other; this one sees ${sees} of them`
    return (
      `Waits for a member of cluster "${this.#name}" at ${this.#seeds}: this host never founds a cluster of its own. ` +
      'The first host starts without seeds or with itself as its only one, or all with cluster.expect'
    )
  }
}

const REFUSALS: { readonly [reason: string]: string } = {
  plain: 'they are not encrypted, and this host has a cluster.secret',
  encrypted: 'they are encrypted, and this host has no cluster.secret',
  undecryptable: 'they are encrypted with another cluster.secret, or damaged',
  'foreign-name': 'they are of a cluster with another cluster.name',
  'other-version': 'they are of another version of the protocol',
}
