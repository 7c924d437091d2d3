import type { Random } from '../../../src/base/clock.ts'
import type { RangeClient } from '../../../src/kv/client/client.ts'
import { checkLinearizable, checkList, type ListCall, type Operation } from './linearizable.ts'
import { bytes, type Command, type Query, type Response, wordsOf } from './logic.ts'
import { LETTERS, oneOf } from './plan.ts'
import { Violation } from './violation.ts'

export type Client = RangeClient<Command, Response, Query, string>

/** Of each letter one; `l` and `z` end with words, `r` is a register, `c` a number. */
export const LISTS = [...LETTERS].map((letter) => `${letter}l`)
const REGISTERS = [...LETTERS].filter((_, i) => i % 2 === 0).map((letter) => `${letter}r`)
const COUNTERS = [...LETTERS].filter((_, i) => i % 3 === 1).map((letter) => `${letter}c`)
const ALARMS = [...LETTERS].filter((_, i) => i % 4 === 2).map((letter) => `${letter}z`)

const WORKERS = 4
const BURST_MAX = 4
/** Calls of one client's open loop; beyond, it waits. */
const UNDER_WAY_MAX = 120
const PROBE_AGAIN_MS = 200

export interface ClientsOptions {
  random: Random
  after(ms: number, work: () => void): void
  nowMs(): number
  connect(): Client
  /** Reads may be answered by any replica, whatever it knows: what the checker must see. */
  staleReads: boolean
}

/** Clients that never stop, and the history of all they asked and were told. */
export class Clients {
  /** Calls that were answered, that nobody knows of, and reads among the former. */
  readonly counts = { answered: 0, unknown: 0, reads: 0, undecided: 0 }
  readonly #options: ClientsOptions
  readonly #operations = new Map<string, Operation[]>()
  readonly #lists = new Map<string, ListCall[]>()
  /** By client and list, the words in the order in which they were sent. */
  readonly #sent = new Map<string, string[]>()
  readonly #alarms = new Map<string, { word: string; armed: boolean }[]>()
  readonly #clients: { client: Client; name: string; underWay: number; words: number }[] = []
  #now = 0
  #names = 0
  #stopped = false

  constructor(options: ClientsOptions, count: number) {
    this.#options = options
    for (let i = 0; i < count; i++) {
      this.#clients.push(this.#connected())
      for (let worker = 0; worker < WORKERS; worker++) this.#later(i * 7 + worker, () => this.#work(i))
      this.#later(20, () => this.#append(i))
      this.#later(50, () => this.#readList(i))
      this.#later(400, () => this.#arm(i))
    }
  }

  /** Of words and alarms: what is asked of lists. */
  get underWay(): number {
    return this.#clients.reduce((sum, { underWay }) => sum + underWay, 0)
  }

