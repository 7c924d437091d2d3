import type { Applied, RangeDescriptor, RangeObserver, Reader } from '../kv/range/coprocessor.ts'
import type { RetainStats } from './contract.ts'
import { readHead, type Usage } from './store/books.ts'
import { booksStart } from './store/schema.ts'

/** What the ranges that are open on this node hold, for figures: nothing is decided by it. */
export class RetainObserver implements RangeObserver<Usage> {
  readonly #totals = new Map<string, Usage>()

  opened(range: RangeDescriptor, reader: Reader): void {
    this.#totals.set(range.id, readHead(reader, range)?.total ?? { topics: 0, bytes: 0 })
  }

  applied(range: RangeDescriptor, { effects }: Applied<Usage>): void {
    const total = effects.at(-1)
    if (total !== undefined) this.#totals.set(range.id, total)
  }

  /** The parent's books are made anew, which it tells; in the odd range without room for books nothing is counted. */
  split(parent: RangeDescriptor, child: RangeDescriptor, reader: Reader): void {
    if (booksStart(parent) === null) this.#totals.delete(parent.id)
    this.opened(child, reader)
  }

  /** The left one's books are made anew, which it tells. */
  merged(_left: RangeDescriptor, right: RangeDescriptor): void {
    this.closed(right)
  }

  closed(range: RangeDescriptor): void {
    this.#totals.delete(range.id)
  }

  stats(): RetainStats {
    const sum = { topics: 0, bytes: 0 }
    for (const { topics, bytes } of this.#totals.values()) {
      sum.topics += topics
      sum.bytes += bytes
    }
    return sum
  }
}
