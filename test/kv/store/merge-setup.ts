import assert from 'node:assert/strict'
import type { Packet } from '../../../src/kv/store/packet.ts'
import { SimulatedCluster } from '../../sim/cluster.ts'
import { World } from '../../sim/world.ts'
import { bytes, Toy, type ToyCommand, ToyObserver, text } from '../toy.ts'

export const STORES = ['s1', 's2', 's3'] as const
export const LEFT = 'inbox-1'
export const RIGHT = 'inbox-2'

/** As a service that keeps what it knows across a merge. */
export class KeepingObserver extends ToyObserver {
  merged(left: { id: string }, right: { id: string }): void {
    this.log.push(`merged ${right.id} into ${left.id}`)
  }
}

export interface MergeSetup {
  seed?: number
  splits?: string[]
  stores?: readonly string[]
  voters?: number
  logBytes?: number
  keeps?: boolean
}

/** Two ranges, before and from `m` on, on three stores. */
export function setup({ seed = 1, splits = ['km'], stores = STORES, voters, logBytes, keeps = true }: MergeSetup = {}) {
  const world = new World({ seed, network: { lossPercent: 0, delayMsMin: 0.2, delayMsMax: 2 } })
  const watchers: ((from: string, to: string, packets: readonly Packet[]) => void)[] = []
  const limits =
    logBytes === undefined ? {} : { logBytesAlone: logBytes, logBytesGroup: logBytes, logBytesMax: 4 * logBytes }
  const cluster = new SimulatedCluster({
    ...{ world, stores, voters: voters ?? stores.length, splits: splits.map(bytes), codec: true },
    coprocessor: () => new Toy(),
    makeObserver: () => (keeps ? new KeepingObserver() : new ToyObserver()),
    sending: (...what) => {
      for (const watch of watchers) watch(...what)
    },
    store: { decodeAlways: true, limits },
  })
  const client = cluster.client()
  const append = (key: string, word: string, which = client) => {
    const command: ToyCommand = { type: 'append', key, word }
    return which.mutate(bytes(`k${key}`), command)
  }
  const read = (key: string) => client.query(bytes(`k${key}`), { key })
  const observed = (store: string) => (cluster.observer(store) as ToyObserver).state
  const ranges = (store: string) =>
    cluster
      .store(store)
      .ranges()
      .map(({ descriptor: { id, start, end } }) => `${id} [${start ? text(start) : ''}, ${end ? text(end) : ''})`)
      .sort()
  const leads = (store: string, range: string) =>
    cluster
      .store(store)
      .ranges()
      .some(({ descriptor, leads: does }) => descriptor.id === range && does)
  /** Makes `store` lead `range`. */
  const lead = async (range: string, store: string) => {
    await world.runUntil(() => cluster.leader(range) !== null, 30_000)
    for (let tries = 0; !leads(store, range) || cluster.leader(range) !== store; tries++) {
      assert(tries < 50, `${store} does not come to lead ${range}`)
      const leader = cluster.leader(range)
      if (leader !== null && leader !== store)
        cluster
          .store(leader)
          .transfer(range, store)
          .catch(() => {})
      await world.run(500)
    }
  }
  const merge = (left = LEFT, right = RIGHT) => cluster.store(cluster.leader(left)!).merge(left, right)
  return { world, cluster, client, append, read, observed, ranges, lead, merge, watchers }
}

export type Held = ReturnType<typeof setup>

/** Waits until every store that is up has applied the same. */
export async function converged({ world, cluster }: Pick<Held, 'world' | 'cluster'>, maxMs = 60_000): Promise<void> {
  const shape = (name: string) =>
    JSON.stringify(
      cluster
        .store(name)
        .ranges()
        .map(({ descriptor, index, hash }) => ({ id: descriptor.id, epoch: descriptor.epoch, index, hash }))
        .toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    )
  await world.runUntil(() => new Set(cluster.up.map(shape)).size === 1, maxMs)
}
