import { unreachable } from '../../base/assert.ts'
import type { ClusterRecord, GoneHost, Member, MetaChange, Origin, Setting } from './contract.ts'

/** The cluster's records in memory, as of some revision. */
export class MetaState {
  revision = 0
  cluster: ClusterRecord | null = null
  readonly origins = new Map<string, Origin>()
  /** By section, then by name. */
  readonly settings = new Map<string, Map<string, Setting>>()
  readonly gates = new Set<string>()
  readonly members = new Map<string, Member>()
  readonly gone = new Map<string, GoneHost>()

  apply(change: MetaChange): void {
    switch (change.type) {
      case 'cluster':
        this.cluster = change.cluster
        return
      case 'origin':
        this.origins.set(change.origin.service, change.origin)
        return
      case 'setting':
        return this.#set(change.setting)
      case 'setting-removed':
        return this.#remove(change.section, change.name)
      case 'gate':
        this.gates.add(change.gate)
        return
      case 'member':
        this.members.set(change.member.host, change.member)
        return
      case 'gone':
        this.gone.set(change.gone.host, change.gone)
        this.members.delete(change.gone.host)
        return
      default:
        return unreachable(change)
    }
  }

  setting(section: string, name: string): Setting | null {
    return this.settings.get(section)?.get(name) ?? null
  }

  isOpen(gate: string): boolean {
    return this.gates.has(gate)
  }

  /** Whether this process may act: it is the newest of its host, and nobody holds it for gone. */
  isFenced(host: string, incarnation: number): boolean {
    if (this.gone.has(host)) return true
    const member = this.members.get(host)
    if (member === undefined) return false
    return incarnation < member.incarnation || (incarnation === member.incarnation && member.fenced)
  }

  /** The changes that make an empty state into this one. */
  changes(): MetaChange[] {
    const settings = [...this.settings.values()].flatMap((section) => [...section.values()])
    return [
      ...(this.cluster === null ? [] : [{ type: 'cluster', cluster: this.cluster } as const]),
      ...[...this.origins.values()].map((origin) => ({ type: 'origin', origin }) as const),
      ...settings.map((setting) => ({ type: 'setting', setting }) as const),
      ...[...this.gates].map((gate) => ({ type: 'gate', gate }) as const),
      ...[...this.members.values()].map((member) => ({ type: 'member', member }) as const),
      ...[...this.gone.values()].map((gone) => ({ type: 'gone', gone }) as const),
    ]
  }

  #set(setting: Setting): void {
    const section = this.settings.get(setting.section) ?? new Map<string, Setting>()
    this.settings.set(setting.section, section.set(setting.name, setting))
  }

  #remove(section: string, name: string): void {
    const names = this.settings.get(section)
    names?.delete(name)
    if (names?.size === 0) this.settings.delete(section)
  }
}

/** The changes that make `before` into `after`, which is later. */
export function difference(before: MetaState, after: MetaState): MetaChange[] {
  const known = new Set(before.changes().map(identity))
  const removed: MetaChange[] = []
  for (const [section, names] of before.settings) {
    for (const name of names.keys()) {
      if (after.setting(section, name) === null) removed.push({ type: 'setting-removed', section, name })
    }
  }
  return [...removed, ...after.changes().filter((change) => !known.has(identity(change)))]
}

/** The same for equal changes. A setting is told by its version, so values need not be compared. */
function identity(change: MetaChange): string {
  switch (change.type) {
    case 'cluster':
      return JSON.stringify(['cluster', change.cluster.id])
    case 'origin': {
      const { service, store, created } = change.origin
      return JSON.stringify(['origin', service, store, created])
    }
    case 'setting': {
      const { section, name, version } = change.setting
      return JSON.stringify(['setting', section, name, version])
    }
    case 'setting-removed':
      return JSON.stringify(['setting-removed', change.section, change.name])
    case 'gate':
      return JSON.stringify(['gate', change.gate])
    case 'member': {
      const { host, incarnation, fenced, leaving, features } = change.member
      return JSON.stringify(['member', host, incarnation, fenced, leaving, features])
    }
    case 'gone':
      return JSON.stringify(['gone', change.gone.host])
    default:
      return unreachable(change)
  }
}
