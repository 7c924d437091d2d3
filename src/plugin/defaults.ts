import type { BalancerPlugin, ThrottlePlugin } from './contract.ts'

/** Every tenant may use as much as its settings let it. */
export const unlimited: ThrottlePlugin = { hasResource: () => true }

/** Every client stays where it came to. */
export const stay: BalancerPlugin = { redirect: () => null }
