import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { Metadata } from '../underlay/index.ts'
import type { Agent, AgentEvent, AgentMember } from './contract.ts'
import type { EntryEvent, MemberView, Write } from './core/index.ts'
import { encodeMetadata } from './metadata.ts'

/** What an agent needs of the overlay. */
export interface AgentComponents {
  readonly self: HostId
  members(agent: string): MemberView[]
  write(write: Write): void
  /** Never fails: who cannot be read has none. */
  decode(metadata: Uint8Array): Metadata
}

type MemberEvent = Extract<EntryEvent, { agent: string }>

/** One agent as this host sees it: keeps what it was told, so that asking costs nothing. */
export class AgentGroup implements Agent {
  readonly name: string
  readonly #overlay: AgentComponents
  readonly #watchers = new Set<(event: AgentEvent) => void>()
  #members: readonly AgentMember[]

  constructor(name: string, overlay: AgentComponents) {
    this.name = name
    this.#overlay = overlay
    const members = overlay.members(name)
    this.#members = members.map(({ host, metadata }) => ({ host, metadata: overlay.decode(metadata) })).sort(byHost)
  }

  get joined(): boolean {
    return this.#overlay.members(this.name).some(({ host }) => host === this.#overlay.self)
  }

  members(): readonly AgentMember[] {
    return this.#members
  }

  join(metadata: Metadata): void {
    this.#overlay.write({ type: 'join', agent: this.name, metadata: encodeMetadata(metadata) })
  }

  update(metadata: Metadata): void {
    if (!this.joined) {
      throw new BrokerError(
        'INVALID_ARGUMENT',
        `Cannot change the metadata in agent "${this.name}": this host has not joined it; join first`,
      )
    }
    this.join(metadata)
  }

  leave(): void {
    this.#overlay.write({ type: 'leave', agent: this.name })
  }

  watch(watcher: (event: AgentEvent) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /** News of this agent. */
  told(event: MemberEvent): void {
    const { host } = event
    const others = this.#members.filter((member) => member.host !== host)
    if (event.type === 'member-left') {
      this.#members = others
      return this.#tell({ type: 'left', host })
    }
    const member: AgentMember = { host, metadata: this.#overlay.decode(event.metadata) }
    this.#members = [...others, member].sort(byHost)
    this.#tell({ type: event.type === 'member-joined' ? 'joined' : 'changed', member })
  }

  #tell(event: AgentEvent): void {
    for (const watcher of this.#watchers) watcher(event)
  }
}

function byHost(a: AgentMember, b: AgentMember): number {
  return a.host < b.host ? -1 : 1
}
