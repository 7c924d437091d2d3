import { unreachable } from '../../base/assert.ts'
import type { HostId } from '../../base/ids.ts'
import type { Bounds, Write } from '../engine/engine.ts'
import type { Coprocessor, MutateContext, Mutation, Reader } from '../range/coprocessor.ts'
import { Overlay } from '../range/overlay.ts'
import { decodeCommands, encodeCommands } from './codec.ts'
import type {
  GoneHost,
  Member,
  MetaAnswer,
  MetaChange,
  MetaCommand,
  MetaQuery,
  MetaRefusal,
  MetaResponse,
  Origin,
  Setting,
} from './contract.ts'
import { META_LIMITS } from './limits.ts'
import {
  type Books,
  booksKey,
  booksValue,
  clusterKey,
  clusterValue,
  GATES,
  gateKey,
  gateValue,
  goneKey,
  goneValue,
  MEMBERS,
  memberKey,
  memberValue,
  originKey,
  originValue,
  readBooks,
  readRecord,
  recordsEnd,
  recordsStart,
  settingKey,
  settingValue,
} from './schema.ts'

export type MetaCoprocessor = Coprocessor<MetaCommand, MetaResponse, MetaQuery, MetaAnswer, MetaChange>

/** While this setting exists, no gate opens by itself. */
export const GATE_HOLD = { section: 'gate', name: 'hold' } as const

/** Of one page, whatever is asked for. */
const PAGE_BYTES_MAX = 1 << 20

/**
 * The logic of the `meta` range: what all nodes must agree on and what gossip therefore never decides. One small range,
 * never split, held in memory by every node that watches it.
 */
export const metaCoprocessor: MetaCoprocessor = {
  service: 'cluster',
  version: 1,
  encode: encodeCommands,
  decode: decodeCommands,
  grows: (command) => command.type === 'set' && command.changes.some(({ value }) => value !== null),
  mutate: (commands, reader, context) => new Entry(reader, context).run(commands),
  query,
  due: () => [],
  nextDueMs: () => null,
}

/** One entry on its way through the range: each command sees what those before it wrote. */
class Entry {
  readonly #overlay: Overlay
  readonly #context: MutateContext
  readonly #writes: Write[] = []
  readonly #effects: MetaChange[] = []
  readonly #books: Books
  readonly #revision: number
  /** Of the command. */
  #pending: Write[] = []

  constructor(reader: Reader, context: MutateContext) {
    this.#overlay = new Overlay(reader)
    this.#context = context
    this.#books = readBooks(reader.get(booksKey))
    this.#revision = this.#books.revision
  }

  run(commands: readonly MetaCommand[]): Mutation<MetaResponse, MetaChange> {
    const responses = commands.map((command, at) => {
      this.#pending = []
      const refused = this.#apply(command)
      this.#overlay.add(at + 1, this.#pending)
      this.#writes.push(...this.#pending)
      return refused
    })
    if (this.#writes.length > 0) {
      this.#books.revision = this.#revision + 1
      this.#writes.push({ type: 'put', key: booksKey, value: booksValue(this.#books) })
    }
    const { revision } = this.#books
    const answers = responses.map((refused) => refused ?? ({ type: 'done', revision } as const))
    return { writes: this.#writes, responses: answers, effects: this.#effects }
  }

  /** Null = done. */
  #apply(command: MetaCommand): MetaResponse | null {
    if (command.type === 'found') return this.#found(command)
    if (this.#get(clusterKey) === null) return this.#refuse('not-founded', 'the cluster is not founded yet')
    switch (command.type) {
      case 'assign':
        return this.#assign(command)
      case 'created':
        return this.#created(command)
      case 'set':
        return this.#set(command)
      case 'register':
        return this.#register(command)
      case 'fence':
        return this.#fence(command.host, command.incarnation)
      case 'leave':
        return this.#leave(command.host, command.leaving)
      case 'gone':
        return this.#gone(command.host)
      default:
        return unreachable(command)
    }
  }

  #found({ id, name, founder, services }: MetaCommand & { type: 'found' }): MetaResponse | null {
    const known = this.#get(clusterKey)
    if (known?.type === 'cluster') {
      const { cluster } = known
      if (cluster.id === id && cluster.founder === founder) return null
      return this.#refuse('founded', `this is cluster "${cluster.name}" with id "${cluster.id}", founded before`)
    }
    const cluster = { id, name, founder, foundedMs: this.#context.nowMs }
    this.#put(clusterKey, clusterValue(cluster), { type: 'cluster', cluster })
    for (const service of services) this.#putOrigin({ service, store: founder, created: false })
    return null
  }

  /** Compare-and-set, so that no two stores ever believe that it is theirs. */
  #assign({ service, store, expected }: MetaCommand & { type: 'assign' }): MetaResponse | null {
    const known = this.#get(originKey(service))
    const origin = known?.type === 'origin' ? known.origin : null
    if (origin?.created) return this.#refuse('created', `"${origin.store}" has created the ranges of "${service}"`)
    if (origin?.store === store) return null
    if ((origin?.store ?? null) !== expected) {
      return this.#refuse('assigned', `the ranges of "${service}" are to be created by "${origin?.store ?? 'nobody'}"`)
    }
    if (this.#get(goneKey(store)) !== null) return this.#refuse('gone', `"${store}" was decommissioned`)
    this.#putOrigin({ service, store, created: false })
    return null
  }

  #created({ service, store }: MetaCommand & { type: 'created' }): MetaResponse | null {
    const known = this.#get(originKey(service))
    const origin = known?.type === 'origin' ? known.origin : null
    if (origin?.store !== store) {
      return this.#refuse('assigned', `the ranges of "${service}" are to be created by "${origin?.store ?? 'nobody'}"`)
    }
    if (!origin.created) this.#putOrigin({ service, store, created: true })
    return null
  }

