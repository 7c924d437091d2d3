import type { HostId } from '../../../src/base/ids.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import {
  checkCommand,
  type MetaAnswer,
  type MetaChange,
  type MetaCommand,
  MetaObserver,
  type MetaQuery,
  type MetaResponse,
  metaCoprocessor,
} from '../../../src/kv/meta/index.ts'
import { engineReader } from '../../../src/kv/range/boundary.ts'
import type { RangeDescriptor, Reader } from '../../../src/kv/range/coprocessor.ts'
import { decodeEntry, encodeEntry } from '../../../src/kv/range/entry.ts'
import { Range } from '../../../src/kv/range/range.ts'

export const START_MS = 1_000_000_000_000

export const host = (name: string) => name as HostId

/** The `meta` range without a store: each call is an entry, written to bytes, read back and landed at once. */
export class LocalMeta {
  readonly engine = new MemoryEngine()
  readonly observer = new MetaObserver()
  readonly descriptor = { id: 'meta', service: 'cluster', epoch: { version: 1, confVersion: 1 }, replicas: [] }
  readonly #range: Range<MetaCommand, MetaResponse, MetaQuery, MetaAnswer, MetaChange>
  nowMs = START_MS

  constructor() {
    const descriptor = this.descriptor as unknown as RangeDescriptor
    const applied = { index: 0, nowMs: 0, hash: 0 }
    this.#range = new Range({ coprocessor: metaCoprocessor, descriptor, applied, landed: this.#landed(), codec: null })
    this.observer.opened(descriptor, this.#range.reader)
  }

  get reader(): Reader {
    return this.#range.reader
  }

  /** One entry with all of them. */
  run(...commands: MetaCommand[]): MetaResponse[] {
    for (const command of commands) checkCommand(command)
    const runs = [{ stream: '', previous: 0, first: 0, count: commands.length, answered: 0 }]
    const bytes = encodeEntry(this.#range.propose(runs, commands, ++this.nowMs), metaCoprocessor.encode)
    const outcome = this.#range.apply(decodeEntry(bytes.slice(), metaCoprocessor.decode))
    if (outcome.runs[0]!.error !== null) throw outcome.runs[0]!.error
    void this.engine.write({
      writes: outcome.writes.map((write) => ({ family: 'retain' as const, write })),
      sync: false,
    })
    this.#range.landed(outcome.index)
    const { index, nowMs, writes, effects } = outcome
    const descriptor = this.#range.descriptor
    this.observer.applied(descriptor, { index, nowMs, writes, effects, leader: true, reader: this.#range.reader })
    return outcome.runs[0]!.responses as MetaResponse[]
  }

  one(command: MetaCommand): MetaResponse {
    return this.run(command)[0]!
  }

  query(query: MetaQuery): MetaAnswer {
    return this.#range.query(query, this.nowMs)
  }

  found(...hosts: string[]): this {
    this.one({ type: 'found', id: 'c1', name: 'flock', founder: host(hosts[0] ?? 'n1'), services: ['dist', 'inbox'] })
    for (const name of hosts) this.one({ type: 'register', host: host(name), incarnation: 1, features: [] })
    return this
  }

  #landed(): Reader {
    return engineReader(this.engine, 'retain')
  }
}
