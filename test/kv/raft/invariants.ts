import type { ConfState, Entry, HardState, Ready, ReplicaId, Role } from '../../../src/kv/raft/index.ts'
import { BEGIN_INDEX, type Disk, type Host, type SentMessage, textOf } from './host.ts'

/** A broken promise: what a simulation must never see. */
export class Violation extends Error {
  override name = 'Violation'
}

/** The log of one life of a replica, as its Readys tell it. */
interface Mirror {
  role: Role
  term: number
  first: number
  last: number
  terms: Map<number, number>
}

/**
 * Watches every Ready, message and write of all replicas, and throws at the first that breaks one of Raft's properties.
 * Names as in the paper's figure 3, and in the list of invariants of this project.
 */
export class Invariants {
  readonly #leaders = new Map<number, ReplicaId>()
  readonly #votes = new Map<string, ReplicaId>()
  /** Of each (index, term): what it holds and what is before it. */
  readonly #entries = new Map<string, string>()
  /** By which configuration entries were committed that nobody has handed out yet. */
  #committedBy: { upTo: number; config: ConfState }[] = []
  /** What was committed, by index, and the state after it. */
  readonly #committed: { term: number; text: string; inTerm: number }[] = []
  readonly #hashes = new Map<number, number>()
  readonly #mirrors = new Map<ReplicaId, Mirror>()
  readonly #disks: ReadonlyMap<ReplicaId, Disk>

  readonly #inflightMax: number

  /** @param inflightMax entries under way to one replica: what the bounds in bytes allow */
  constructor(disks: ReadonlyMap<ReplicaId, Disk>, inflightMax: number) {
    this.#disks = disks
    this.#inflightMax = inflightMax
  }

  get committedIndex(): number {
    return BEGIN_INDEX + this.#committed.length
  }

  get terms(): number {
    return this.#leaders.size
  }

  started(host: Host): void {
    const { disk } = host
    const terms = new Map<number, number>()
    const first = disk.firstIndex()
    for (let index = first; index <= disk.lastIndex(); index++) terms.set(index, disk.term(index)!)
    this.#mirrors.set(host.id, { role: 'follower', term: disk.hardState.term, first, last: disk.lastIndex(), terms })
  }

  /** Before any replica hands them out: whoever leads knows first. */
  commits(upTo: number, config: ConfState): void {
    if (upTo > (this.#committedBy.at(-1)?.upTo ?? this.committedIndex)) this.#committedBy.push({ upTo, config })
  }

  observe(ready: Ready, host: Host): void {
    const mirror = this.#mirrors.get(host.id)!
    if (ready.snapshot !== null) {
      mirror.terms.clear()
      mirror.first = ready.snapshot.index + 1
      mirror.last = ready.snapshot.index
    }
    if (ready.leadership !== null) mirror.role = ready.leadership.role
    this.#checkEntries(ready, mirror, host.id)
    if (ready.leadership !== null) {
      if (ready.leadership.term < mirror.term) throw new Violation(`Term of n${host.id} goes back`)
      mirror.term = ready.leadership.term
      if (mirror.role === 'leader') this.#checkElected(host.id, mirror)
    }
    for (const entry of ready.committed) this.#checkCommitted(entry, host)
  }

  /** The state after what was handed out. */
  checkState(host: Host): void {
    const { index, hash } = host.app
    const known = this.#hashes.get(index)
    if (known === undefined) this.#hashes.set(index, hash)
    else if (known !== hash) throw new Violation(`State machine safety: n${host.id} differs at ${index}`)
  }

  /** What a replica believes to be on its disk is there; what is sent and not answered is bounded. */
  checkBeliefs(host: Host): void {
    const { persisted } = host.node.status()
    const term = this.#mirrors.get(host.id)!.terms.get(persisted)
    if (term !== undefined && host.disk.firstIndex() <= persisted && host.disk.term(persisted) !== term) {
      throw new Violation(`n${host.id} believes that ${persisted}/${term} is on its disk`)
    }
    for (const { id, state, match, next } of host.node.peers()) {
      if (state === 'replicate' && next - 1 - match > this.#inflightMax) {
        throw new Violation(`Bounds: n${host.id} has ${next - 1 - match} entries under way to n${id}`)
      }
    }
  }

  checkMessage(message: SentMessage): void {
    if (message.type === 'vote-answer' && message.granted && !message.pre)
      this.#voted(message.from, message.term, message.to)
    if (message.type === 'vote-request' && !message.pre) this.#voted(message.from, message.term, message.from)
  }

  checkDisk(id: ReplicaId, before: HardState, after: HardState): void {
    const revoted = after.term === before.term && before.vote !== null && after.vote !== before.vote
    if (after.term < before.term || revoted || after.commit < before.commit) {
      throw new Violation(`Hard state of n${id} goes back: ${JSON.stringify({ before, after })}`)
    }
  }

  #checkEntries({ entries }: Ready, mirror: Mirror, id: ReplicaId): void {
    const first = entries[0]
    if (first === undefined) return
    if (first.index <= mirror.last) {
      const ownTerm = mirror.role === 'leader'
      if (ownTerm) throw new Violation(`Leader append-only: n${id} replaces entry ${first.index}`)
      for (let index = first.index; index <= mirror.last; index++) mirror.terms.delete(index)
    }
    let before = first.index > mirror.first ? mirror.terms.get(first.index - 1) : undefined
    for (const entry of entries) {
      const key = `${entry.index}/${entry.term}`
      const held = `${entry.type} ${textOf(entry)} ${JSON.stringify(entry.change)}`
      const known = this.#entries.get(key)
      if (known === undefined) this.#entries.set(key, held)
      else if (known !== held) throw new Violation(`Log matching: ${key} is "${known}" and "${held}"`)
      if (before !== undefined) this.#checkLink(key, before)
      before = entry.term
      mirror.terms.set(entry.index, entry.term)
    }
    mirror.last = entries.at(-1)!.index
  }

  #checkLink(key: string, before: number): void {
    const link = this.#entries.get(`before ${key}`)
    if (link === undefined) this.#entries.set(`before ${key}`, `${before}`)
    else if (link !== `${before}`) throw new Violation(`Log matching: before ${key} are terms ${link} and ${before}`)
  }

