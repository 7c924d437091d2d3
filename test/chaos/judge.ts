import { check, type History, type Publish, type Violation } from '../durability/checker.ts'
import type { Overheard } from './clients.ts'

export const checkNames = [
  'lost',
  'doubled',
  'order',
  'ghost',
  'unmarked',
  'resend-order',
  'session-lost',
  'protocol',
  'owners',
  'routes',
  'wills',
  'suback',
  'stuck',
  'unhealed',
  'crash',
  'damage',
] as const
export type CheckName = (typeof checkNames)[number]

/**
 * What an account of clients does not show by itself. `owners`: two connections of one client id at a time. `routes`: a
 * route whose subscriber has gone. `wills`: fired although its client said good-bye. `suback`: accepted after a SUBACK,
 * and not delivered. `stuck`: a client that gets no answer though nothing fails. `unhealed`: nodes that do not find
 * together. `crash`: a process that ended by itself. `damage`: what `flockmq check` finds.
 */
export interface Finding {
  kind: CheckName
  session: string
  detail: string
}

/**
 * Judges round after round what clients saw. A round is judged together with the one before, since a message may be
 * repeated late; what was found is told once.
 */
export class Judge {
  readonly #history: History
  readonly #without: ReadonlySet<CheckName>
  readonly #told = new Set<string>()
  readonly #cancelled = new Set<string>()
  /** How many of each array belong to the round before. */
  #before = { publishes: 0, deliveries: 0 }
  /** All that was found. */
  readonly findings: Finding[] = []
  readonly counts = {
    publishes: 0,
    acknowledged: 0,
    refused: 0,
    unanswered: 0,
    resent: 0,
    deliveries: 0,
    dup: 0,
    wills: 0,
  }

  constructor(history: History, without: readonly CheckName[]) {
    this.#history = history
    this.#without = new Set(without)
  }

  tell(kind: CheckName, session: string, detail: string): void {
    if (this.#without.has(kind)) return
    const key = `${kind} ${session} ${detail}`
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.findings.push({ kind, session, detail })
  }

  /** Wills that must not come any more. */
  cancel(ids: Iterable<string>): void {
    for (const id of ids) this.#cancelled.add(id)
  }

  /** Judges what there is, and forgets what is older than this round. Gives what is new. */
  round(overheard: Overheard[], isGone: (session: string) => boolean): Finding[] {
    const already = this.findings.length
    const history = this.#history
    for (const violation of check(history)) this.tell(kindOf(violation), violation.session, violation.detail)
    const published = new Map(history.publishes.map((publish) => [publish.id, publish]))
    for (const each of overheard.splice(0)) this.#overheard(each, published)
    for (const { id, session } of history.deliveries) {
      if (this.#cancelled.has(id)) this.tell('wills', session, `${id} fired, its client had said good-bye`)
    }
    this.#count()
    this.#forget(isGone)
    return this.findings.slice(already)
  }

  #overheard({ session, id, sinceMs, atMs }: Overheard, published: ReadonlyMap<string, Publish>): void {
    const publish = published.get(id)
    if (publish === undefined || publish.sentMs <= sinceMs) return
    const times = [sinceMs, publish.sentMs, atMs].map((ms) => ms.toFixed(0))
    this.tell(
      'owners',
      session,
      `its older connection got ${id} at ${times[2]} ms, sent at ${times[1]} ms, after CONNACK of the newer one at ${times[0]} ms`,
    )
  }

  #count(): void {
    const { publishes, deliveries } = this.#history
    for (const { id, outcome, sends } of publishes.slice(this.#before.publishes)) {
      if (id.startsWith('mortal')) {
        this.counts.wills += outcome === 'ok' ? 1 : 0
        continue
      }
      this.counts.publishes++
      this.counts[outcome === 'ok' ? 'acknowledged' : outcome === 'failed' ? 'refused' : 'unanswered']++
      if (sends > 1) this.counts.resent++
    }
    for (const { dup } of deliveries.slice(this.#before.deliveries)) {
      this.counts.deliveries++
      if (dup) this.counts.dup++
    }
  }

  #forget(isGone: (session: string) => boolean): void {
    const history = this.#history
    history.publishes.splice(0, this.#before.publishes)
    const known = new Set(history.publishes.map(({ id }) => id))
    history.deliveries = history.deliveries.slice(this.#before.deliveries).filter(({ id }) => known.has(id))
    this.#before = { publishes: history.publishes.length, deliveries: history.deliveries.length }
    history.anomalies.length = 0
    const needed = new Set(history.deliveries.map(({ session }) => session))
    history.sessions = history.sessions.filter(({ name }) => !isGone(name) || needed.has(name))
  }
}

/** What the checker finds, by the names of this one. */
function kindOf({ kind, detail }: Violation): CheckName {
  // Wills are published by nobody else.
  return (kind === 'lost' || kind === 'doubled') && detail.startsWith('mortal') ? 'wills' : kind
}
