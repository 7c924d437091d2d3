import { randomBytes } from 'node:crypto'
import type { Client } from './process.ts'

export interface LoadOptions {
  /** Mutations a second, evenly; 0 = as many as there is room for. */
  rate: number
  inFlight: number
  valueBytes: number
  /** Every key is new and counted, so that {@link Load.audit} can tell what became of it. */
  once: boolean
  /** Parts of the key space for {@link Load.recovered}: the ranges. */
  parts: number
  /** Keys are drawn from so many, where they are not new. */
  keys: number
  /** In order, from the first key to the last, and then no more. */
  fill: boolean
}

export interface Measured {
  count: number
  failed: number
  perSecond: number
  p50: number
  p99: number
  max: number
}

export interface Audit {
  acknowledged: number
  /** Acknowledged, and not there. */
  lost: number
  /** There more than once. */
  doubled: number
  /** There, and never asked for. */
  unknown: number
}

const KEY_BYTES = 16
const TICK_MS = 1
const PAGE = 5_000
/** Longer than any failure that is tried: then a mutation counts as failed. */
const DEADLINE_MS = 60_000

const UNKNOWN = 0
const ACKNOWLEDGED = 1

/** Mutations of one client: how many, how fast, and what became of each. */
export class Load {
  readonly #client: Client
  #options: LoadOptions | null = null
  #timer: NodeJS.Timeout | undefined
  #startMs = 0
  #sent = 0
  #underWay = 0
  #ended = false
  #drained: (() => void) | null = null
  /** Of counted keys, by number. */
  #outcomes = new Uint8Array(1 << 16)
  #numbers = 0
  #measuring: { latencies: number[]; failed: number; beganMs: number } | null = null
  /** When the failure was, and when each part went on. */
  #markMs = Number.POSITIVE_INFINITY
  #gaps: (number | null)[] = []
  #whenRecovered: (() => void) | null = null

  constructor(client: Client) {
    this.#client = client
  }

  begin(options: LoadOptions): void {
    this.#options = options
    this.#startMs = performance.now()
    this.#sent = 0
    this.#ended = false
    this.#numbers = 0
    this.#outcomes.fill(UNKNOWN)
    this.#timer = setInterval(() => this.#fill(), TICK_MS)
    this.#fill()
  }

  /** Latencies and rate from now on; a latency begins at the intended time where there is a rate. */
  measuring(): void {
    this.#measuring = { latencies: [], failed: 0, beganMs: performance.now() }
  }

  measured(): Measured {
    const { latencies, failed, beganMs } = this.#measuring!
    this.#measuring = null
    const seconds = (performance.now() - beganMs) / 1_000
    latencies.sort((a, b) => a - b)
    const at = (share: number) => Number((latencies[Math.floor((latencies.length - 1) * share)] ?? 0).toFixed(2))
    const count = latencies.length
    return { count, failed, perSecond: count / seconds, p50: at(0.5), p99: at(0.99), max: at(1) }
  }

  async measure(ms: number): Promise<Measured> {
    this.measuring()
    await new Promise((resolve) => setTimeout(resolve, ms))
    return this.measured()
  }

