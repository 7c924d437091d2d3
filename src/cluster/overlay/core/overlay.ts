import { assert } from '../../../base/assert.ts'
import type { Random } from '../../../base/clock.ts'
import type { HostId } from '../../../base/ids.ts'
import { type Context, Outbox, Reply } from './context.ts'
import { OverlayCounters } from './counters.ts'
import type { Input, Now, Ready, Refusal, Write } from './effects.ts'
import { memberKey, parseKey, plainKey } from './entries.ts'
import { EntrySync } from './entry-sync.ts'
import { HintSync } from './hint-sync.ts'
import type { Message } from './message.ts'
import {
  checkOverlayOptions,
  HINT_TTL_MS_MAX,
  HINT_VALUE_BYTES_MAX,
  KEY_BYTES_MAX,
  type OverlayOptions,
  VALUE_BYTES_MAX,
} from './options.ts'
import { decodePayload, encodePayload } from './wire.ts'

export interface OverlaySetup {
  options: OverlayOptions
  random: Random
  host: HostId
  /** Of this process, as the underlay tells it to the others. */
  life: number
}

export interface MemberView {
  readonly host: HostId
  readonly metadata: Uint8Array
}

export interface KeyView {
  readonly host: HostId
  readonly key: string
  readonly value: Uint8Array
}

/**
 * Agents, the entries that hosts own, and hints that all share, as one pure machine whose messages are bytes. Who is
 * there is an input; the underlay carries the payloads.
 *
 * Feed it with `step`, take what it wants with `ready` after each step, and give a tick at `deadlineMs()`.
 */
export class OverlayCore {
  readonly counters = new OverlayCounters()
  readonly #context: Context
  readonly #entries: EntrySync
  readonly #hints: HintSync
  #syncAtMs: number
  #gossipedMs = Number.NEGATIVE_INFINITY
  #gossipAtMs = Number.POSITIVE_INFINITY

  constructor(setup: OverlaySetup, now: Now) {
    const { options, random, host, life } = setup
    checkOverlayOptions(options)
    this.#context = { options, random, counters: this.counters, outbox: new Outbox(this.counters) }
    this.#entries = new EntrySync(host, life, this.#context)
    this.#hints = new HintSync(host, this.#context)
    this.#syncAtMs = now.monotonicMs + random.float() * options.syncIntervalMs
  }

  /** The hosts that take part in it, ourselves among them. */
  members(agent: string): MemberView[] {
    const found: MemberView[] = []
    for (const { host, entries } of this.#entries.sources()) {
      const metadata = entries.get(memberKey(agent))?.value ?? null
      if (metadata !== null) found.push({ host, metadata })
    }
    return found
  }

  /** What that host said under that key; null: nothing. */
  get(host: HostId, key: string): Uint8Array | null {
    for (const source of this.#entries.sources()) {
      if (source.host === host) return source.entries.get(plainKey(key))?.value ?? null
    }
    return null
  }

  /** What hosts said under keys that begin so. */
  keys(prefix: string): KeyView[] {
    const found: KeyView[] = []
    for (const { host, entries } of this.#entries.sources()) {
      for (const { key, value } of entries.values()) {
        const parsed = parseKey(key)
        if (value === null || parsed?.kind !== 'key' || !parsed.name.startsWith(prefix)) continue
        found.push({ host, key: parsed.name, value })
      }
    }
    return found
  }

  hint(key: string): Uint8Array | null {
    return this.#hints.map.get(key)?.value ?? null
  }

  hints(prefix: string): { key: string; value: Uint8Array }[] {
    const found: { key: string; value: Uint8Array }[] = []
    for (const { key, value } of this.#hints.map.values()) {
      if (value !== null && key.startsWith(prefix)) found.push({ key, value })
    }
    return found
  }

  /** Other hosts, whose entries are followed. */
  get hosts(): number {
    return this.#entries.hostsCount
  }

