/** Ids are branded strings, so that one cannot be passed for another. */
export type Brand<Name extends string> = string & { readonly __brand: Name }

/** A process's place in the cluster: random, kept in the data folder, never an address. */
export type HostId = Brand<'HostId'>
/** Owner of sessions, topics and quotas. Everything carries one. */
export type TenantId = Brand<'TenantId'>
/** Name of a persistent session's queue: the client id, unique within the tenant. */
export type InboxId = Brand<'InboxId'>
/** A shard of a service's keys. */
export type RangeId = Brand<'RangeId'>
/** The tenant of connections that name none. */
export const DEFAULT_TENANT = 'default' as TenantId