  /** A client's process dies, and another one takes its place. */
  restart(): void {
    const { random } = this.#options
    const at = random.below(this.#clients.length)
    void this.#clients[at]!.client.close()
    this.#clients[at] = this.#connected()
  }

  /** Nothing new is asked from now on. */
  stop(): void {
    this.#stopped = true
  }

  /** Asks every list for a new word; `done` is called when all have answered. */
  probe(done: () => void): void {
    const one = this.#connected()
    this.#clients.push(one)
    let left = LISTS.length
    // A disk that failed is no answer.
    const ask = (key: string) =>
      this.#send(one, key, (error) => {
        if (error !== null) this.#options.after(PROBE_AGAIN_MS, () => ask(key))
        else if (--left === 0) done()
      })
    for (const key of LISTS) ask(key)
  }

  /** Throws where what clients saw cannot be, given what is there in the end. */
  check(final: (key: string) => string): void {
    for (const [key, operations] of this.#operations) {
      const last = { kind: 'read', value: '', expect: '', start: ++this.#now, end: ++this.#now, done: true } as const
      const { verdict, at } = checkLinearizable([...operations, { ...last, result: final(key) }], '')
      if (verdict === 'undecided') this.counts.undecided++
      if (verdict === 'not linearizable') throw new Violation(`Linearizability of ${key}: ${JSON.stringify(at)}`)
    }
    for (const [key, calls] of this.#lists) {
      const wrong = checkList(calls, wordsOf(final(key)))
      if (wrong !== null) throw new Violation(`Linearizability of ${key}: ${wrong}`)
    }
    for (const [name, sent] of this.#sent) {
      const words = new Set(wordsOf(final(name.split(' ')[1]!)))
      const order = wordsOf(final(name.split(' ')[1]!)).filter((word) => word.startsWith(`${name.split(' ')[0]}.`))
      const expected = sent.filter((word) => words.has(word))
      if (order.join(' ') !== expected.join(' ')) {
        throw new Violation(`Order of a client: ${name} sent ${expected.join(' ')}, there is ${order.join(' ')}`)
      }
    }
    for (const [key, alarms] of this.#alarms) {
      const rung = wordsOf(final(key))
      for (const { word, armed } of alarms) {
        const times = rung.filter((each) => each === word).length
        if (times > 1 || (armed && times === 0))
          throw new Violation(`Timed work: "${word}" of ${key} rang ${times} times`)
      }
    }
  }

  #connected(): { client: Client; name: string; underWay: number; words: number } {
    return { client: this.#options.connect(), name: `c${++this.#names}`, underWay: 0, words: 0 }
  }

  #later(meanMs: number, work: () => void): void {
    const { after, random } = this.#options
    after(random.float() * meanMs * 2, () => {
      if (!this.#stopped) work()
    })
  }

  /** One call after the other, on registers and numbers. */
  #work(at: number): void {
    const { random } = this.#options
    const again = () => this.#later(120, () => this.#work(at))
    const { client } = this.#clients[at]!
    const isCounter = random.below(3) === 0
    const key = oneOf(random, isCounter ? COUNTERS : REGISTERS)
    const kind = random.below(10) < 4 ? 'read' : isCounter ? 'add' : random.below(2) === 0 ? 'put' : 'cas'
    const operations = this.#operations.get(key) ?? []
    this.#operations.set(key, operations)
    const value = kind === 'add' ? String(1 + random.below(9)) : `${++this.#names}`
    const expect = kind === 'cas' ? (operations.findLast(({ result }) => result !== null)?.result ?? '') : ''
    const operation: Operation = {
      ...{ kind, value, expect, start: ++this.#now, end: Number.POSITIVE_INFINITY, result: null, done: true },
    }
    operations.push(operation)
    const deadlineMs = random.below(8) === 0 ? 1_500 : 20_000
    const end = (result: string | null, done: boolean) => {
      if (result !== null) Object.assign(operation, { end: ++this.#now, result, done })
      this.#count(result !== null, kind === 'read')
      again()
    }
    if (kind === 'read') {
      const asked = client.query(bytes(key), { key }, { deadlineMs, linearizable: !this.#options.staleReads })
      asked.then(
        (result) => end(result, true),
        () => end(null, true),
      )
      return
    }
    const command: Command =
      kind === 'add'
        ? { type: 'add', key, by: Number(value) }
        : kind === 'put'
          ? { type: 'put', key, value }
          : { type: 'cas', key, expect, value }
    const told = (error: Error | null, response: Response | null) => {
      if (error === null) end(response!.value, response!.done)
      else end(null, false)
    }
    client.mutateWith(bytes(key), command, told, { deadlineMs })
  }

  /** Bursts into lists, without waiting for the one before. */
  #append(at: number): void {
    const { random } = this.#options
    this.#later(80, () => this.#append(at))
    const one = this.#clients[at]!
    if (one.underWay >= UNDER_WAY_MAX) return
    for (let i = 1 + random.below(BURST_MAX); i > 0; i--) this.#send(one, oneOf(random, LISTS), () => {})
  }

  #send(
    one: { client: Client; name: string; underWay: number; words: number },
    key: string,
    done: (error: Error | null) => void,
  ): void {
    const word = `${one.name}.${++one.words}`
    const call: ListCall = {
      kind: 'append',
      word,
      start: ++this.#now,
      end: Number.POSITIVE_INFINITY,
      length: null,
      words: [],
    }
    this.#callsOf(key).push(call)
    const name = `${one.name} ${key}`
    const sent = this.#sent.get(name) ?? []
    this.#sent.set(name, sent)
    sent.push(word)
    one.underWay++
    const told = (error: Error | null, response: Response | null) => {
      one.underWay--
      if (error === null) Object.assign(call, { end: ++this.#now, length: Number(response!.value) })
      this.#count(error === null, false)
      done(error)
    }
    one.client.mutateWith(bytes(key), { type: 'append', key, word }, told, { deadlineMs: 120_000 })
  }

  #readList(at: number): void {
    const { random, staleReads } = this.#options
    const key = oneOf(random, LISTS)
    const again = () => this.#later(200, () => this.#readList(at))
    const linearizable = !staleReads && random.below(5) > 0
    const call: ListCall = {
      kind: 'read',
      word: '',
      start: ++this.#now,
      end: Number.POSITIVE_INFINITY,
      length: null,
      words: [],
    }
    const asked = this.#clients[at]!.client.query(bytes(key), { key }, { deadlineMs: 5_000, linearizable })
    asked.then((value) => {
      const words = wordsOf(value)
      Object.assign(call, { end: ++this.#now, length: words.length, words })
      // Who asks any replica sees what was true once: a beginning of the list, that may be short.
      if (!linearizable && !staleReads) call.start = 0
      if (!linearizable && !staleReads) call.end = Number.POSITIVE_INFINITY
      this.#callsOf(key).push(call)
      this.#count(true, true)
      again()
    }, again)
  }

  #arm(at: number): void {
    const { random, nowMs } = this.#options
    this.#later(400, () => this.#arm(at))
    const key = oneOf(random, ALARMS)
    const one = this.#clients[at]!
    if (one.underWay >= UNDER_WAY_MAX) return
    const alarm = { word: `${one.name}.${++one.words}`, armed: false }
    const known = this.#alarms.get(key) ?? []
    this.#alarms.set(key, known)
    known.push(alarm)
    const command: Command = { type: 'arm', key, word: alarm.word, dueMs: nowMs() + random.below(3_000) }
    one.underWay++
    const told = (error: Error | null) => {
      one.underWay--
      if (error === null) alarm.armed = true
      this.#count(error === null, false)
    }
    one.client.mutateWith(bytes(key), command, told, { deadlineMs: 120_000 })
  }

  #callsOf(key: string): ListCall[] {
    let calls = this.#lists.get(key)
    if (calls === undefined) {
      calls = []
      this.#lists.set(key, calls)
    }
    return calls
  }

  #count(answered: boolean, read: boolean): void {
    if (answered) this.counts.answered++
    else this.counts.unknown++
    if (answered && read) this.counts.reads++
  }
}
