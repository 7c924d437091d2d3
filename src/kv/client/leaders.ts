import { BrokerError, ERRORS } from '../../base/errors.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'

/**
 * Who is believed to lead each range. Errors tell; where they do not, the replicas are asked in turn, so that one that is
 * down does not hide the others.
 */
export class Leaders {
  readonly #leaders = new Map<string, string>()

  /** The store to ask. */
  of({ id, replicas }: RangeDescriptor): string {
    return this.#leaders.get(id) ?? firstVoter(replicas)
  }

  /** Takes the hint of an error; true where that is new. */
  learn(error: BrokerError | null): boolean {
    const { range, leader } = (error?.hint ?? {}) as { range?: string; leader?: string | null }
    if (range === undefined || leader === undefined || leader === null) return false
    if (this.#leaders.get(range) === leader) return false
    this.#leaders.set(range, leader)
    return true
  }

  /** The store that was asked did not answer, or does not lead and knows nobody: another one is asked next. */
  doubt(descriptor: RangeDescriptor, error: Error | null): void {
    const { id, replicas } = descriptor
    if (replicas.length === 0 || (error instanceof BrokerError && !isDoubtful(error))) return
    const at = replicas.findIndex(({ store }) => store === this.of(descriptor))
    this.#leaders.set(id, replicas[(at + 1) % replicas.length]!.store)
  }
}

/** Not of those by which a leader refuses what it understood. */
export function isDoubtful({ code }: BrokerError): boolean {
  return code !== 'OVERLOADED' && code !== 'EPOCH_MISMATCH' && code !== 'SEQUENCE_GAP' && ERRORS[code].retry !== 'never'
}

function firstVoter(replicas: RangeDescriptor['replicas']): string {
  return (replicas.find(({ role }) => role === 'voter') ?? replicas[0])?.store ?? ''
}
