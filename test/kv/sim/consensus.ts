import { crc32 } from 'node:zlib'
import type { ConfState, Entry, HardState, Message, Ready, ReplicaId, Status } from '../../../src/kv/raft/index.ts'
import { FIRST_INDEX } from '../../../src/kv/range/range.ts'
import type { Group } from '../../../src/kv/store/group.ts'
import type { Packet } from '../../../src/kv/store/packet.ts'
import type { DiskView } from './disk-view.ts'
import { Violation } from './violation.ts'

interface Committed {
  term: number
  content: string
  /** In which it was committed. */
  inTerm: number
}

/** What is known of one range's group, on all stores. */
interface GroupRecord {
  leaders: Map<number, ReplicaId>
  votes: Map<string, ReplicaId>
  /** Of each index and term: what it holds, and the term before it. */
  entries: Map<string, string>
  /** From {@link FIRST_INDEX} + 1 on. */
  committed: Committed[]
  /** By which configuration and in which term entries were committed that nobody has handed out. */
  committedBy: { upTo: number; config: ConfState; term: number }[]
  stores: Map<ReplicaId, string>
}

export interface ConsensusOptions {
  /** What is on a store's disk for good; of a disk that was lost, what was on it then. */
  disk(store: string): DiskView | undefined
  /** Its disk was lost: it votes no more. */
  lost(store: string): boolean
  /** The first time that an entry is handed out as committed anywhere. */
  committed(range: string, entry: Entry): void
}

/**
 * Watches all groups, and throws at the first Ready, packet or write that breaks one of Raft's properties. Names as in
 * the paper's figure 3; see `README.md` for the list.
 */
export class Consensus {
  elections = 0
  commits = 0
  readonly #options: ConsensusOptions
  readonly #groups = new Map<string, GroupRecord>()
  /** Groups that led when something was last taken from them. */
  readonly #leading = new WeakMap<Group, Status>()

  constructor(options: ConsensusOptions) {
    this.#options = options
  }

  /** The last index of the range that is known to be committed. */
  committedIndex(range: string): number {
    return FIRST_INDEX + (this.#groups.get(range)?.committed.length ?? 0)
  }

  /** What was on a store's disk is lost: the replicas that it had are known by `ghost` from now on. */
  lost(store: string, ghost: string): void {
    for (const { stores } of this.#groups.values()) {
      for (const [replica, place] of stores) if (place === store) stores.set(replica, ghost)
    }
  }

  ready(store: string, range: string, group: Group, ready: Ready, before: Status, after: Status): void {
    const record = this.#of(range)
    record.stores.set(group.replica, store)
    // It may have lost the leadership in this very turn, and have committed something before.
    const led = before.role === 'leader' ? before : this.#leading.get(group)
    if (led !== undefined) noteCommit(record, before.commit, led)
    this.#checkEntries(range, record, group, ready, before)
    if (group.sole) this.#adopt(range, record, group, before)
    const { leadership } = ready
    if (leadership?.role === 'leader') this.#elected(range, record, group, leadership.term)
    let next = before.applied
    for (const entry of ready.committed) {
      if (entry.index !== ++next)
        throw new Violation(`Order: ${store} hands out ${range} ${entry.index} after ${next - 1}`)
      this.#handedOut(store, range, record, entry)
    }
    if (after.role === 'leader') {
      noteCommit(record, after.commit, after)
      this.#leading.set(group, after)
    } else this.#leading.delete(group)
  }

  /** What a store sends is checked when it leaves: what it promises must be on its disk by then. */
  sent(from: string, to: string, packets: readonly Packet[]): void {
    for (const packet of packets) if (packet.type === 'raft') this.#checkMessage(from, to, packet.range, packet.message)
  }

  /** A hard state that is about to be written over another one of the same replica. */
  checkState(store: string, range: string, before: HardState, after: HardState): void {
    const revoted = after.term === before.term && before.vote !== null && after.vote !== before.vote
    if (after.term >= before.term && !revoted) return
    throw new Violation(`Hard state of ${range} on ${store} goes back: ${JSON.stringify({ before, after })}`)
  }

  #of(range: string): GroupRecord {
    let record = this.#groups.get(range)
    if (record === undefined) {
      const maps = { leaders: new Map(), votes: new Map(), entries: new Map(), stores: new Map() }
      record = { ...maps, committed: [], committedBy: [] }
      this.#groups.set(range, record)
    }
    return record
  }

