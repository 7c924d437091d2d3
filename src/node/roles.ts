/** What a node may be asked to do, in the order in which it is told. */
export const ROLES = ['mqtt', 'dist', 'inbox', 'retain', 'api'] as const

/** Those whose ranges a node holds. */
export const STATEFUL_ROLES = ['dist', 'inbox', 'retain'] as const

/** Those that match messages, clients' and wills', and so follow all subscriptions. */
const MATCHING_ROLES = ['mqtt', 'inbox'] as const
export const MATCHING: string = MATCHING_ROLES.join()

/** It has all subscriptions, or is about to. */
export function matches(roles: readonly string[]): boolean {
  return MATCHING_ROLES.some((role) => roles.includes(role))
}

/** Services that a node with these roles takes part in, as other nodes find them. */
export function servicesOf(roles: readonly string[]): readonly string[] {
  return ROLES.filter((role) => role !== 'api' && roles.includes(role))
}

/** It may be asked to hold ranges, so that it may begin a cluster as well. */
export function isStateful(roles: readonly string[]): boolean {
  return STATEFUL_ROLES.some((role) => roles.includes(role))
}