  /** Resolves when a load that fills has answered its last key. */
  async filled(): Promise<void> {
    if (!this.#ended || this.#underWay > 0) await new Promise<void>((resolve) => (this.#drained = resolve))
  }

  /** Something fails now. */
  mark(): void {
    this.#markMs = performance.now()
    this.#gaps = Array.from({ length: this.#options!.parts }, () => null)
  }

  /** When every part has answered a mutation that was asked after {@link mark}: how long that took, the slowest part. */
  async recovered(): Promise<number> {
    if (this.#gaps.includes(null)) await new Promise<void>((resolve) => (this.#whenRecovered = resolve))
    return Math.max(...(this.#gaps as number[]))
  }

  /** Asks nothing more; resolves when all is answered. */
  async end(): Promise<void> {
    this.#ended = true
    clearInterval(this.#timer)
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#drained = resolve))
  }

  /** What the ranges hold against what was acknowledged. */
  async audit(): Promise<Audit> {
    const counts = new Uint8Array(this.#numbers)
    let unknown = 0
    for (let first = 0; first < 256; first++) {
      for (let start: Uint8Array | null = Uint8Array.of(first); start !== null && start[0] === first; ) {
        const page = await this.#client.query(start, { start, limit: PAGE }, { deadlineMs: DEADLINE_MS })
        for (const [key, count] of page.found) {
          const number = numberOf(key)
          if (key[0] !== first || key[1] !== 0) continue
          if (number < this.#numbers) counts[number] = count
          else unknown++
        }
        start = page.next
      }
    }
    const audit: Audit = { acknowledged: 0, lost: 0, doubled: 0, unknown }
    for (let number = 0; number < this.#numbers; number++) {
      const acknowledged = this.#outcomes[number] === ACKNOWLEDGED
      if (acknowledged) audit.acknowledged++
      if (acknowledged && counts[number] === 0) audit.lost++
      if (counts[number]! > 1) audit.doubled++
    }
    return audit
  }

  #fill(): void {
    const { rate, inFlight } = this.#options!
    const due = rate === 0 ? Number.POSITIVE_INFINITY : ((performance.now() - this.#startMs) * rate) / 1_000
    while (!this.#ended && this.#sent < due && this.#underWay < inFlight) this.#send()
  }

  #send(): void {
    const { once, parts, rate, valueBytes, keys, fill } = this.#options!
    const nowMs = performance.now()
    const intendedMs = rate === 0 ? nowMs : this.#startMs + (this.#sent * 1_000) / rate
    this.#sent++
    const number = once || fill ? this.#numbers++ : Math.floor(Math.random() * keys)
    if (fill && number >= keys) {
      this.#ended = true
      return
    }
    const key = fill ? orderedKey(number, keys) : keyOf(number)
    if (once && number >= this.#outcomes.length) this.#grow()
    const value = noiseOf(number, valueBytes)
    this.#underWay++
    const done = (error: Error | null) => {
      this.#underWay--
      const doneMs = performance.now()
      if (error === null) {
        if (once) this.#outcomes[number] = ACKNOWLEDGED
        if (nowMs >= this.#markMs) this.#goesOn(Math.floor((key[0]! * parts) / 256), doneMs)
      }
      if (this.#measuring !== null) {
        this.#measuring.latencies.push(doneMs - intendedMs)
        if (error !== null) this.#measuring.failed++
      }
      if (this.#underWay === 0 && this.#ended) this.#drained?.()
      else if (rate === 0) this.#fill()
    }
    this.#client.mutateWith(key, { key, value, once }, done, { deadlineMs: DEADLINE_MS })
  }

  #goesOn(part: number, nowMs: number): void {
    if (this.#gaps[part] !== null) return
    this.#gaps[part] = nowMs - this.#markMs
    if (!this.#gaps.includes(null)) this.#whenRecovered?.()
  }

  #grow(): void {
    const grown = new Uint8Array(this.#outcomes.length * 2).fill(UNKNOWN)
    grown.set(this.#outcomes)
    this.#outcomes = grown
  }
}

/** What no compression makes smaller. */
const NOISE = randomBytes(1 << 20)

function noiseOf(number: number, bytes: number): Uint8Array {
  const at = Math.imul(number, 0x9e3779b1) & (NOISE.length / 2 - 1)
  return new Uint8Array(NOISE.subarray(at, at + bytes))
}

/** Numbers in a row go to all parts. */
function keyOf(number: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  key[0] = Math.imul(number, 0x9e3779b1) >>> 24
  new DataView(key.buffer).setUint32(4, number)
  return key
}

/** All keys in order, over the whole space; none is one of {@link keyOf}. */
function orderedKey(number: number, keys: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  key[0] = Math.floor((number * 256) / keys)
  key[1] = 1
  new DataView(key.buffer).setUint32(4, number)
  return key
}

function numberOf(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(4)
}