  #checkEntries(range: string, record: GroupRecord, group: Group, { entries }: Ready, before: Status): void {
    const first = entries[0]
    if (first === undefined) return
    const led = this.#leading.get(group)
    if (before.role === 'leader' && led?.term === before.term && first.index <= led.lastIndex) {
      throw new Violation(`Leader append-only: the leader of ${range} replaces entry ${first.index}`)
    }
    let previous = group.log.term(first.index - 1)
    for (const entry of entries) {
      const key = `${entry.index}/${entry.term}`
      const content = contentOf(entry)
      const known = record.entries.get(key)
      if (known === undefined) record.entries.set(key, content)
      else if (known !== content) throw new Violation(`Log matching: ${range} ${key} is "${known}" and "${content}"`)
      if (previous !== null) {
        const link = record.entries.get(`before ${key}`)
        if (link === undefined) record.entries.set(`before ${key}`, `${previous}`)
        else if (link !== `${previous}`) {
          throw new Violation(`Log matching: before ${range} ${key} are terms ${link} and ${previous}`)
        }
      }
      previous = entry.term
    }
  }

  #leads(range: string, record: GroupRecord, replica: ReplicaId, term: number): void {
    const other = record.leaders.get(term)
    if (other === undefined) record.leaders.set(term, replica)
    else if (other !== replica) {
      throw new Violation(`Election safety: replicas ${other} and ${replica} of ${range} lead in term ${term}`)
    }
  }

  #elected(range: string, record: GroupRecord, group: Group, term: number): void {
    this.elections++
    this.#leads(range, record, group.replica, term)
    const first = Math.max(group.log.firstIndex(), FIRST_INDEX + 1)
    for (let index = first; index < FIRST_INDEX + 1 + record.committed.length; index++) {
      const known = record.committed[index - FIRST_INDEX - 1]!
      if (known.inTerm < term && group.log.term(index) !== known.term) {
        const who = `replica ${group.replica} of ${range}`
        throw new Violation(`Leader completeness: ${who} leads in ${term} without ${index}/${known.term}`)
      }
    }
  }

  #handedOut(store: string, range: string, record: GroupRecord, entry: Entry): void {
    const at = entry.index - FIRST_INDEX - 1
    const known = record.committed[at]
    const content = contentOf(entry)
    if (known !== undefined) {
      if (known.term === entry.term && known.content === content) return
      throw new Violation(`State machine safety: ${store} applies another entry ${range} ${entry.index}`)
    }
    if (at !== record.committed.length) throw new Violation(`Entry ${range} ${entry.index} is committed before others`)
    while ((record.committedBy[0]?.upTo ?? entry.index) < entry.index) record.committedBy.shift()
    const by = record.committedBy[0]
    if (by === undefined) throw new Violation(`No leader has committed ${range} ${entry.index}: ${store} applies it`)
    this.#checkDurable(range, record, entry, by.config)
    this.#checkFinal(range, record, entry, by.config)
    record.committed.push({ term: entry.term, content, inTerm: by.term })
    this.commits++
    this.#options.committed(range, entry)
  }

  /** A sole voter had it on disk, applied, and died before it could hand it out. */
  #adopt(range: string, record: GroupRecord, { log }: Group, { applied, term }: Status): void {
    for (let index = this.committedIndex(range) + 1; index <= applied; index++) {
      const entry = log.entries(index, index + 1, 0)[0]!
      record.committed.push({ term: entry.term, content: contentOf(entry), inTerm: term })
      this.#options.committed(range, entry)
    }
  }

  /** Committed is durable: on the disks of a majority, in both halves of the configuration. */
  #checkDurable(range: string, record: GroupRecord, entry: Entry, config: ConfState): void {
    for (const half of [config.voters, config.outgoing]) {
      const holders = half.filter((id) => holds(this.#disk(record, id), range, entry))
      if (half.length > 0 && holders.length * 2 <= half.length) {
        const where = `only on replicas ${holders.join(', ')} of ${half.join(', ')}`
        throw new Violation(`Committed is durable: ${range} ${entry.index}/${entry.term} is ${where}`)
      }
    }
  }

  /** Leader completeness, seen from before: nobody without the entry could be elected by what is on the disks. */
  #checkFinal(range: string, record: GroupRecord, entry: Entry, { voters, outgoing }: ConfState): void {
    for (const id of new Set([...voters, ...outgoing])) {
      const disk = this.#disk(record, id)
      const end = this.#lost(record, id) ? null : endOf(disk, range)
      if (end === null || end.emptied || end.index === 0 || holds(disk, range, entry)) continue
      const votes = (other: ReplicaId) => {
        const own = this.#lost(record, other) ? null : endOf(this.#disk(record, other), range)
        return own !== null && (own.term < end.term || (own.term === end.term && own.index <= end.index))
      }
      const wins = [voters, outgoing].every((half) => half.length === 0 || half.filter(votes).length * 2 > half.length)
      if (!wins) continue
      throw new Violation(
        `Leader completeness: replica ${id} of ${range} could lead without ${entry.index}/${entry.term}`,
      )
    }
  }

  #checkMessage(from: string, to: string, range: string, message: Message): void {
    const record = this.#of(range)
    record.stores.set(message.from, from)
    if (!record.stores.has(message.to)) record.stores.set(message.to, to)
    switch (message.type) {
      case 'append':
      case 'heartbeat':
      case 'snapshot':
      case 'timeout-now':
        return this.#leads(range, record, message.from, message.term)
      case 'vote-answer':
        if (message.granted && !message.pre) this.#voted(from, range, record, message.from, message.to, message.term)
        return
      case 'vote-request':
        if (!message.pre) this.#voted(from, range, record, message.from, message.from, message.term)
        return
      case 'append-answer': {
        const stored = endOf(this.#options.disk(from), range)
        if (!message.accepted || (stored !== null && stored.index >= message.index)) return
        throw new Violation(`Durable before it is answered: ${from} says that it has ${range} ${message.index}`)
      }
      default:
        return
    }
  }

  #voted(
    store: string,
    range: string,
    record: GroupRecord,
    voter: ReplicaId,
    candidate: ReplicaId,
    term: number,
  ): void {
    const key = `${voter} in ${term}`
    const known = record.votes.get(key)
    if (known === undefined) record.votes.set(key, candidate)
    else if (known !== candidate) {
      throw new Violation(`One vote a term: replica ${key} of ${range} votes for ${known} and ${candidate}`)
    }
    const written = this.#options.disk(store)?.ranges.get(range)?.hardState ?? null
    if (written !== null && (written.term > term || (written.term === term && written.vote === candidate))) return
    throw new Violation(`A vote outlives its voter: that of ${key} of ${range} is not on the disk of ${store}`)
  }

  #lost(record: GroupRecord, replica: ReplicaId): boolean {
    const store = record.stores.get(replica)
    return store !== undefined && this.#options.lost(store)
  }

  #disk(record: GroupRecord, replica: ReplicaId): DiskView | undefined {
    const store = record.stores.get(replica)
    return store === undefined ? undefined : this.#options.disk(store)
  }
}

function noteCommit(record: GroupRecord, upTo: number, { config, term }: Status): void {
  const known = record.committedBy.at(-1)?.upTo ?? FIRST_INDEX + record.committed.length
  if (upTo > known) record.committedBy.push({ upTo, config, term })
}

function contentOf({ type, data, change }: Entry): string {
  const members = change?.members.map(({ type: how, id }) => `${how} ${id}`).join(', ') ?? ''
  return `${type} ${data.length} ${crc32(data)} ${members} ${change?.leave ?? ''}`
}

function holds(disk: DiskView | undefined, range: string, { index, term }: Entry): boolean {
  const found = disk?.ranges.get(range)
  if (disk === undefined || found === undefined) return false
  return found.compacted.index >= index || disk.term(range, index) === term
}

/** Where a replica's log ends, as it votes; null where it does not vote. */
function endOf(disk: DiskView | undefined, range: string): { index: number; term: number; emptied: boolean } | null {
  const found = disk?.ranges.get(range)
  if (disk === undefined || found === undefined || found.hardState === null) return null
  const floor = found.newcomer?.emptiedFor ?? null
  if (floor !== null) return { ...floor, emptied: true }
  return { index: found.last, term: disk.term(range, found.last) ?? 0, emptied: false }
}
