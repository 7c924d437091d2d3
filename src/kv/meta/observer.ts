import type { Applied, RangeDescriptor, RangeObserver, Reader } from '../range/coprocessor.ts'
import type { MetaChange } from './contract.ts'
import { booksKey, readBooks, readRecord, recordsEnd, recordsStart } from './schema.ts'
import { difference, MetaState } from './state.ts'

export type MetaListener = (change: MetaChange, state: MetaState) => void

/**
 * A node's memory of the `meta` range, of which it holds a replica. Whoever listens is told each change once, in order,
 * also those that came as a snapshot. When the replica moves away, what was known last stays.
 */
export class MetaObserver implements RangeObserver<MetaChange> {
  #state = new MetaState()
  readonly #listeners = new Set<MetaListener>()

  /** As of the last applied entry. */
  get state(): MetaState {
    return this.#state
  }

  /** Tells what is known now, and from then on what changes. The returned function ends it. */
  watch(listener: MetaListener): () => void {
    for (const change of this.#state.changes()) listener(change, this.#state)
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  opened(_range: RangeDescriptor, reader: Reader): void {
    const before = this.#state
    this.#state = readState(reader)
    for (const change of difference(before, this.#state)) this.#tell(change)
  }

  applied(_range: RangeDescriptor, { effects, reader }: Applied<MetaChange>): void {
    if (effects.length === 0) return
    this.#state.revision = readBooks(reader.get(booksKey)).revision
    for (const change of effects) {
      this.#state.apply(change)
      this.#tell(change)
    }
  }

  closed(): void {}

  #tell(change: MetaChange): void {
    for (const listener of this.#listeners) listener(change, this.#state)
  }
}

function readState(reader: Reader): MetaState {
  const state = new MetaState()
  state.revision = readBooks(reader.get(booksKey)).revision
  const cursor = reader.cursor({ start: recordsStart, end: recordsEnd })
  while (cursor.next()) state.apply(readRecord(cursor.key, cursor.value))
  cursor.close()
  return state
}