  /** Entries of all hosts, tombstones too, with their bytes; and hints. */
  get sizes(): { entries: number; bytes: number; hints: number } {
    const sizes = { entries: 0, bytes: 0, hints: this.#hints.map.size }
    for (const { entries } of this.#entries.sources()) {
      sizes.entries += entries.size
      sizes.bytes += entries.bytes
    }
    return sizes
  }

  /** Why this write is not possible; null: it is. */
  refuses(write: Write): Refusal | null {
    switch (write.type) {
      case 'join':
        return this.#refusesEntry(memberKey(write.agent), write.metadata)
      case 'set':
        return this.#refusesEntry(plainKey(write.key), write.value)
      case 'leave':
        return isKey(write.agent) ? null : 'key'
      case 'delete':
      case 'delete-hint':
        return isKey(write.key) ? null : 'key'
      case 'set-hint':
        if (!isKey(write.key)) return 'key'
        if (write.value.length > HINT_VALUE_BYTES_MAX) return 'value'
        return Number.isInteger(write.ttlMs) && write.ttlMs > 0 && write.ttlMs <= HINT_TTL_MS_MAX ? null : 'ttl'
    }
  }

  /** When the next tick is due. */
  deadlineMs(): number {
    const { own } = this.#entries
    return Math.min(this.#syncAtMs, this.#gossipAtMs, own.deadlineMs(), this.#hints.deadlineMs())
  }

  step(input: Input, now: Now): void {
    switch (input.type) {
      case 'tick':
        break
      case 'host-up':
        this.#entries.up(input.host, input.life)
        break
      case 'host-down':
        this.#entries.down(input.host)
        break
      case 'payload':
        this.#receive(input.from, input.payload, now)
        break
      default:
        this.#write(input, now)
    }
    this.#tick(now)
  }

  ready(): Ready {
    const { outbox } = this.#context
    const { payloads, events } = outbox
    outbox.payloads = []
    outbox.events = []
    return { payloads, events }
  }

  #refusesEntry(key: string, value: Uint8Array): Refusal | null {
    if (!isKey(key.slice(1))) return 'key'
    if (value.length > VALUE_BYTES_MAX) return 'value'
    return this.#entries.own.isFull(key, value) ? 'full' : null
  }

  #write(write: Write, now: Now): void {
    assert(this.refuses(write) === null, 'A write that is refused must not be given')
    const hosts = this.#entries.hostsCount + 1
    switch (write.type) {
      case 'join':
        return this.#entries.write(memberKey(write.agent), write.metadata, now.monotonicMs)
      case 'leave':
        return this.#entries.write(memberKey(write.agent), null, now.monotonicMs)
      case 'set':
        return this.#entries.write(plainKey(write.key), write.value, now.monotonicMs)
      case 'delete':
        return this.#entries.write(plainKey(write.key), null, now.monotonicMs)
      case 'set-hint':
        return this.#hints.set(write.key, write.value, write.ttlMs, hosts, now.wallMs)
      case 'delete-hint':
        return this.#hints.delete(write.key, hosts, now.wallMs)
    }
  }

  #receive(from: HostId, bytes: Uint8Array, now: Now): void {
    const { counters, options, outbox } = this.#context
    counters.payloadsReceived++
    counters.payloadBytesReceived += bytes.length
    if (!this.#entries.has(from)) {
      counters.strangers++
      return
    }
    const payload = decodePayload(bytes)
    if (payload === null) {
      counters.malformed++
      return
    }
    counters.unknownMessages += payload.unknown
    const reply = new Reply(options.answerBytesMax)
    for (const message of payload.messages) this.#handle(from, message, reply, now)
    outbox.send(from, reply.messages)
  }

  #handle(from: HostId, message: Message, reply: Reply, now: Now): void {
    switch (message.type) {
      case 'digest':
        this.#entries.onDigest(from, message, reply, now.monotonicMs)
        if (message.hints !== null) this.#hints.onSum(message.hints, reply)
        return
      case 'delta':
        return this.#entries.onDelta(from, message, reply, now.monotonicMs)
      case 'hint-sums':
        return this.#hints.onSums(message.sums, reply)
      case 'hints':
        return this.#hints.onHints(message, this.#entries.hostsCount + 1, reply, now.wallMs)
    }
  }

  #tick(now: Now): void {
    const { options, random } = this.#context
    const nowMs = now.monotonicMs
    this.#entries.own.tick(nowMs)
    this.#hints.tick(nowMs, now.wallMs)
    if (nowMs >= this.#syncAtMs) {
      this.#syncAtMs = nowMs + options.syncIntervalMs * (0.9 + random.float() / 5)
      this.#sync(nowMs)
    }
    if (nowMs >= this.#gossipAtMs) this.#gossip(nowMs)
    if (!this.#entries.hasNews && !this.#hints.hasNews) this.#gossipAtMs = Number.POSITIVE_INFINITY
    else if (this.#gossipAtMs === Number.POSITIVE_INFINITY) {
      this.#gossipAtMs = Math.max(nowMs + options.batchMs, this.#gossipedMs + options.gossipIntervalMs)
    }
  }

  #sync(nowMs: number): void {
    const [to] = this.#pick(1)
    if (to === undefined) return
    const positions = this.#entries.positions(nowMs)
    this.#context.outbox.send(to, [{ type: 'digest', asks: true, positions, hints: this.#hints.map.sum }])
  }

  #gossip(nowMs: number): void {
    const { options, outbox } = this.#context
    this.#gossipedMs = nowMs
    this.#gossipAtMs = Number.POSITIVE_INFINITY
    this.#entries.ask(nowMs)
    const positions = this.#entries.rumours(options.packetBytesMax / 2)
    const hints = this.#hints.rumours(options.packetBytesMax / 2)
    const messages: Message[] = []
    if (positions.length > 0) messages.push({ type: 'digest', asks: true, positions, hints: null })
    if (hints !== null) messages.push(hints)
    if (messages.length === 0) return
    const bytes = encodePayload(messages)
    for (const to of this.#pick(options.gossipHosts)) outbox.sendEncoded(to, bytes, messages)
  }

  /** Different hosts, at random. */
  #pick(count: number): HostId[] {
    const hosts = [...this.#entries.hosts]
    const { random } = this.#context
    for (let at = 0; at < count && at < hosts.length; at++) {
      const other = at + random.below(hosts.length - at)
      const host = hosts[at]!
      hosts[at] = hosts[other]!
      hosts[other] = host
    }
    return hosts.slice(0, count)
  }
}

/** Text that comes back from UTF-8 as it was, of 1 to {@link KEY_BYTES_MAX} bytes. */
function isKey(text: string): boolean {
  if (text.length === 0 || text.length > KEY_BYTES_MAX) return false
  const bytes = Buffer.from(text)
  return bytes.length <= KEY_BYTES_MAX && bytes.toString() === text
}