  #set({ changes }: MetaCommand & { type: 'set' }): MetaResponse | null {
    for (const { section, name, expected } of changes) {
      const current = this.#setting(section, name)
      if (expected === null || expected === (current?.version ?? 0)) continue
      const is = current === null ? 'does not exist' : `has version ${current.version}`
      const detail = `setting "${section}/${name}" ${is}, not ${expected}`
      return { ...this.#refuse('conflict', detail), current }
    }
    const books = { ...this.#books }
    for (const { section, name, value } of changes) {
      const current = this.#setting(section, name)
      const bytes = settingKey(section, name).length
      books.settings += Number(value !== null) - Number(current !== null)
      books.bytes += (value === null ? 0 : bytes + value.length) - (current === null ? 0 : bytes + current.value.length)
    }
    const grows = books.bytes > this.#books.bytes || books.settings > this.#books.settings
    if (grows && (books.settings > META_LIMITS.settingsMax || books.bytes > META_LIMITS.settingsBytesMax)) {
      return this.#refuse('full', `${books.settings} settings of ${books.bytes} bytes are more than is allowed`)
    }
    Object.assign(this.#books, { settings: books.settings, bytes: books.bytes })
    for (const { section, name, value } of changes) this.#putSetting(section, name, value)
    this.#openGates()
    return null
  }

  #register({ host, incarnation, features }: MetaCommand & { type: 'register' }): MetaResponse | null {
    if (this.#get(goneKey(host)) !== null) {
      return this.#refuse('gone', `host "${host}" was decommissioned: start it with an empty data folder`)
    }
    const known = this.#member(host)
    if (known === null && this.#members().length >= META_LIMITS.membersMax) {
      return this.#refuse('full', `there are ${META_LIMITS.membersMax} members`)
    }
    if (known !== null && incarnation < known.incarnation) {
      return this.#refuse('superseded', `host "${host}" has started again as incarnation ${known.incarnation}`)
    }
    if (known?.fenced && incarnation === known.incarnation) {
      return this.#refuse('fenced', `incarnation ${incarnation} of host "${host}" is held for gone`)
    }
    const own = [...new Set(features)].sort()
    const lacking = this.#gates().filter((gate) => !own.includes(gate))
    if (lacking.length > 0) {
      const detail = `host "${host}" cannot do what this cluster relies on: ${lacking.join(', ')}; upgrade it`
      return this.#refuse('lacks-gate', detail)
    }
    const member = { host, incarnation, fenced: false, features: own, leaving: known?.leaving ?? false }
    if (known !== null && isSame(known, member)) return null
    this.#putMember(member)
    this.#openGates()
    return null
  }

  #fence(host: HostId, incarnation: number): MetaResponse | null {
    const known = this.#member(host)
    if (known === null) return this.#refuse('unknown', `host "${host}" is no member`)
    if (incarnation > known.incarnation) {
      return this.#refuse('unknown', `host "${host}" has never registered as incarnation ${incarnation}`)
    }
    if (incarnation === known.incarnation && !known.fenced) this.#putMember({ ...known, fenced: true })
    return null
  }

  #leave(host: HostId, leaving: boolean): MetaResponse | null {
    if (this.#get(goneKey(host)) !== null) return this.#refuse('gone', `host "${host}" was decommissioned`)
    const known = this.#member(host)
    if (known === null) return this.#refuse('unknown', `host "${host}" is no member`)
    if (known.leaving !== leaving) this.#putMember({ ...known, leaving })
    return null
  }