  #checkElected(id: ReplicaId, mirror: Mirror): void {
    const other = this.#leaders.get(mirror.term)
    if (other !== undefined && other !== id) {
      throw new Violation(`Election safety: n${other} and n${id} lead in term ${mirror.term}`)
    }
    this.#leaders.set(mirror.term, id)
    for (let index = Math.max(mirror.first, BEGIN_INDEX + 1); index <= this.committedIndex; index++) {
      const { term, inTerm } = this.#committed[index - BEGIN_INDEX - 1]!
      if (inTerm < mirror.term && mirror.terms.get(index) !== term) {
        throw new Violation(`Leader completeness: n${id} leads in ${mirror.term} without ${index}/${term}`)
      }
    }
  }

  #checkCommitted(entry: Entry, host: Host): void {
    const text = `${entry.type} ${textOf(entry)} ${JSON.stringify(entry.change)}`
    const at = entry.index - BEGIN_INDEX - 1
    const known = this.#committed[at]
    if (known === undefined) {
      if (at !== this.#committed.length) throw new Violation(`Entry ${entry.index} is committed before others`)
      while ((this.#committedBy[0]?.upTo ?? entry.index) < entry.index) this.#committedBy.shift()
      const by = this.#committedBy[0]
      if (by === undefined) throw new Violation(`No leader has committed ${entry.index}, which n${host.id} hands out`)
      this.#checkDurable(entry, by.config)
      this.#checkFinal(entry, by.config)
      this.#committed.push({ term: entry.term, text, inTerm: host.node.status().term })
    } else if (known.term !== entry.term || known.text !== text) {
      throw new Violation(`State machine safety: n${host.id} applies another entry ${entry.index}`)
    }
  }

  /** Committed is durable: on the disks of a majority, in both halves of the configuration. */
  #checkDurable(entry: Entry, config: ConfState): void {
    for (const half of [config.voters, config.outgoing]) {
      const holders = half.filter((id) => holds(this.#disks.get(id)!, entry))
      if (half.length > 0 && holders.length * 2 <= half.length) {
        throw new Violation(`Committed is durable: ${entry.index}/${entry.term} is only on ${holders} of ${half}`)
      }
    }
  }

  /** Leader completeness, seen from before: nobody without the entry could be elected by what is on the disks. */
  #checkFinal(entry: Entry, { voters, outgoing }: ConfState): void {
    for (const id of new Set([...voters, ...outgoing])) {
      const disk = this.#disks.get(id)!
      if (holds(disk, entry)) continue
      const wins = [voters, outgoing].every(
        (half) =>
          half.filter((other) => !isAhead(this.#disks.get(other)!, disk)).length * 2 > half.length || half.length === 0,
      )
      if (wins) throw new Violation(`Leader completeness: n${id} could lead without ${entry.index}/${entry.term}`)
    }
  }

  #voted(voter: ReplicaId, term: number, candidate: ReplicaId): void {
    const key = `${voter} in ${term}`
    const known = this.#votes.get(key)
    if (known === undefined) this.#votes.set(key, candidate)
    else if (known !== candidate) throw new Violation(`One vote a term: n${key} votes for n${known} and n${candidate}`)
  }
}

function holds(disk: Disk, { index, term }: Entry): boolean {
  return disk.app.index >= index || disk.term(index) === term
}

function isAhead(a: Disk, b: Disk): boolean {
  const [termA, termB] = [a.term(a.lastIndex())!, b.term(b.lastIndex())!]
  return termA > termB || (termA === termB && a.lastIndex() > b.lastIndex())
}
