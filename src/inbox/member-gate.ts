import type { FeedSink } from './contract.ts'

interface MemberFeed {
  lost(reason: Parameters<FeedSink['lost']>[0]): void
}

/**
 * The groups' feeds of one connection: a packet id is taken only when every one of them has said which ids its member
 * is owed, so that none is given out that another group still uses.
 */
export class MemberGate<Feed extends MemberFeed> {
  readonly connection: string
  readonly feeds = new Set<Feed>()
  readonly #opening = new Set<Feed>()
  #waiting: (() => void)[] = []

  constructor(connection: string) {
    this.connection = connection
  }

  lost(reason: Parameters<FeedSink['lost']>[0]): void {
    for (const feed of [...this.feeds]) feed.lost(reason)
  }

  add(feed: Feed): void {
    this.feeds.add(feed)
    this.#opening.add(feed)
  }

  /** What it is owed was pushed. */
  opened(feed: Feed): void {
    this.#opening.delete(feed)
    this.#run()
  }

  remove(feed: Feed): void {
    this.feeds.delete(feed)
    this.opened(feed)
  }

  /** Runs `work` when all feeds are open; in the order of the calls. */
  whenOpen(work: () => void): void {
    this.#waiting.push(work)
    this.#run()
  }

  #run(): void {
    if (this.#opening.size > 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const work of waiting) work()
  }
}
