/**
 * What consensus costs without disks and sockets: microseconds of CPU for a proposal, all three replicas together, by
 * proposals a turn; the frame codec; and what 1,000 idle groups of three cost in a second, awake and asleep.
 *
 *     npx tsc -p bench/tsconfig.json && node build/dev/bench/micro/raft.js
 */
import { seededRandom } from '../../src/base/clock.ts'
import {
  type ConfState,
  type Entry,
  FrameWriter,
  type HardState,
  type LogStorage,
  type Message,
  NO_CONFIG,
  RaftNode,
  readFrame,
  type SnapshotMeta,
} from '../../src/kv/raft/index.ts'

const CONFIG: ConfState = { ...NO_CONFIG, voters: [1, 2, 3] }
const KEPT_ENTRIES = 2_000

/** A disk that is done at once. */
class Log implements LogStorage {
  readonly hardState: HardState = { term: 1, vote: null, commit: 1 }
  #base = 1
  #baseTerm = 1
  #entries: Entry[] = []

  write(entries: readonly Entry[]): void {
    if (entries.length === 0) return
    this.#entries.length = entries[0]!.index - this.#base - 1
    for (const entry of entries) this.#entries.push(entry)
    if (this.#entries.length < 2 * KEPT_ENTRIES) return
    this.#baseTerm = this.#entries[KEPT_ENTRIES - 1]!.term
    this.#base += KEPT_ENTRIES
    this.#entries = this.#entries.slice(KEPT_ENTRIES)
  }

  firstIndex(): number {
    return this.#base + 1
  }

  lastIndex(): number {
    return this.#base + this.#entries.length
  }

  term(index: number): number | null {
    return index === this.#base ? this.#baseTerm : (this.#entries[index - this.#base - 1]?.term ?? null)
  }

  entries(lo: number, hi: number): Entry[] {
    return this.#entries.slice(lo - this.#base - 1, hi - this.#base - 1)
  }

  snapshot(): SnapshotMeta | null {
    return null
  }
}

/** Three replicas whose messages arrive at once, all of a turn together. */
class Group {
  readonly nodes: RaftNode[] = []
  readonly #logs: Log[] = []
  committed = 0
  messages = 0

  constructor(seed: number) {
    for (const id of CONFIG.voters) {
      const storage = new Log()
      const { hardState } = storage
      this.#logs.push(storage)
      this.nodes.push(
        new RaftNode({ id, storage, random: seededRandom(seed * 3 + id), hardState, applied: 1, config: CONFIG }),
      )
    }
    this.leader.step({ type: 'campaign' })
    this.settle()
  }

  get leader(): RaftNode {
    return this.nodes[0]!
  }

  tick(): void {
    let awake = false
    for (const node of this.nodes) {
      if (node.quiescent) continue
      awake = true
      node.step({ type: 'tick' })
    }
    if (awake) this.settle()
  }

  settle(): void {
    for (let moved = true; moved; ) {
      moved = false
      const arriving: Message[] = []
      for (let at = 0; at < 3; at++) {
        const node = this.nodes[at]!
        const ready = node.ready()
        this.#logs[at]!.write(ready.entries)
        if (at === 0) this.committed += ready.committed.length
        for (const message of ready.messages) arriving.push(message)
        for (const message of ready.afterPersist) arriving.push(message)
        if (ready.persisted !== null) node.step(ready.persisted)
        moved ||= ready.persisted !== null || ready.more
      }
      this.messages += arriving.length
      moved ||= arriving.length > 0
      for (const message of arriving) this.nodes[message.to - 1]!.step({ type: 'message', message })
    }
  }
}

/** Microseconds of CPU that `work` takes. */
function cpuMicros(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

function best(rounds: number, work: () => number): number {
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) least = Math.min(least, work())
  return least
}

const data = new Uint8Array(200)
for (const perTurn of [1, 10, 100, 1_000]) {
  const group = new Group(perTurn)
  const total = perTurn === 1 ? 20_000 : 200_000
  const micros = best(4, () => {
    const from = group.committed
    const spent = cpuMicros(() => {
      for (let done = 0; done < total; done += perTurn) {
        for (let at = 0; at < perTurn; at++) group.leader.step({ type: 'propose', data, context: at })
        group.settle()
      }
    })
    if (group.committed - from !== total) throw new Error(`${group.committed - from} of ${total} were committed`)
    return spent / total
  })
  const perSecond = Math.round(1e6 / micros).toLocaleString('en')
  console.log(`${perTurn} a turn: ${micros.toFixed(2)} us a proposal, all three replicas; ${perSecond} a second`)
}

const entries: Entry[] = Array.from({ length: 100 }, (_, at) => {
  return { index: 1_000 + at, term: 7, type: 'command', data, change: null }
})
const ends = { from: 1, to: 2, term: 7 }
const append: Message = { ...ends, type: 'append', previousIndex: 999, previousTerm: 7, commit: 990, entries }
const beats = Array.from({ length: 1_000 }, (_, at) => {
  const message: Message = { ...ends, type: 'heartbeat', commit: 100_000 + at, round: at, quiesce: false }
  return { group: `inbox-${10_000 + at}`, message }
})

function codec(name: string, messages: readonly { group: string; message: Message }[], count: number): void {
  const write = () => {
    const writer = new FrameWriter(1 << 20)
    for (const { group, message } of messages) writer.add(group, message)
    return writer.take()
  }
  const frame = write()
  const rounds = 500
  const loop = (work: () => void) => () =>
    cpuMicros(() => {
      for (let round = 0; round < rounds; round++) work()
    })
  const writing = (best(5, loop(write)) * 1e3) / rounds / count
  const reading =
    (best(
      5,
      loop(() => readFrame(frame)),
    ) *
      1e3) /
    rounds /
    count
  const bytes = (frame.length / count).toFixed(1)
  console.log(`${name}: write ${writing.toFixed(0)} ns, read ${reading.toFixed(0)} ns, ${bytes} bytes each`)
}
codec('entry of 200 bytes, 100 an append', [{ group: 'inbox-1', message: append }], 100)
codec('heartbeat, 1,000 groups a frame', beats, 1_000)

const groups = Array.from({ length: 1_000 }, (_, seed) => new Group(seed))
/** Ten ticks. */
const second = () => {
  for (let tick = 0; tick < 10; tick++) for (const group of groups) group.tick()
}
const sleepers = () => groups.filter(({ nodes }) => nodes.every((node) => node.quiescent)).length
const awake = best(3, () => cpuMicros(second))
console.log(`1,000 groups of three awake: ${(awake / 1e4).toFixed(2)} % of a core (${sleepers()} asleep)`)
for (let seconds = 0; seconds < 10; seconds++) second()
const asleep = best(3, () => cpuMicros(second))
console.log(`1,000 groups of three: ${sleepers()} asleep, ${(asleep / 1e4).toFixed(3)} % of a core`)
