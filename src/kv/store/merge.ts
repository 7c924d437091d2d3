import { BrokerError } from '../../base/errors.ts'
import type { Entry } from '../raft/index.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import { decodeEntry } from '../range/entry.ts'
import { type MergeState, meet, sameStores, storesOf } from '../range/merge.ts'
import type { FrozenRange, MergeProposal } from '../range/range.ts'
import type { Group } from './group.ts'
import type { RangeHost } from './host.ts'
import type { MergeAnswer, MergeAsk } from './packet.ts'
import type { Service } from './service.ts'

/** A replica, as a merge sees it. */
export interface MergingHost {
  readonly id: string
  readonly halted: string | null
  readonly group: Group
  readonly range: { readonly latest: RangeDescriptor; readonly descriptor: RangeDescriptor; readonly merge: MergeState }
  /** Up to here all that was applied is in the engine. */
  readonly landedIndex: number
  readonly merger: Merger
  /** Why the group's replicas may be others soon; null where they stay. */
  unsettled(): string | null
  /** Proposes what `make` gives, unless it throws. */
  proposeMerge(make: () => MergeProposal, answer: (error: Error | null) => void): void
}

/** An attempt that is not ready to be committed after so long is cancelled: the right range serves nobody meanwhile. */
const ATTEMPT_MS_MAX = 5_000

type Answer = (error: Error | null) => void

/**
 * What the leader of a range does in a merge, on either side. It asks, answers and proposes, and remembers nothing that
 * matters: whoever leads next goes on from what the range has applied.
 *
 *     left                                           right
 *     begin --> [merge-begin]
 *     tick  -------- ask: freeze ------------------> [freeze]
 *     answered <---- frozen: all replicas have it -- asked
 *       '--> [merge-commit]       or, too late or refused: [merge-cancel]
 *     tick  -------- ask: thaw --------------------> [thaw]
 *     answered <---- thawed ------------------------ asked
 *       '--> [merge-end]
 */
export class Merger {
  readonly #host: MergingHost
  /** When this leader first saw the attempt; monotonic ms. */
  #sinceMs: number | null = null
  /** A step is under way: the next one waits for what becomes of it. */
  #proposing = false
  /** Who asked for the attempt. */
  #waiting: Answer | null = null
  #reason = ''

  constructor(host: MergingHost) {
    this.#host = host
  }

  /** This replica leads, and has an attempt to bring to its end. */
  get busy(): boolean {
    return this.#host.group.leads && this.#host.range.merge.taking !== null
  }

  /** Why the replicas must stay who they are; null where they need not. */
  bound(): BrokerError | null {
    const { id, range } = this.#host
    const { taking, frozen } = range.merge
    if (!this.#proposing && frozen === null && (taking === null || taking.cancelled)) return null
    return new BrokerError('CONFLICT', `Cannot change the replicas of range "${id}": it takes part in a merge`)
  }

  /** Takes over the right neighbour, as it is known here; `done` hears of the end, or of the loss of leadership. */
  begin(right: RangeDescriptor, done: Answer): void {
    this.#propose(
      () => {
        const left = this.#host.range.latest
        const objection = this.#beginObjection(left, right)
        if (objection !== null) throw refusal(left.id, right.id, objection)
        const { version } = right.epoch
        const { confVersion } = left.epoch
        return { type: 'merge-begin', right: right.id, version, confVersion, stores: storesOf(right) }
      },
      (error) => {
        if (error !== null) return done(error)
        this.#sinceMs = null
        this.#waiting = done
      },
    )
  }