  #gone(host: HostId): MetaResponse | null {
    if (this.#get(goneKey(host)) !== null) return null
    const gone: GoneHost = { host, goneMs: this.#context.nowMs }
    this.#pending.push({ type: 'delete', key: memberKey(host) })
    this.#put(goneKey(host), goneValue(gone), { type: 'gone', gone })
    this.#openGates()
    return null
  }

  /** What every member can do, every member may rely on from now on, and whoever joins must be able to do. */
  #openGates(): void {
    if (this.#setting(GATE_HOLD.section, GATE_HOLD.name) !== null) return
    const [first, ...rest] = this.#members()
    if (first === undefined) return
    const open = this.#gates()
    for (const gate of first.features) {
      if (open.includes(gate) || !rest.every(({ features }) => features.includes(gate))) continue
      this.#put(gateKey(gate), gateValue(), { type: 'gate', gate })
    }
  }

  #members(): Member[] {
    return this.#records(MEMBERS).flatMap((change) => (change.type === 'member' ? [change.member] : []))
  }

  #gates(): string[] {
    return this.#records(GATES).flatMap((change) => (change.type === 'gate' ? [change.gate] : []))
  }

  #member(host: string): Member | null {
    const change = this.#get(memberKey(host))
    return change?.type === 'member' ? change.member : null
  }

  #setting(section: string, name: string): Setting | null {
    const change = this.#get(settingKey(section, name))
    return change?.type === 'setting' ? change.setting : null
  }

  #putOrigin(origin: Origin): void {
    this.#put(originKey(origin.service), originValue(origin), { type: 'origin', origin })
  }

  #putMember(member: Member): void {
    this.#put(memberKey(member.host), memberValue(member), { type: 'member', member })
  }

  #putSetting(section: string, name: string, value: Uint8Array | null): void {
    const key = settingKey(section, name)
    if (value !== null) {
      const setting = { section, name, value, version: this.#revision + 1 }
      this.#put(key, settingValue(setting), { type: 'setting', setting })
    } else if (this.#setting(section, name) !== null) {
      this.#pending.push({ type: 'delete', key })
      this.#effects.push({ type: 'setting-removed', section, name })
    }
  }

  #put(key: Uint8Array, value: Uint8Array, effect: MetaChange): void {
    this.#pending.push({ type: 'put', key, value })
    this.#effects.push(effect)
  }

  /** As earlier commands left it, and this one so far. */
  #get(key: Uint8Array): MetaChange | null {
    const value = this.#view().get(key)
    return value === undefined ? null : readRecord(key, value)
  }

  #records(bounds: Bounds): MetaChange[] {
    const cursor = this.#view().cursor(bounds)
    const records: MetaChange[] = []
    while (cursor.next()) records.push(readRecord(cursor.key, cursor.value))
    cursor.close()
    return records
  }

  #view(): Reader {
    if (this.#pending.length === 0) return this.#overlay
    const view = new Overlay(this.#overlay)
    view.add(1, this.#pending)
    return view
  }

  #refuse(reason: MetaRefusal, detail: string): MetaResponse & { type: 'refused' } {
    return { type: 'refused', reason, detail, revision: this.#revision }
  }
}

function isSame(a: Member, b: Member): boolean {
  return a.incarnation === b.incarnation && a.fenced === b.fenced && a.features.join('\0') === b.features.join('\0')
}

function query(query: MetaQuery, reader: Reader): MetaAnswer {
  const { revision } = readBooks(reader.get(booksKey))
  if (query.type === 'setting') {
    const key = settingKey(query.section, query.name)
    const value = reader.get(key)
    const record = value === undefined ? null : readRecord(key, value)
    return { type: 'setting', revision, setting: record?.type === 'setting' ? record.setting : null }
  }
  if (query.unless === revision) return { type: 'same', revision }
  const changes: MetaChange[] = []
  const bytesMax = Math.min(query.bytesMax, PAGE_BYTES_MAX)
  let bytes = 0
  let next: Uint8Array | null = null
  const cursor = reader.cursor({ start: query.from ?? recordsStart, end: recordsEnd })
  while (cursor.next()) {
    bytes += cursor.key.length + cursor.value.length
    if (changes.length > 0 && bytes > bytesMax) {
      next = cursor.key.slice()
      break
    }
    changes.push(readRecord(cursor.key, cursor.value))
  }
  cursor.close()
  return { type: 'page', revision, changes, next }
}
