import type {
  ConfigChange,
  ConfState,
  Entry,
  Input,
  MemberChange,
  Message,
  Persisted,
  RaftLimits,
  Ready,
  ReplicaId,
} from '../../../src/kv/raft/index.ts'
import { NO_CONFIG } from '../../../src/kv/raft/index.ts'
import { Disk, Host, type SentMessage, textOf } from './host.ts'

/** Draws the lowest number always: every election timeout is electionTicks, every suspicion's is suspectTicksMin. */
const LOWEST = { float: () => 0, below: () => 0 }
const LIMITS: Partial<RaftLimits> = { electionTicks: 10, heartbeatTicks: 3, quiesceTicks: 0, suspectTicksMin: 2 }

/**
 * A group whose every step is a command. Disks are fast unless told to be slow; messages wait until they are delivered.
 */
export class ScriptedGroup {
  readonly #hosts = new Map<ReplicaId, Host>()
  readonly #disks = new Map<ReplicaId, Disk>()
  readonly #slow = new Set<ReplicaId>()
  readonly #reports = new Map<ReplicaId, Persisted[]>()
  readonly #cuts = new Set<string>()
  #messages: SentMessage[] = []
  #config: ConfState = NO_CONFIG
  #limits = { ...LIMITS }
  #out: string[] = []
  #context = 0

  run(command: string): string[] {
    this.#out = []
    const { name, words, options } = parse(command)
    const ids = words.filter((word) => /^n\d+$/.test(word)).map(idOf)
    this.#execute(name, ids, words, options)
    return this.#out.length === 0 ? ['nothing'] : this.#out
  }

  #execute(name: string, ids: ReplicaId[], words: string[], options: Record<string, string>): void {
    switch (name) {
      case 'limits':
        for (const [key, value] of Object.entries(options)) Object.assign(this.#limits, { [key]: Number(value) })
        return this.#say('ok')
      case 'group':
        return this.#group(ids, options)
      case 'disk':
        return this.#disk(ids[0]!, options)
      case 'join':
        return this.#join(ids[0]!)
      case 'tick':
        return this.#tick(ids, Number(options.count ?? 1))
      case 'deliver':
        return this.#deliver(words, Number(options.max ?? 1_000), true)
      case 'settle':
        return this.#settle()
      case 'run':
        return this.#runTicks(ids, Number(options.count ?? 1))
      case 'elect':
        return this.#elect(ids[0]!)
      case 'drop':
        this.#messages = this.#messages.filter((message) => !matches(message, words))
        return
      case 'late':
      case 'twice':
        return this.#reorder(words, name === 'twice')
      case 'queued':
        return this.#say(...this.#messages.map(showMessage))
      case 'cut':
        this.#cuts.add(`${ids[0]}>${ids[1]}`)
        return
      case 'isolate':
        return this.#isolate(ids)
      case 'heal':
        return this.#cuts.clear()
      default:
        this.#ask(name, ids, words, options)
    }
  }

