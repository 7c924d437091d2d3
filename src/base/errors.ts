/**
 * The one table of expected failures. Each code says whether a retry is safe, and which MQTT reason code and
 * gRPC status a client sees.
 *
 * `retry`: `always` = the command was certainly not applied; `idempotent` = it may have been applied, so only a
 * numbered or idempotent command may be sent again; `never` = the same command would fail again.
 */
export const ERRORS = {
  NOT_LEADER: { retry: 'always', reason: 0x83, grpc: 9 },
  EPOCH_MISMATCH: { retry: 'always', reason: 0x83, grpc: 9 },
  RANGE_NOT_FOUND: { retry: 'always', reason: 0x83, grpc: 5 },
  REPLICA_GONE: { retry: 'always', reason: 0x83, grpc: 9 },
  SEQUENCE_GAP: { retry: 'always', reason: 0x83, grpc: 9 },
  OVERLOADED: { retry: 'always', reason: 0x97, grpc: 8 },
  NO_QUORUM: { retry: 'idempotent', reason: 0x83, grpc: 14 },
  TIMEOUT: { retry: 'idempotent', reason: 0x83, grpc: 4 },
  UNAVAILABLE: { retry: 'idempotent', reason: 0x88, grpc: 14 },
  CANCELLED: { retry: 'idempotent', reason: 0x83, grpc: 1 },
  CONFLICT: { retry: 'never', reason: 0x8e, grpc: 10 },
  NOT_FOUND: { retry: 'never', reason: 0x83, grpc: 5 },
  QUOTA_EXCEEDED: { retry: 'never', reason: 0x97, grpc: 8 },
  NOT_AUTHORIZED: { retry: 'never', reason: 0x87, grpc: 7 },
  INVALID_ARGUMENT: { retry: 'never', reason: 0x83, grpc: 3 },
  CONFIG_INVALID: { retry: 'never', reason: 0x83, grpc: 3 },
  PLUGIN_FAILED: { retry: 'never', reason: 0x83, grpc: 13 },
  STORAGE_FAILED: { retry: 'never', reason: 0x83, grpc: 15 },
  RANGE_HALTED: { retry: 'never', reason: 0x83, grpc: 13 },
  CLOSED: { retry: 'never', reason: 0x8b, grpc: 14 },
} as const satisfies Record<string, { retry: 'always' | 'idempotent' | 'never'; reason: number; grpc: number }>

export type ErrorCode = keyof typeof ERRORS

/** An expected failure. The message says the failed action, quoted values, and what to do. */
export class BrokerError extends Error {
  override name = 'BrokerError'
  readonly code: ErrorCode
  /** What makes a retry succeed, such as the leader's store or the new descriptor; null where there is none. */
  readonly hint: unknown

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint ?? null
  }

  /** MQTT 5 reason code for the client. */
  get reasonCode(): number {
    return ERRORS[this.code].reason
  }
}
