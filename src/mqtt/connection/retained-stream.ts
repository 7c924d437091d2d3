import { assert } from '../../base/assert.ts'
import type { Message } from '../../base/message.ts'
import type { SubscriptionOptions } from '../../dist/index.ts'
import type { Feed, FeedEntry } from '../../inbox/index.ts'
import type { Connection } from './connection.ts'

/** A page: small enough that reading it holds nobody up. */
const PAGE_MESSAGES = 256
const PAGE_BYTES = 128 * 1024
/** Retained messages that stand in the session's own queue at a time. */
const QUEUED_MAX = 128
/** Topics of live messages that are remembered while a stream runs. */
const LIVE_TOPICS_MAX = 10_000

interface Job {
  filter: string
  options: SubscriptionOptions
}

/**
 * Sends retained messages of new subscriptions, page by page under the client's credit: a filter that matches a million
 * of them neither stalls the node nor fills its memory. The routes stand before the first page is read; a retained
 * message older than a live one that the client got meanwhile is skipped.
 */
export class RetainedStream {
  readonly #connection: Connection
  readonly #jobs: Job[] = []
  readonly #live = new Map<string, number>()
  /** Retained messages that stand in the session's queue and have not come yet. */
  readonly #waiting = new Set<string>()
  #expected = 0
  #running = false
  #stopped = false
  #queued = 0
  #wake: (() => void) | null = null

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** A SUBSCRIBE is under way: live messages may come from now on. */
  expect(): void {
    this.#expected++
    this.#connection.streaming = true
  }

  /** That SUBSCRIBE was answered; its jobs were added. */
  settled(): void {
    this.#expected--
    this.#idle()
  }

  add(filter: string, options: SubscriptionOptions): void {
    this.#jobs.push({ filter, options })
    if (!this.#running) void this.#run()
  }

  noteLive(topic: string, timestamp: number): void {
    if (timestamp <= (this.#live.get(topic) ?? 0)) return
    if (this.#live.size >= LIVE_TOPICS_MAX) this.#live.delete(this.#live.keys().next().value!)
    this.#live.set(topic, timestamp)
  }

  /**
   * Entries of the session's own queue, as they leave. What is retained may have been queued behind what is newer: then it
   * is as good as sent.
   */
  sift(feed: Feed, entries: readonly FeedEntry[]): readonly FeedEntry[] {
    const kept: FeedEntry[] = []
    for (const entry of entries) {
      const { message } = entry
      if (message !== null && entry.retain && this.#waiting.delete(nameOf(message))) {
        if (this.#isOld(message)) {
          feed.acknowledge(entry.sequence)
          continue
        }
      } else if (message !== null) this.noteLive(message.topic, message.timestamp)
      kept.push(entry)
    }
    this.#idle()
    return kept
  }

  /** Room came back: the client acknowledged, or the socket drained. */
  wake(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }

  stop(): void {
    this.#stopped = true
    this.wake()
  }

  async #run(): Promise<void> {
    this.#running = true
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
      try {
        await this.#stream(job)
      } catch (error) {
        const { front, tenant, clientId } = this.#connection
        const message = error instanceof Error ? error.message : String(error)
        front.events.report('retain.failed', tenant, clientId, 0, { reason: 'match', topic: job.filter, message })
      }
      if (this.#stopped) return
    }
    this.#running = false
    this.#idle()
  }

  async #stream(job: Job): Promise<void> {
    const { front, tenant, clientId } = this.#connection
    let after: Uint8Array | null = null
    let count = 0
    do {
      const page = await front.retain.match(tenant, job.filter, {
        after,
        messagesMax: PAGE_MESSAGES,
        bytesMax: PAGE_BYTES,
      })
      for (const message of page.messages) {
        while (!this.#stopped && !this.#send(message, job)) await this.#room()
        if (this.#stopped) return
        count++
      }
      after = page.next
      // Other clients have their turn between two pages.
      if (after !== null) await new Promise<void>((resolve) => front.defer(resolve))
    } while (after !== null && !this.#stopped)
    front.events.report('retain.matched', tenant, clientId, 0, { filter: job.filter, count })
  }

  /** False where the client has no room for it yet. */
  #send(message: Message, job: Job): boolean {
    const connection = this.#connection
    const { output, control, outbound } = connection
    assert(outbound !== null, 'Retained messages are sent to open sessions')
    if (this.#isOld(message)) return true
    if (!control.mayReceive(message.topic)) return true
    const qos = message.qos < job.options.qos ? message.qos : job.options.qos
    const ids = job.options.subscriptionId === 0 ? [] : [job.options.subscriptionId]
    if (qos > 0 && control.persistent) {
      if (this.#queued >= QUEUED_MAX) return false
      this.#queued++
      if (this.#waiting.size < LIVE_TOPICS_MAX) this.#waiting.add(nameOf(message))
      control.queueRetained(message, qos, ids, (stored) => {
        this.#queued--
        if (!stored) this.#waiting.delete(nameOf(message))
        this.wake()
        this.#idle()
      })
      return true
    }
    if (output.waitingBytes > connection.outputBytesMax / 4) return false
    connection.front.counters.delivered++
    return outbound.sendMessage(message, qos, true, ids) // [MQTT-3.3.1-8]: RETAIN is set
  }

  #room(): Promise<void> {
    const { output, front } = this.#connection
    return new Promise((resolve) => {
      this.#wake = resolve
      // What waits only for the end of this turn is gone after it.
      if (output.pendingBytes > 0) front.defer(() => this.wake())
    })
  }

  #isOld({ topic, timestamp }: Message): boolean {
    const live = this.#live.get(topic)
    return live !== undefined && live > timestamp
  }

  #idle(): void {
    if (this.#running || this.#expected > 0 || this.#waiting.size > 0) return
    this.#connection.streaming = false
    this.#live.clear()
  }
}

function nameOf({ topic, timestamp }: Message): string {
  return `${timestamp} ${topic}`
}