  #ask(name: string, ids: ReplicaId[], words: string[], options: Record<string, string>): void {
    const id = ids[0]!
    switch (name) {
      case 'propose':
        for (const text of words.slice(1)) {
          this.#hosts.get(id)!.node.step({ type: 'propose', data: bytes(text), context: ++this.#context })
        }
        return this.#drain(id)
      case 'change':
        return this.#step(id, { type: 'change', ...changeOf(words), data: bytes(''), context: ++this.#context })
      case 'read':
        for (let count = Number(options.count ?? 1); count > 0; count--) {
          this.#hosts.get(id)!.node.step({ type: 'read', context: ++this.#context })
        }
        return this.#drain(id)
      case 'transfer':
        return this.#step(id, { type: 'transfer', to: ids[1]!, context: ++this.#context })
      case 'campaign':
        return this.#step(id, { type: 'campaign' })
      case 'suspect':
        return this.#step(id, { type: 'suspect', id: ids[1]! })
      case 'unreachable':
        return this.#step(id, { type: 'unreachable', id: ids[1]! })
      case 'report-snapshot':
        return this.#step(id, { type: 'snapshot-report', id: ids[1]!, arrived: words.includes('arrived') })
      case 'lease':
        return this.#step(id, { type: 'lease', held: words.includes('held') })
      case 'slow':
        this.#slow.add(id)
        return
      case 'sync':
        return this.#sync(id, Number(options.count ?? 1_000), !words.includes('silent'))
      case 'writes':
        return this.#writes(id)
      case 'report':
        return this.#report(id, Number(options.write))
      default:
        this.#life(name, ids, options)
    }
  }

  #life(name: string, ids: ReplicaId[], options: Record<string, string>): void {
    const id = ids[0]!
    switch (name) {
      case 'fast':
        this.#slow.delete(id)
        return this.#sync(id, 1_000, true)
      case 'crash':
        this.#hosts.get(id)!.crash(Number(options.survive ?? 0))
        this.#hosts.delete(id)
        this.#reports.delete(id)
        return
      case 'empty':
        this.#hosts.get(id)!.crash(1_000)
        this.#disks.get(id)!.empty({ index: Number(options.index), term: Number(options.term) })
        return this.#start(id)
      case 'start':
        this.#slow.delete(id)
        return this.#start(id)
      case 'compact':
        return this.#hosts.get(id)!.compactNow(Number(options.to))
      case 'log':
        return this.#say(...ids.map((each) => showLog(this.#hosts.get(each)!)))
      case 'peers':
        for (const peer of this.#hosts.get(id)!.node.peers()) {
          this.#say(
            `n${peer.id} ${peer.state} match=${peer.match} next=${peer.next}${peer.active ? '' : ' silent'}${peer.lost ? ' lost' : ''}`,
          )
        }
        return
      case 'show':
        for (const host of this.#hosts.values()) this.#say(showStatus(host))
        return
      default:
        throw new Error(`Unknown command "${name}"`)
    }
  }

  #group(ids: ReplicaId[], options: Record<string, string>): void {
    const learners = (options.learners ?? '').split(',').filter(Boolean).map(idOf)
    this.#config = { ...NO_CONFIG, voters: ids, learners }
    for (const id of [...ids, ...learners]) {
      const disk = new Disk()
      disk.begin(this.#config)
      this.#disks.set(id, disk)
      this.#start(id)
    }
    this.#say('ok')
  }

  /** What its disk holds, before it is started: the terms of its entries. */
  #disk(id: ReplicaId, options: Record<string, string>): void {
    const disk = this.#disks.get(id)!
    disk.begin(this.#config, (options.terms ?? '').split(',').filter(Boolean).map(Number))
    if (options.term !== undefined) disk.hardState = { ...disk.hardState, term: Number(options.term) }
    this.#start(id)
    this.#say(showLog(this.#hosts.get(id)!))
  }

  #join(id: ReplicaId): void {
    this.#disks.set(id, new Disk())
    this.#start(id)
  }

  #start(id: ReplicaId): void {
    this.#hosts.set(
      id,
      new Host({
        id,
        disk: this.#disks.get(id)!,
        random: LOWEST,
        limits: this.#limits,
        send: (message) => this.#messages.push(message),
        observe: (ready) => this.#observe(id, ready),
        wrote: () => {},
      }),
    )
    this.#reports.set(id, [])
  }

  /** The first that fits comes after all others, or once more after them. */
  #reorder(words: readonly string[], again: boolean): void {
    const at = this.#messages.findIndex((message) => matches(message, words))
    this.#messages.push(again ? this.#messages[at]! : this.#messages.splice(at, 1)[0]!)
  }

  #tick(ids: ReplicaId[], count: number): void {
    for (let at = 0; at < count; at++) for (const id of ids) this.#step(id, { type: 'tick' })
  }

  #step(id: ReplicaId, input: Input): void {
    const host = this.#hosts.get(id)!
    const slept = host.node.quiescent
    host.step(input)
    if (slept !== host.node.quiescent) this.#say(slept ? `n${id} wakes` : `n${id} sleeps`)
    this.#syncFast(id)
  }

  #drain(id: ReplicaId): void {
    this.#hosts.get(id)!.drain()
    this.#syncFast(id)
  }

  #syncFast(id: ReplicaId): void {
    if (!this.#slow.has(id)) this.#sync(id, 1_000, true)
  }

  #sync(id: ReplicaId, count: number, report: boolean): void {
    const host = this.#hosts.get(id)!
    for (let at = 0; at < count && host.queue.length > 0; at++) {
      const persisted = host.finishWrite()
      if (persisted === null) continue
      if (report) host.step(persisted)
      else this.#reports.get(id)!.push(persisted)
    }
  }

  #writes(id: ReplicaId): void {
    for (const { persisted, entries, hardState, afterPersist } of this.#hosts.get(id)!.queue) {
      const state = `term=${hardState?.term} vote=${nameOf(hardState?.vote ?? null)} commit=${hardState?.commit}`
      const what = persisted === null ? 'nothing' : `write ${persisted.write}: ${showEntries(entries)} ${state}`
      this.#say(`${what}${afterPersist.length > 0 ? `, then ${afterPersist.map(showMessage).join('; ')}` : ''}`)
    }
  }

  #report(id: ReplicaId, write: number): void {
    const report = this.#reports.get(id)!.find((each) => each.write === write)!
    this.#say(`write ${write} is on disk: up to ${report.index}/${report.term}`)
    this.#step(id, report)
  }

  #deliver(words: readonly string[], max: number, loud: boolean): void {
    for (let count = 0; count < max; count++) {
      const at = this.#messages.findIndex((message) => matches(message, words))
      if (at < 0) return
      const [message] = this.#messages.splice(at, 1)
      const arrives = this.#hosts.has(message!.to) && !this.#cuts.has(`${message!.from}>${message!.to}`)
      if (loud) this.#say(`${showMessage(message!)}${arrives ? '' : ' (lost)'}`)
      if (arrives) this.#step(message!.to, { type: 'message', message: message! })
    }
  }

  /** Delivers everything, and tells only what came of it. */
  #settle(): void {
    this.#deliver([], 10_000, false)
  }

  /** Ticks with messages delivered at once, as on a good day. */
  #runTicks(ids: ReplicaId[], count: number): void {
    for (let at = 0; at < count; at++) {
      this.#tick(ids, 1)
      this.#settle()
    }
  }

  /** The usual beginning, without its details. */
  #elect(id: ReplicaId): void {
    this.#step(id, { type: 'campaign' })
    this.#settle()
    const { role, term, lastIndex } = this.#hosts.get(id)!.node.status()
    this.#out = [role === 'leader' ? `n${id} leads in term ${term} from entry ${lastIndex} on` : `n${id} is ${role}`]
  }

  #isolate(ids: ReplicaId[]): void {
    for (const id of ids) {
      for (const other of this.#disks.keys()) {
        if (ids.includes(other)) continue
        this.#cuts.add(`${id}>${other}`)
        this.#cuts.add(`${other}>${id}`)
      }
    }
  }

  #observe(id: ReplicaId, ready: Ready): void {
    const { leadership, snapshot, committed, configs, accepted, refused, reads } = ready
    if (leadership !== null) {
      const { role, term, leader } = leadership
      this.#say(`n${id} ${role} term=${term} leader=${nameOf(leader)}`)
    }
    if (snapshot !== null) this.#say(`n${id} installs a snapshot at ${snapshot.index}/${snapshot.term}`)
    if (committed.length > 0) this.#say(`n${id} applies ${showEntries(committed)}`)
    for (const { config } of configs) this.#say(`n${id} has ${showConfig(config)}`)
    for (const { context, index, term } of accepted) this.#say(`n${id} request ${context} is entry ${index}/${term}`)
    for (const { context, code, message } of refused) this.#say(`n${id} request ${context} ${code}: ${message}`)
    for (const { context, index } of reads) this.#say(`n${id} read ${context} may see ${index}`)
  }

  #say(...lines: string[]): void {
    this.#out.push(...lines)
  }
}

