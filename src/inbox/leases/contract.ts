import type { MatchMessage } from '../../kv/lease/index.ts'
import type { RangeDescriptor } from '../../kv/range/coprocessor.ts'

/** What node leases need of the cluster; without it this node is the only one there ever was. */
export interface LeasePorts {
  /** All ranges of `inbox`, as far as is known here; may have several versions of one. */
  landscape(): readonly RangeDescriptor[]
  send(store: string, range: string, message: MatchMessage): void
  /** From now on what others say comes to `receiver`. */
  attach(receiver: (from: string, range: string, message: MatchMessage) => void): void
  /** Nobody else has ever been in this node's cluster: nobody holds it for gone. */
  lonely(): boolean
}

/** Incarnations of this node: each is higher than all before it, whatever the clock does, also over restarts. */
export interface Incarnations {
  next(): number
}

/** What a connection looks at before it acts on what has come: see {@link look}. */
export interface LeaseWatch {
  /** On the monotonic clock: {@link look} is called before anything is done from then on. Infinity: not now. */
  untilMs: number
  /** Closes connections whose leases have ended. */
  look(nowMs: number): void
}
