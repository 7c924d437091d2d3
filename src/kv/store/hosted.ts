import type { BrokerError } from '../../base/errors.ts'
import type { RangeDescriptor, ServiceName } from '../range/coprocessor.ts'
import type { Gathered } from './gathered.ts'
import type { Group } from './group.ts'

/** What the store's loop needs of a replica, whatever its service: all types are inside. */
export interface Hosted {
  readonly id: string
  readonly service: ServiceName
  /** As it was last known here. */
  readonly descriptor: RangeDescriptor
  readonly group: Group
  readonly halted: string | null
  /** Something waits until a batch may begin: commands, or news for others. */
  readonly waits: boolean
  /** So much waits that the next entry is made while a batch is under way. */
  readonly ample: boolean
  /** When timed work is due, ms since 1970; Infinity = none known. */
  readonly dueMs: number
  /** Takes what consensus brings; `proposes`: what is queued first. */
  advance(nowMs: number, gathered: Gathered, proposes: boolean): void
  /** Ends all that is queued or under way with this error. */
  abort(error: BrokerError): void
}