function parse(command: string): { name: string; words: string[]; options: Record<string, string> } {
  const [name = '', ...rest] = command.split(' ')
  const pairs = rest.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string])
  return { name, words: rest.filter((word) => !word.includes('=')), options: Object.fromEntries(pairs) }
}

/** Words name a way (`n1>n2`), an end (`n1>` or `>n2`), or a type; all must fit. */
function matches(message: Message, words: readonly string[]): boolean {
  return words.every((word) => {
    if (!word.includes('>')) return message.type === word
    const [from, to] = word.split('>')
    return (from === '' || message.from === idOf(from!)) && (to === '' || message.to === idOf(to!))
  })
}

/** `+n4` adds a voter, `?n4` a learner, `-n4` removes; none leaves the joint configuration. */
function changeOf(words: readonly string[]): { change: ConfigChange } {
  const types = { '+': 'add-voter', '?': 'add-learner', '-': 'remove' } as const
  const members: MemberChange[] = []
  for (const word of words.slice(1)) {
    const type = types[word[0] as keyof typeof types]
    if (type !== undefined) members.push({ type, id: idOf(word.slice(1)) })
  }
  return { change: { members, leave: words.includes('explicit') ? 'explicit' : 'auto' } }
}

function showMessage(message: Message): string {
  const head = `n${message.from}>n${message.to} ${message.type} term=${message.term}`
  switch (message.type) {
    case 'append': {
      const { previousIndex, previousTerm, entries, commit } = message
      return `${head} after ${previousIndex}/${previousTerm}: ${showEntries(entries)} commit=${commit}`
    }
    case 'append-answer': {
      const { accepted, index, hintIndex, hintTerm } = message
      return `${head} ${accepted ? `has ${index}` : `refuses ${index} hint=${hintIndex}/${hintTerm}`}`
    }
    case 'heartbeat':
      return `${head} commit=${message.commit} round=${message.round}${message.quiesce ? ' sleep' : ''}`
    case 'heartbeat-answer':
      return `${head} round=${message.round}`
    case 'vote-request': {
      const { pre, lastIndex, lastTerm, transfer } = message
      return `${head}${pre ? ' pre' : ''} last=${lastIndex}/${lastTerm}${transfer ? ' transfer' : ''}`
    }
    case 'vote-answer':
      return `${head}${message.pre ? ' pre' : ''} ${message.granted ? 'yes' : 'no'}`
    case 'snapshot':
      return `${head} ${message.snapshot.index}/${message.snapshot.term}`
    default:
      return head
  }
}

