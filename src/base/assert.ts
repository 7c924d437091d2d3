/**
 * A broken invariant: our own mistake, never a user's or the network's. It stops the process, because a
 * broker that goes on after one may lose what it acknowledged.
 */
export class InvariantError extends Error {
  override name = 'InvariantError'
}

/** Throws {@link InvariantError} unless `condition` holds. Never used on input from the wire. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message)
}

/** The default branch of a switch over a union: a new member fails to compile here. */
export function unreachable(value: never): never {
  throw new InvariantError(`Unreachable: ${JSON.stringify(value)}`)
}
