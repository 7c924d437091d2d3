import type { LinkKind } from '../../contract.ts'

export interface LinkOptions {
  /** Body of a frame, at most; an open frame is flushed when the next message does not fit. */
  frameBytesMax: number
  /** What the peer may send beyond what was consumed here. At least two frames. */
  windowBytes: number
  /** Bodies that are kept until the peer has acknowledged them; beyond that, messages are refused. */
  bufferBytesMax: number
  /** One message, header included; it travels in parts when it does not fit in a frame. Fits in the buffer. */
  messageBytesMax: number
  /** An acknowledgement that nothing carries waits so long; or until a quarter of the window came. */
  ackDelayMs: number
  /** Silence after which the initiator asks for a sign of life. */
  keepaliveMs: number
  /** Silence after which the connection counts as broken; at least twice {@link keepaliveMs}. */
  silenceMsMax: number
  /** From dialling to the first frame. */
  handshakeMsMax: number
  /** Wait before attempt n: min * 2^(n-1), up to max, of which a random half is taken off. */
  backoffMsMin: number
  backoffMsMax: number
}

const COMMON: LinkOptions = {
  frameBytesMax: 64 * 1024,
  windowBytes: 4 * 1024 * 1024,
  bufferBytesMax: 32 * 1024 * 1024,
  // The largest MQTT packet, 16 MiB, and what belongs to it.
  messageBytesMax: 17 * 1024 * 1024,
  ackDelayMs: 20,
  keepaliveMs: 5_000,
  silenceMsMax: 15_000,
  handshakeMsMax: 5_000,
  backoffMsMin: 50,
  backoffMsMax: 5_000,
}

/** Raft looks for a broken connection sooner, and does not let old appends pile up behind a new heartbeat. */
export const LINK_OPTIONS: { readonly [Kind in LinkKind]: LinkOptions } = {
  raft: { ...COMMON, keepaliveMs: 1_000, silenceMsMax: 3_000, handshakeMsMax: 2_000, backoffMsMax: 1_000 },
  deliveries: COMMON,
  bulk: COMMON,
}

/**
 * Wait before the next attempt, in milliseconds: exponential, with "equal jitter".
 * Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 * @param failures attempts that failed in a row, >= 1
 * @param random uniform in [0, 1)
 */
export function backoffMs(failures: number, random: number, options: LinkOptions): number {
  const ceiling = Math.min(options.backoffMsMax, options.backoffMsMin * 2 ** Math.min(failures - 1, 30))
  return ceiling / 2 + (random * ceiling) / 2
}
