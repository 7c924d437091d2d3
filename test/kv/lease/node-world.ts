import {
  type Answer,
  type Ask,
  type LeaseOptions,
  NODE_LEASE,
  NodeHolder,
  NodeLeader,
} from '../../../src/kv/lease/index.ts'
import { type Duties, Group, type GroupOptions, type Member } from './group.ts'

/** Mistakes that the simulation must find. */
export type NodeMistake = 'fences-early' | 'leader-waits-not' | 'acts-unasked' | 'sleep-unnoticed'

const RANGE = 'r1'
const SESSIONS = ['a', 'b', 'c', 'd']

interface Attached {
  host: string
  incarnation: number
  connection: string
}

/** What the range's log says up to some index. */
class Sessions {
  readonly attached = new Map<string, Attached>()
  readonly fenced = new Map<string, number>()

  apply(text: string): { type: string; host: string; incarnation: number } | null {
    const [type = '', session = '', host = '', number = '', connection = ''] = text.split(' ')
    const incarnation = Number(number)
    const now = this.attached.get(session)
    if (type === 'fence') {
      this.fenced.set(host, Math.max(incarnation, this.fenced.get(host) ?? 0))
      for (const [name, it] of this.attached) {
        if (it.host === host && it.incarnation <= incarnation) this.attached.delete(name)
      }
    } else if (type === 'attach') {
      if (now !== undefined || incarnation <= (this.fenced.get(host) ?? 0)) return null
      this.attached.set(session, { host, incarnation, connection })
    } else if (type === 'detach') {
      if (now?.connection !== connection) return null
      this.attached.delete(session)
    } else return null
    return { type, host, incarnation }
  }

  has(host: string, incarnation: number): boolean {
    return [...this.attached.values()].some((it) => it.host === host && it.incarnation === incarnation)
  }
}

interface Replica {
  sessions: Sessions
  leader: NodeLeader | null
  proposedMs: Map<string, number>
}

interface Node {
  holder: NodeHolder
  /** Connections by session: wished, and attached. */
  pending: Map<string, string>
  open: Map<string, string>
}

type Message =
  | { ask: Ask }
  | { answer: Answer }
  | { attach: string; incarnation: number; connection: string }
  | { attached: string; connection: string }
  | { kick: string; connection: string }
  | { closed: string; connection: string }

/**
 * Front-end nodes that attach sessions, take them from each other, act on them, die, stand still and are cut off. Whoever
 * acts on a session is the one that the log names, at that very moment.
 */
export class NodeWorld implements Duties {
  readonly group: Group
  acts = 0
  fences = 0
  closes = 0
  fencedAlive = 0
  /** As committed, wherever that is known. */
  readonly #truth = new Sessions()
  #known = 0
  readonly #replicas = new Map<Member, Replica>()
  readonly #nodes = new Map<Member, Node>()
  /** Kept on each node's disk. */
  readonly #incarnations = new Map<Member, number>()
  readonly #mistake: NodeMistake | null
  readonly #lease: LeaseOptions
  #connection = 0

  /** @param closeMs of the holders: what is promised does not rest on it */
  constructor(options: GroupOptions, closeMs: number, mistake: NodeMistake | null = null) {
    this.#mistake = mistake
    this.#lease = { ...NODE_LEASE, closeMs }
    this.group = new Group(options, this)
    const { world, random } = this.group
    const connect = () => {
      world.clock.after(random.float() * 600, connect)
      this.#connect(this.group.any())
    }
    const act = () => {
      world.clock.after(random.float() * 20, act)
      this.#act(this.group.any())
    }
    connect()
    act()
  }

