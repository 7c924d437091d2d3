import type { FilterOutcome, FilterRequest } from '../session/effects.ts'

/** The subscriptions of one open session, kept where its kind keeps them. */
export interface Subscriptions {
  /** Resolves when every filter that was not refused is a route. Never rejects: failures are refusals. */
  subscribe(filters: readonly FilterRequest[]): Promise<FilterOutcome[]>
  /** For each filter whether there was such a subscription. */
  unsubscribe(filters: readonly string[]): Promise<boolean[]>
  /** The connection ended. */
  close(): void
}

/** The reason code of a failure, for SUBACK. */
export function refusalOf(error: unknown): number {
  const code = error instanceof Error && 'reasonCode' in error ? error.reasonCode : 0x80
  // MQTT 5.0 3.9.3 knows these of ours; anything else is an unspecified error.
  return code === 0x83 || code === 0x87 || code === 0x97 ? code : 0x80
}
