import { BrokerError } from '../../../base/errors.ts'
import type { UnderlayHostOptions } from '../contract.ts'
import type { Address } from '../core/index.ts'
import { type Endpoint, isWildcard, parseEndpoint } from './addresses.ts'
import { advertisedAddress, lookupSeeds, type Resolve, resolveName } from './names.ts'
import type { Sockets } from './sockets.ts'

/** Then a name server is not waited for at the start. */
const FIRST_LOOKUP_MS = 3_000

export interface Lookup {
  seeds: Address[]
  /** Names of which nothing was found. */
  missing: string[]
  /** Where others find us, where that may change while we run; else null. */
  own: Address | null
}

/** Where the seeds are, and where we are to be found: asked again, since both may change. */
export class Whereabouts {
  readonly #options: UnderlayHostOptions
  readonly #seeds: readonly Endpoint[]
  readonly #sockets: Sockets
  readonly #resolve: Resolve

  constructor(options: UnderlayHostOptions, seeds: readonly Endpoint[], sockets: Sockets) {
    this.#options = options
    this.#seeds = seeds
    this.#sockets = sockets
    this.#resolve = options.resolve ?? resolveName
  }

  /** Our own address, at the start. A name server that does not answer does not keep us from it. */
  async first(): Promise<Address> {
    const { advertise } = this.#options
    const endpoint = advertise === null ? null : parseEndpoint(advertise, this.#sockets.port)
    if (advertise !== null && endpoint === null)
      throw new BrokerError('CONFIG_INVALID', `cluster.advertise "${advertise}" must be host, host:port or [ip6]:port`)
    return this.#own(endpoint, () => this.#seedsSoon())
  }

  async lookup(): Promise<Lookup> {
    const { addresses: seeds, missing } = await lookupSeeds(this.#seeds, this.#sockets.ip, this.#resolve)
    const moves = this.#options.advertise === null && isWildcard(this.#sockets.ip)
    return { seeds, missing, own: moves ? await this.#own(null, async () => seeds) : null }
  }

  #own(advertise: Endpoint | null, seeds: () => Promise<readonly Address[]>): Promise<Address> {
    const { ip, port } = this.#sockets
    return advertisedAddress({ advertise, ip, port, seeds }, this.#resolve)
  }

  async #seedsSoon(): Promise<readonly Address[]> {
    let cancel = () => {}
    const timeout = new Promise<null>((resolve) => {
      cancel = this.#options.clock.after(FIRST_LOOKUP_MS, () => resolve(null))
    })
    const found = await Promise.race([lookupSeeds(this.#seeds, this.#sockets.ip, this.#resolve), timeout])
    cancel()
    return found?.addresses ?? []
  }
}
