import type { ConfigChange, ConfState, ReplicaId } from './contract.ts'
import { Quorum } from './quorum.ts'

/**
 * One configuration of the group, immutable, and the rule by which the next one comes from it.
 *
 * A change of one voter is made at once, since the majorities before and after overlap; a larger one goes through a
 * joint configuration. It is in force when its entry is committed and handed out, on every replica.
 *
 * Source: Ongaro, thesis, 4.1 and 4.3.
 */
export class Membership {
  readonly state: ConfState
  readonly quorum: Quorum
  /** Everybody that is sent entries, in ascending order. */
  readonly members: readonly ReplicaId[]
  readonly #voters: ReadonlySet<ReplicaId>

  constructor(state: ConfState) {
    this.state = state
    this.quorum = new Quorum(state)
    this.#voters = new Set([...state.voters, ...state.outgoing])
    this.members = ascending(new Set([...this.#voters, ...state.learners, ...state.learnersNext]))
  }

  get joint(): boolean {
    return this.state.outgoing.length > 0
  }

  /** Votes in either half. */
  isVoter(id: ReplicaId): boolean {
    return this.#voters.has(id)
  }

  /** Votes still when a joint configuration has been left. */
  staysVoter(id: ReplicaId): boolean {
    return this.state.voters.includes(id)
  }

  /** Why `change` cannot be made now; null if it can. */
  objection(change: ConfigChange): string | null {
    const { members } = change
    if (this.joint)
      return members.length === 0 ? null : 'the group is in a joint configuration, which must be left first'
    if (members.length === 0) return 'there is no joint configuration to leave'
    const ids = new Set(members.map(({ id }) => id))
    if (ids.size < members.length) return 'it names a replica twice'
    for (const id of ids) if (!Number.isInteger(id) || id <= 0) return `"${id}" is not a replica id`
    const { voters, learners } = this.#target(change)
    if (voters.size === 0) return 'no voter would be left'
    const same = voters.size === this.state.voters.length && learners.size === this.state.learners.length
    const known = [...voters].every((id) => this.isVoter(id)) && [...learners].every((id) => !this.isVoter(id))
    if (same && known && [...learners].every((id) => this.state.learners.includes(id))) return 'it changes nothing'
    return null
  }

  /** The configuration after `change`, to which there is no {@link objection}. */
  after(change: ConfigChange): Membership {
    return this.joint ? this.#left() : this.#changed(change)
  }

  #changed(change: ConfigChange): Membership {
    const before = this.state.voters
    const { voters, learners } = this.#target(change)
    const gone = before.filter((id) => !voters.has(id)).length
    const joint = gone + voters.size + gone - before.length > 1 || change.leave === 'explicit'
    const next = { voters: ascending(voters), learnersNext: [], outgoing: [], autoLeave: false }
    if (!joint) return new Membership({ ...next, learners: ascending(learners) })
    return new Membership({
      ...next,
      outgoing: before,
      learners: ascending(learners).filter((id) => !before.includes(id)),
      learnersNext: ascending(learners).filter((id) => before.includes(id)),
      autoLeave: change.leave === 'auto',
    })
  }

  #left(): Membership {
    const { voters, learners, learnersNext } = this.state
    const all = ascending(new Set([...learners, ...learnersNext]))
    return new Membership({ voters, outgoing: [], learners: all, learnersNext: [], autoLeave: false })
  }

  #target(change: ConfigChange): { voters: Set<ReplicaId>; learners: Set<ReplicaId> } {
    const voters = new Set(this.state.voters)
    const learners = new Set(this.state.learners)
    for (const { type, id } of change.members) {
      voters.delete(id)
      learners.delete(id)
      if (type === 'add-voter') voters.add(id)
      else if (type === 'add-learner') learners.add(id)
    }
    return { voters, learners }
  }
}

function ascending(ids: Iterable<ReplicaId>): ReplicaId[] {
  return [...ids].sort((a, b) => a - b)
}