  started(member: Member): void {
    if (member.host !== null) {
      const sessions = new Sessions()
      for (let index = 0; index <= member.host.app.index; index++) sessions.apply(this.group?.log[index] ?? '')
      this.#replicas.set(member, { sessions, leader: null, proposedMs: new Map() })
      return
    }
    const incarnation = (this.#incarnations.get(member) ?? 0) + 1
    this.#incarnations.set(member, incarnation)
    const holder = new NodeHolder(member.name, incarnation, this.#lease)
    holder.enter(RANGE, 1)
    this.#nodes.set(member, { holder, pending: new Map(), open: new Map() })
  }

  led(member: Member, leads: boolean): void {
    const replica = this.#replicas.get(member)!
    const electedMs = this.#mistake === 'leader-waits-not' ? Number.NEGATIVE_INFINITY : this.group.clock(member)
    replica.leader = leads ? new NodeLeader(electedMs, this.#lease) : null
    replica.proposedMs.clear()
    this.#ready.delete(member)
  }
  readonly #ready = new Set<Member>()

  confirmed(member: Member, sentMs: number): void {
    const { leader, sessions } = this.#replicas.get(member)!
    if (leader === null) return
    leader.confirmed(sentMs)
    if (this.#ready.has(member)) return
    this.#ready.add(member)
    const fenced = [...sessions.fenced].map(([host, incarnation]) => ({ host, incarnation }))
    leader.ready([...sessions.attached.values()], fenced, 1)
  }

  committed(member: Member, index: number, text: string): void {
    if (index > this.#known) {
      this.#known = index
      if (this.#truth.apply(text)?.type === 'fence') this.fences++
    }
    const replica = this.#replicas.get(member)
    if (replica === undefined) return
    const before = text.startsWith('detach') ? replica.sessions.attached.get(text.split(' ')[1]!) : undefined
    const done = replica.sessions.apply(text)
    const { leader } = replica
    if (done === null || leader === null || !this.#ready.has(member)) return
    if (done.type === 'fence') leader.fenced(done.host, done.incarnation)
    else if (done.type === 'attach') {
      leader.attached(done.host, done.incarnation)
      const [, session = '', host = '', , connection = ''] = text.split(' ')
      this.group.send(member, host, { attached: session, connection } satisfies Message)
    } else if (before !== undefined && !replica.sessions.has(before.host, before.incarnation)) {
      leader.detached(before.host, before.incarnation)
    }
  }

  heard(member: Member, from: string, heard: unknown): void {
    const message = heard as Message
    const replica = this.#replicas.get(member)
    if (replica !== undefined) this.#serve(member, replica, from, message)
    else this.#listen(member, this.#nodes.get(member)!, from, message)
  }

  slept(member: Member): void {
    if (this.#mistake === 'sleep-unnoticed') return
    const node = this.#nodes.get(member)
    if (node !== undefined && node.holder.doubt().length > 0) this.#close(node)
    this.#replicas.get(member)?.leader?.doubt(this.group.clock(member))
  }

  /** What it does first is what it was about to do. */
  resumed(member: Member): void {
    this.#act(member)
  }

  woke(member: Member): void {
    const nowMs = this.group.clock(member)
    const node = this.#nodes.get(member)
    if (node !== undefined) {
      const { asks, close } = node.holder.tick(nowMs)
      if (close.length > 0) this.#close(node)
      for (const { ask } of asks) this.#tellReplicas(member, { ask })
      return
    }
    const { leader, proposedMs } = this.#replicas.get(member)!
    for (const { host, incarnation } of leader?.toFence(this.#mistake === 'fences-early' ? nowMs + 3_000 : nowMs) ??
      []) {
      const text = `fence - ${host} ${incarnation}`
      if (nowMs - (proposedMs.get(text) ?? Number.NEGATIVE_INFINITY) < 500) continue
      proposedMs.set(text, nowMs)
      this.group.propose(member, text)
    }
  }

  /** Nodes that could act now. */
  able(): number {
    return [...this.#nodes].filter(([member, { holder }]) => holder.holds(RANGE, this.group.clock(member))).length
  }

  /** What the range's leader does with what it hears. */
  #serve(member: Member, { leader, sessions }: Replica, from: string, message: Message): void {
    if (leader === null || !this.#ready.has(member)) return
    const nowMs = this.group.clock(member)
    if ('ask' in message) {
      this.group.send(member, from, { answer: leader.ask(message.ask, nowMs) } satisfies Message)
    } else if ('attach' in message) {
      if (!leader.mayAttach(from, message.incarnation, nowMs)) return
      const now = sessions.attached.get(message.attach)
      if (now === undefined) {
        this.group.propose(member, `attach ${message.attach} ${from} ${message.incarnation} ${message.connection}`)
      } else {
        this.group.send(member, now.host, { kick: message.attach, connection: now.connection } satisfies Message)
      }
    } else if ('closed' in message) {
      const now = sessions.attached.get(message.closed)
      if (now?.connection === message.connection) {
        this.group.propose(member, `detach ${message.closed} - 0 ${message.connection}`)
      }
    }
  }

  #listen(member: Member, node: Node, from: string, message: Message): void {
    const nowMs = this.group.clock(member)
    if ('answer' in message) {
      if (node.holder.answered(RANGE, message.answer, nowMs).length > 0) this.#close(node)
      if (node.holder.state === 'fenced') this.#comeBack(member, node)
    } else if ('attached' in message) {
      if (node.open.get(message.attached) === message.connection) return
      const wished = node.pending.get(message.attached) === message.connection
      if (wished) node.pending.delete(message.attached)
      if (wished && node.holder.holds(RANGE, nowMs)) node.open.set(message.attached, message.connection)
      else this.group.send(member, from, { closed: message.attached, connection: message.connection })
    } else if ('kick' in message) {
      if (node.pending.get(message.kick) === message.connection) node.pending.delete(message.kick)
      if (node.open.get(message.kick) === message.connection) node.open.delete(message.kick)
      this.group.send(member, from, { closed: message.kick, connection: message.connection })
    }
  }

  #close({ pending, open }: Node): void {
    this.closes += open.size
    pending.clear()
    open.clear()
  }

  /** Some range holds this process for gone, although it lives. */
  #comeBack(member: Member, node: Node): void {
    this.fencedAlive++
    this.#close(node)
    const incarnation = this.#incarnations.get(member)! + 1
    this.#incarnations.set(member, incarnation)
    node.holder.reincarnate(incarnation)
    node.holder.registered(incarnation)
  }

  #connect(member: Member): void {
    const node = this.#nodes.get(member)
    if (node === undefined || member.paused || !node.holder.holds(RANGE, this.group.clock(member))) return
    const session = SESSIONS[this.group.random.below(SESSIONS.length)]!
    if (node.open.has(session)) return
    const connection = `c${++this.#connection}`
    node.pending.set(session, connection)
    this.#tellReplicas(member, { attach: session, incarnation: node.holder.incarnation, connection })
  }

  #act(member: Member): void {
    const node = this.#nodes.get(member)
    if (node === undefined || member.paused) return
    if (this.#mistake !== 'acts-unasked' && !node.holder.holds(RANGE, this.group.clock(member))) return
    for (const [session, connection] of node.open) {
      this.acts++
      const owner = this.#truth.attached.get(session)
      if (owner?.connection !== connection) {
        throw new Error(`${member.name} acts on "${session}", which belongs to ${owner?.host ?? 'nobody'}`)
      }
    }
  }

  #tellReplicas(member: Member, message: Message): void {
    for (const replica of this.#replicas.keys()) this.group.send(member, replica.name, message)
  }
}
