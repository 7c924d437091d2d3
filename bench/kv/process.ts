/**
 * One process of a fleet: a store on RocksDB with real links, or (without a folder) a client of the others' ranges. It
 * does what its parent asks; see `fleet.ts`.
 *
 *     process.js name incarnation [folder]
 */
import { systemClock, systemRandom } from '../../src/base/clock.ts'
import { BrokerError } from '../../src/base/errors.ts'
import type { HostId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { RoutedClient } from '../../src/kv/client/routed-client.ts'
import type { RangeTransport } from '../../src/kv/client/transport.ts'
import { RocksEngine } from '../../src/kv/engine/rocksdb/engine.ts'
import type { RangeDescriptor } from '../../src/kv/range/coprocessor.ts'
import { RangeCalls } from '../../src/kv/remote/range-calls.ts'
import { StoreLinks } from '../../src/kv/remote/store-links.ts'
import { ANSWERS } from '../../src/kv/store/answers.ts'
import type { ReplicaChange } from '../../src/kv/store/replica-change.ts'
import { Store } from '../../src/kv/store/store.ts'
import { startRpc } from '../../src/rpc/node.ts'
import { answerCalls } from './calls.ts'
import { Load, type LoadOptions } from './load.ts'
import { type Put, records, type Tally, type TallyPage } from './records.ts'

type Transport = RangeTransport<Put, number, Tally, TallyPage>
export type Client = RoutedClient<Put, number, Tally, TallyPage>

const NO_RESPONSES: never[] = []

/** The way of a process that holds no range: what it is asked, others must be asked. */
const NOWHERE: Transport = {
  propose: (_store, _batch, answer) => answer(notHere(), NO_RESPONSES),
  query: (_store, _request, answer) => answer(notHere(), null),
  landscape: () => NO_RESPONSES,
  schedule: (flush) => void setImmediate(flush),
}

function notHere(): BrokerError {
  return new BrokerError('RANGE_NOT_FOUND', 'This process holds no range')
}

const [name, incarnation, folder] = process.argv.slice(2) as [string, string, string | undefined]
const common = { clock: systemClock, random: systemRandom, log: silentLogger }
const rpc = await startRpc({
  ...{ cluster: 'bench', node: name as HostId, incarnation: Number(incarnation), host: '127.0.0.1', port: 0 },
  ...{ secrets: ['bench'], tls: null, ...common },
})
const engine = folder === undefined ? null : await RocksEngine.open({ path: folder })
const links = new StoreLinks(rpc.peers)
const fatal = () => process.exit(70)
const store = engine === null ? null : new Store({ engine, storeId: name, send: links.send, fatal, ...common })
if (store !== null) links.attach(store)

let told: readonly RangeDescriptor[] = []
let client: Client | null = null
let load: Load | null = null

const handlers = {
  address: () => `127.0.0.1:${rpc.port}`,

  /** Where the others are by now. */
  peers: (addresses: Record<string, string>) => {
    for (const [node, address] of Object.entries(addresses)) {
      if (node !== name) rpc.peers.join({ node: node as HostId, address })
    }
  },

  /** Opens the ranges that are in the folder, or founds them, cut at the keys of one byte. */
  open: ({ cuts, stores }: { cuts: readonly (readonly number[])[]; stores: readonly string[] }) => {
    const splits = cuts.map((cut) => Uint8Array.from(cut))
    const observer = { opened() {}, applied() {}, closed() {} }
    const local = store === null ? NOWHERE : store.open(records, observer, { splits, stores })
    const codec = { encode: records.encode, decode: records.decode, values: ANSWERS }
    const transport = new RangeCalls(rpc.peers, setImmediate).join('inbox', local, codec, () => told)
    client = new RoutedClient({
      ...{ service: 'inbox', transport, incarnation: `${name}-${incarnation}`, ...common },
      commandBytes: ({ key, value }) => key.length + value.length,
    })
    load = new Load(client)
  },

  /** As gossip would tell. */
  landscape: (descriptors: readonly RangeDescriptor[]) => {
    told = descriptors
  },

  ranges: () => store?.ranges() ?? [],
  change: ({ range, changes }: { range: string; changes: readonly ReplicaChange[] }) => store!.change(range, changes),
  transfer: ({ range, to }: { range: string; to: string }) => store!.transfer(range, to),

  /** CPU of all threads since the start, in microseconds; what the disk did. */
  figures: () => {
    const { user, system } = process.cpuUsage()
    const { syncs = 0, batches = 0 } = engine?.stats() ?? {}
    return { cpuMicros: user + system, syncs, batches }
  },

  begin: (options: LoadOptions) => load!.begin(options),
  mark: () => load!.mark(),
  recovered: () => load!.recovered(),
  measure: ({ ms }: { ms: number }) => load!.measure(ms),
  measuring: () => load!.measuring(),
  measured: () => load!.measured(),
  filled: () => load!.filled(),
  end: () => load!.end(),
  audit: () => load!.audit(),

  /** Ends as a node that is stopped would. */
  stop: async () => {
    await client?.close()
    await store?.close()
    await engine?.close()
    rpc.close()
    setTimeout(() => process.exit(0), 20)
  },
}

export type ProcessHandlers = typeof handlers

answerCalls(handlers)
