import type { FlappingOptions } from '../plugin/index.ts'
import type { FrontEnd } from './connection/front-end.ts'
import type { ListenerOptions } from './listener/index.ts'

/** What the front end stands on, given by the composition root. */
export type MqttParts = Pick<
  FrontEnd,
  | 'router'
  | 'table'
  | 'dist'
  | 'inbox'
  | 'retain'
  | 'routes'
  | 'clients'
  | 'auth'
  | 'balancer'
  | 'settings'
  | 'events'
  | 'clock'
  | 'hlc'
  | 'log'
  | 'node'
> & {
  /** Runs a callback after what runs now: a turn of the loop. Default setImmediate. */
  defer?: (callback: () => void) => void
  /** Of this run of the process, in names that are never given twice. Default: random. */
  run?: string
}

export interface MqttOptions {
  listeners: readonly ListenerOptions[]
  /** Largest packet before the tenant's own limit is known. */
  packetBytesMax: number
  connectTimeoutMs: number
  connectionsMax: number
  connectionRatePerSecond: number
  handshakesMax: number
  /** Bytes that may wait for one client. */
  outputBytesPerConnectionMax: number
  /** Resident bytes of the process above which no new connection is taken. */
  processBytesMax: number
  /** Bytes held for all clients together above which those that hold most are closed. */
  heldBytesMax: number
  flapping: FlappingOptions
  /** Milliseconds of parsing in one turn of the event loop. */
  turnMsMax: number
  /** Unanswered publishes of QoS 1 and 2 of a 3.x client before it is read no further. */
  inFlight3Max: number
}