function showEntries(entries: readonly Entry[]): string {
  if (entries.length === 0) return '-'
  return entries.map(({ index, term, type, ...rest }) => `${index}/${term}${showData(type, rest)}`).join(' ')
}

function showData(type: Entry['type'], rest: Pick<Entry, 'data' | 'change'>): string {
  if (type === 'command') return `=${textOf(rest as Entry)}`
  return type === 'empty' ? '' : '=config'
}

function showLog(host: Host): string {
  const { node, disk } = host
  const { lastIndex, persisted, commit } = node.status()
  const stored = disk.entries(disk.firstIndex(), disk.lastIndex() + 1, 1 << 20)
  return `n${host.id} disk ${showEntries(stored)} (log ends at ${lastIndex}, known to be on disk ${persisted}, commit ${commit})`
}

function showStatus({ id, node }: Host): string {
  const { role, term, leader, commit, lastIndex, quiescent } = node.status()
  const tail = quiescent ? ' asleep' : ''
  return `n${id} ${role} term=${term} leader=${nameOf(leader)} commit=${commit} last=${lastIndex}${tail}`
}

function showConfig({ voters, outgoing, learners, learnersNext }: ConfState): string {
  const parts = Object.entries({ voters, outgoing, learners, learnersNext }).filter(([, ids]) => ids.length > 0)
  return parts.map(([name, ids]) => `${name}=${ids.map(nameOf).join(',')}`).join(' ')
}

function idOf(name: string): ReplicaId {
  return Number(name.slice(1))
}

function nameOf(id: ReplicaId | null): string {
  return id === null ? '-' : `n${id}`
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text)
}
