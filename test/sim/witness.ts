import { isDeepStrictEqual } from 'node:util'
import type { Write } from '../../src/kv/engine/engine.ts'
import type { Coprocessor, MutateContext, Mutation, Reader } from '../../src/kv/range/coprocessor.ts'

/**
 * A coprocessor beside a second one that is given the same entries, as another replica would read them: whatever is not
 * decided by entry and reader alone shows as a difference, and halts the range.
 */
export class Witnessed<Command, Response, Query, Answer, Effect>
  implements Coprocessor<Command, Response, Query, Answer, Effect>
{
  readonly service
  readonly version
  readonly #logic: Coprocessor<Command, Response, Query, Answer, Effect>
  readonly #witness: Coprocessor<Command, Response, Query, Answer, Effect>

  constructor(
    logic: Coprocessor<Command, Response, Query, Answer, Effect>,
    witness: Coprocessor<Command, Response, Query, Answer, Effect>,
  ) {
    this.service = logic.service
    this.version = logic.version
    this.#logic = logic
    this.#witness = witness
  }

  encode(commands: readonly Command[]): Uint8Array {
    return this.#logic.encode(commands)
  }

  decode(entry: Uint8Array): Command[] {
    return this.#logic.decode(entry)
  }

  mutate(commands: readonly Command[], reader: Reader, context: MutateContext): Mutation<Response, Effect> {
    const copies = this.#witness.decode(this.#logic.encode(commands).slice())
    const seen = this.#witness.mutate(copies, reader, context)
    const mutation = this.#logic.mutate(commands, reader, context)
    for (const part of ['writes', 'responses', 'effects'] as const) {
      if (isDeepStrictEqual(seen[part], mutation[part])) continue
      throw new Error(
        `The ${part} of an entry are not the same on two replicas: ${show(seen[part])}, ${show(mutation[part])}`,
      )
    }
    return mutation
  }

  query(...args: Parameters<Coprocessor<Command, Response, Query, Answer, Effect>['query']>): Answer {
    return this.#logic.query(...args)
  }

  due(...args: Parameters<Coprocessor<Command, Response, Query, Answer, Effect>['due']>): Command[] {
    return this.#logic.due(...args)
  }

  merge(...args: Parameters<NonNullable<Coprocessor<Command, Response, Query, Answer, Effect>['merge']>>): Write[] {
    const writes = this.#logic.merge?.(...args) ?? []
    if (!isDeepStrictEqual(this.#witness.merge?.(...args) ?? [], writes)) {
      throw new Error('The writes of a merge are not the same on two replicas')
    }
    return writes
  }

  nextDueMs(...args: Parameters<Coprocessor<Command, Response, Query, Answer, Effect>['nextDueMs']>): number | null {
    return this.#logic.nextDueMs(...args)
  }
}

function show(value: unknown): string {
  return JSON.stringify(value, (_key, each) => (each instanceof Uint8Array ? [...each].join(' ') : each))
}
