import type { Clock } from '../base/clock.ts'
import { BrokerError } from '../base/errors.ts'
import type { Logger } from '../base/logging.ts'
import type { DistService } from '../dist/index.ts'
import { firstRouteOf, type LocalTable } from '../mqtt/index.ts'

const AGAIN_MS = 1_000

/** The routes of nodes as such: of this one, and of those that are gone. */
export class NodeRoutes {
  readonly #parts: { dist: DistService; table: LocalTable; clock: Clock; log: Logger }

  constructor(parts: { dist: DistService; table: LocalTable; clock: Clock; log: Logger }) {
    this.#parts = parts
  }

  /** Those that a node has made, by this incarnation or an earlier one. */
  async takeBack(node: string, incarnation: number): Promise<void> {
    const { dist, log } = this.#parts
    if (!dist.ready()) throw new BrokerError('UNAVAILABLE', 'Cannot take routes back: they are being loaded')
    const routes = await dist.fence(node, firstRouteOf(incarnation + 1))
    if (routes > 0) log.info({ host: node, routes }, `Took back routes of subscribers that node ${node} left behind`)
  }

  /** All of this node, which begins anew. */
  async renew(incarnation: number): Promise<void> {
    const { table, clock, log } = this.#parts
    for (;;) {
      try {
        return await table.renew(firstRouteOf(incarnation))
      } catch (error) {
        log.warn({ err: error }, 'Could not make the routes of this node again: it is tried again')
      }
      await new Promise<void>((resolve) => void clock.after(AGAIN_MS, resolve))
    }
  }
}