  /** What the right range's leader is to be asked now; null: nothing. */
  tick(nowMs: number, right: MergingHost | undefined): MergeAsk | null {
    const { taking } = this.#host.range.merge
    if (taking === null || this.#proposing || !this.#host.group.established) return null
    this.#sinceMs ??= nowMs
    const { version, stores, cancelled } = taking
    // What has landed here was committed.
    const isOver = cancelled && right !== undefined && right.range.descriptor.epoch.version > version
    if (isOver) this.#decide('merge-end', '')
    else if (!cancelled && nowMs - this.#sinceMs >= ATTEMPT_MS_MAX) {
      this.#decide('merge-cancel', `not all replicas of range "${taking.right}" were ready in time`)
    } else return { type: 'merge-ask', range: taking.right, left: this.#host.id, version, stores, thaw: cancelled }
    return null
  }

  /** The right range's leader was asked; null where it has no answer yet, or does not lead. */
  asked({ left, version, stores, thaw }: MergeAsk): MergeAnswer | null {
    const { range, group } = this.#host
    if (!group.leads || !group.established || this.#proposing) return null
    const { latest, merge } = range
    const answer = { range: left, right: latest.id, version }
    const refused = (reason: string): MergeAnswer => ({
      ...{ type: 'merge-answer', ...answer, state: 'refused', reason },
      ...{ descriptor: null, index: 0, term: 0 },
    })
    if (thaw && range.descriptor.epoch.version > version) return { ...refused(''), state: 'thawed' }
    if (latest.epoch.version !== version) return refused('its boundary is another one by now')
    if (thaw) {
      this.#propose(() => this.#still(version, left, { type: 'thaw' }))
      return null
    }
    if (merge.frozen !== null) {
      if (merge.frozen.left !== left) return refused(`it is frozen for range "${merge.frozen.left}"`)
      const { index } = merge.frozen
      const term = this.#onAllDisks(index) ? group.log.term(index) : null
      return term === null ? null : { ...refused(''), state: 'frozen', descriptor: latest, index, term }
    }
    if (merge.taking !== null) return refused(`it is about to take over range "${merge.taking.right}"`)
    if (storesOf(latest).join('\0') !== [...stores].sort().join('\0')) return refused('its replicas are elsewhere')
    if (this.#host.unsettled() !== null || !this.#allFollow()) return null
    this.#propose(() => {
      const objection = this.#host.unsettled()
      if (objection !== null) throw refusal(left, latest.id, objection)
      return this.#still(version, left, { type: 'freeze', left, confVersion: range.latest.epoch.confVersion })
    })
    return null
  }

  answered({ right, version, state, descriptor, index, term, reason }: MergeAnswer): void {
    const { range, group } = this.#host
    const { taking } = range.merge
    if (taking === null || this.#proposing || !group.established) return
    if (taking.right !== right || taking.version !== version) return
    if (taking.cancelled) {
      if (state === 'thawed') this.#decide('merge-end', '')
    } else if (state === 'refused') this.#decide('merge-cancel', reason)
    else if (state === 'frozen' && descriptor !== null) {
      const fits = meet(range.latest, descriptor) && sameStores(range.latest, descriptor)
      if (fits) this.#propose(() => ({ type: 'merge-commit', right: descriptor, index, term }))
      else this.#decide('merge-cancel', 'they are no neighbours on the same stores')
    }
  }

  /** The range has taken over, or given up. */
  decided(): void {
    const { taking } = this.#host.range.merge
    if (taking !== null && !taking.cancelled) return
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.(taking === null ? null : refusal(this.#host.id, taking.right, this.#reason))
  }

  /** This replica leads no more: another one brings it to its end. */
  lost(error: BrokerError): void {
    const waiting = this.#waiting
    this.#waiting = null
    this.#sinceMs = null
    waiting?.(error)
  }

  #decide(type: 'merge-cancel' | 'merge-end', reason: string): void {
    const { right, version } = this.#host.range.merge.taking!
    this.#reason = reason
    this.#propose(() => ({ type, right, version }))
  }

  #propose(make: () => MergeProposal, answer: Answer = () => {}): void {
    this.#proposing = true
    this.#host.proposeMerge(make, (error) => {
      this.#proposing = false
      answer(error)
    })
  }

  /** What was asked of one generation is done to no other: a split may have been queued before it. */
  #still(version: number, left: string, step: MergeProposal): MergeProposal {
    const { id, epoch } = this.#host.range.latest
    if (epoch.version !== version) throw refusal(left, id, 'its boundary is another one by now')
    return step
  }

  #beginObjection(left: RangeDescriptor, right: RangeDescriptor): string | null {
    const { frozen, taking } = this.#host.range.merge
    if (frozen !== null) return `it is about to become a part of range "${frozen.left}" itself`
    if (taking !== null) return `its attempt to take over range "${taking.right}" has not come to its end`
    if (left.service !== right.service || !meet(left, right)) return 'they are no neighbours'
    if (!sameStores(left, right)) return 'their replicas are not on the same stores'
    return this.#host.unsettled()
  }

  /** Also on this one's: a replica whose disk has it can apply all up to there without the others. */
  #onAllDisks(index: number): boolean {
    return this.#host.landedIndex >= index && this.#host.group.peers().every(({ match }) => match >= index)
  }

  #allFollow(): boolean {
    return this.#host.group.peers().every(({ active, state, lost }) => active && state === 'replicate' && !lost)
  }
}

function refusal(left: string, right: string, reason: string): BrokerError {
  return new BrokerError('CONFLICT', `Cannot merge range "${right}" into range "${left}": ${reason}`)
}

/**
 * The right range of a merge's commit on this store, once all of it is applied; null where the entry takes over none.
 * Without it the left range stops: nothing is ever taken over that is not there.
 */
export function rightOf<Command, Response, Query, Answer, Effect>(
  { data, index }: Entry,
  host: RangeHost<Command, Response, Query, Answer, Effect>,
  service: Service<Command, Response, Query, Answer, Effect>,
): FrozenRange | 'waits' | null {
  const merge = decodeEntry(data, (payload) => service.coprocessor.decode(payload))
  if (merge.type !== 'merge-commit' || !host.range.takes(merge)) return null
  const right = service.rightOf(host, merge)
  if (right === null) {
    host.range.halt(`entry ${index} takes over range "${merge.right.id}", of which there is no replica here`)
  }
  return right
}
