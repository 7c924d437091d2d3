/** What a node may be asked to do, in the order in which it is told. */
export const ROLES = ['mqtt', 'dist', 'inbox', 'retain', 'api'] as const

/** Those whose ranges a node holds. */
export const STATEFUL_ROLES = ['dist', 'inbox', 'retain'] as const

/** Services that a node with these roles takes part in, as other nodes find them. */
export function servicesOf(roles: readonly string[]): readonly string[] {
  return ROLES.filter((role) => role !== 'api' && roles.includes(role))
}

/** It may be asked to hold ranges, so that it may begin a cluster as well. */
export function isStateful(roles: readonly string[]): boolean {
  return STATEFUL_ROLES.some((role) => roles.includes(role))
}
