/**
 * Inserts of a message into many inboxes.
 *
 * Hot path: one command and one callback for each target, nothing else (bench: `insert`).
 */
import type { InboxId, TenantId } from '../base/ids.ts'
import type { Insert, InsertResult, InsertTarget } from './contract.ts'
import type { InboxRanges } from './feed-host.ts'
import type { InsertCommand, Response } from './store/command.ts'
import { inboxStart } from './store/schema.ts'

export type InsertDone = (error: Error | null, results: InsertResult[] | null) => void

/** QoS 0, which goes past the log: returns the result, or null where `later` is called with it. */
export type PassOn = (
  target: InsertTarget,
  later: (error: Error | null, result: InsertResult | null) => void,
) => InsertResult | null

export function insertAll(
  ranges: InboxRanges,
  tenant: TenantId,
  insert: Insert,
  passOn: PassOn,
  done: InsertDone,
): void {
  const { targets } = insert
  if (targets.length === 1 && targets[0]!.qos > 0) {
    const command = toCommand(tenant, insert, targets[0]!)
    ranges.mutateWith(command.key, command, (error, response) =>
      error === null ? done(null, [response as InsertResult]) : done(error, null),
    )
    return
  }
  const open = new OpenInsert(targets.length, done)
  for (let i = 0; i < targets.length; i++) {
    const target = targets[i]!
    if (target.qos > 0) {
      const command = toCommand(tenant, insert, target)
      ranges.mutateWith(command.key, command, open.answered, undefined, i)
    } else {
      const result = passOn(target, (error, later) => open.settle(i, error, later))
      if (result !== null) open.settle(i, null, result)
    }
  }
  open.settle(-1, null, null)
}

/** Keys of inboxes that were lately inserted into, by tenant and inbox: made once, held once. */
const keys = new Map<TenantId, Map<InboxId, Buffer>>()
const KEYS_MAX = 65_536
let keysCount = 0

function keyOf(tenant: TenantId, inbox: InboxId): Buffer {
  let own = keys.get(tenant)
  const known = own?.get(inbox)
  if (known !== undefined) return known
  if (own === undefined || keysCount >= KEYS_MAX) {
    if (keysCount >= KEYS_MAX) keys.clear()
    if (keys.size === 0) keysCount = 0
    keys.set(tenant, (own = new Map()))
  }
  // Not of the pool: it stays.
  const key = Buffer.from(new Uint8Array(inboxStart(tenant, inbox)).buffer)
  own.set(inbox, key)
  keysCount++
  return key
}

export function toCommand(tenant: TenantId, { message, dedup }: Insert, target: InsertTarget): InsertCommand {
  return {
    type: 'insert',
    key: keyOf(tenant, target.inbox),
    incarnation: target.incarnation,
    qos: target.qos,
    retain: target.retain,
    subscriptionIds: target.subscriptionIds,
    message,
    dedup,
  }
}

/** Counts the targets that are not settled, and one for the loop over them. */
class OpenInsert {
  readonly #results: InsertResult[]
  readonly #done: InsertDone
  #open: number
  #error: Error | null = null

  constructor(targets: number, done: InsertDone) {
    this.#results = new Array<InsertResult>(targets).fill('absent')
    this.#open = targets + 1
    this.#done = done
  }

  readonly answered = (error: Error | null, response: Response | null, at: number): void => {
    this.settle(at, error, response as InsertResult | null)
  }

  settle(at: number, error: Error | null, result: InsertResult | null): void {
    this.#error ??= error
    if (at >= 0 && result !== null) this.#results[at] = result
    if (--this.#open > 0) return
    if (this.#error === null) this.#done(null, this.#results)
    else this.#done(this.#error, null)
  }
}
