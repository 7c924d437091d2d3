import { isValidTopicFilter, isValidTopicName } from '../../base/topic.ts'
import { compareBytes } from '../../kv/engine/bytes.ts'
import type { Bounds } from '../../kv/engine/engine.ts'
import type { Reader } from '../../kv/range/coprocessor.ts'
import { attempt, demand, type VerifyReport, visitRecords } from '../../kv/range/verify.ts'
import type { InboxKey, InboxSubscription } from '../contract.ts'
import { decodeEntry, isReleased } from './entry.ts'
import { decodeGroup, type Group } from './group-record.ts'
import { decodeHead } from './index-head.ts'
import { decodeNode } from './nodes.ts'
import {
  decodeMarks,
  decodeNumbers,
  decodeSession,
  decodeSubscription,
  decodeTally,
  decodeWill,
  type Numbers,
  type Session,
  type StoredWill,
  sessionEndMs,
  type Tally,
} from './records.ts'
import {
  KIND_FIRING,
  KIND_GROUP,
  KIND_INDEX,
  KIND_NUMBERS,
  KIND_PARTS,
  KIND_SESSION,
  KIND_TALLY,
  KIND_WILL,
  nodesStart,
  PART_ASSIGNED,
  PART_ENTRY,
  PART_FILTER,
  PART_MARKS,
  PART_RETURNED,
  parseGroupInbox,
  parseStart,
  partStart,
  readTimer,
  readU64,
  sequenceKey,
  startOf,
  type Timer,
  timerHeadKey,
  timerKey,
  timersStart,
  withKind,
} from './schema.ts'
import { asBuffer } from './wire.ts'

/** Told of every subscription that is not pending: its route must be there. */
export type SubscriptionCheck = (
  key: InboxKey,
  incarnation: number,
  subscription: InboxSubscription,
  damage: (reason: string) => void,
) => void

/** All that was read of one inbox; records are null where there are none. */
interface Account {
  start: Buffer
  session: Session | null
  tally: Tally | null
  will: StoredWill | null
  numbers: Numbers | null
  group: Group | null
  firing: { number: number; dueMs: number }[]
  entries: number
  entryBytes: number
  lowest: number
  highest: number
  subscriptions: InboxSubscription[]
  publishers: number
  /** By member. */
  assigned: Map<string, number>
  returned: number
  /** Incarnations that anything is keyed by. */
  incarnations: Set<number>
}

/**
 * Reads everything that a range has of inboxes: decodes it, counts queues and lists against what the records say of
 * them, and looks for the timer of everything that has a time.
 */
export function verifyInbox(
  reader: Reader,
  boundary: Bounds,
  report: VerifyReport,
  checkSubscription: SubscriptionCheck = () => {},
): void {
  const verifier = new Verifier(reader, boundary, report, checkSubscription)
  visitRecords(reader, report, (key, value) => verifier.visit(asBuffer(key), value))
  verifier.finish()
}

class Verifier {
  readonly #reader: Reader
  readonly #boundary: Bounds
  readonly #report: VerifyReport
  readonly #checkSubscription: SubscriptionCheck
  /** Inboxes below are in the time index; null = all, undefined = the range has no index. */
  #covered: Uint8Array | null | undefined
  #account: Account | null = null

  constructor(reader: Reader, boundary: Bounds, report: VerifyReport, checkSubscription: SubscriptionCheck) {
    this.#reader = reader
    this.#boundary = boundary
    this.#report = report
    this.#checkSubscription = checkSubscription
  }

  visit(key: Buffer, value: Uint8Array): void {
    const start = startOf(key)
    const rest = start === null ? key : key.subarray(start.length)
    if (rest[0] === KIND_INDEX) return this.#visitIndex(key, value)
    demand(start !== null, 'The key names no inbox')
    if (this.#account === null || compareBytes(this.#account.start, start) !== 0) {
      this.finish()
      parseStart(start)
      this.#account = newAccount(Buffer.from(start))
    }
    this.#visitRecord(this.#account, rest, value)
  }

  /** After the last record. */
  finish(): void {
    const account = this.#account
    this.#account = null
    if (account === null) return
    const { start } = account
    const owner = parseStart(start)
    const { tenant } = owner
    const isGroup = parseGroupInbox(owner) !== null
    attempt(withKind(start, KIND_TALLY), this.#report, () => this.#checkQueue(account))
    if (isGroup) attempt(withKind(start, KIND_GROUP), this.#report, () => this.#checkGroup(account))
    else attempt(withKind(start, KIND_SESSION), this.#report, () => this.#checkSession(account, owner))
    attempt(withKind(start, KIND_NUMBERS), this.#report, () => this.#checkNumbers(account))
    this.#count(account, tenant)
  }

  #count(account: Account, tenant: string): void {
    const report = this.#report
    if (account.group !== null) report.count(tenant, 'groups')
    if (account.session !== null) report.count(tenant, 'sessions')
    if (account.session?.attached) report.count(tenant, 'attached')
    if (account.will !== null) report.count(tenant, 'wills')
    report.count(tenant, 'subscriptions', account.subscriptions.length)
    report.count(tenant, 'queued', account.entries)
    report.count(tenant, 'queuedBytes', account.entryBytes)
  }

  /** The time index: what is stale there is no damage, its timer does nothing. */
  #visitIndex(key: Buffer, value: Uint8Array): void {
    const { start } = this.#boundary
    if (compareBytes(key, timerHeadKey(start)) === 0) {
      this.#covered = decodeHead(value).covered
      return
    }
    const nodes = nodesStart(start)
    if (key.subarray(0, nodes.length).equals(nodes)) {
      demand(key.length > nodes.length, 'A record of a node names none')
      decodeNode(value)
      return
    }
    const prefix = timersStart(start)
    demand(key.subarray(0, prefix.length).equals(prefix), 'A time index is not at the start of its range')
    const timer = readTimer(key, prefix)
    demand(value.length === 0, 'A timer has no value')
    parseStart(timer.start)
  }

  #visitRecord(account: Account, rest: Buffer, value: Uint8Array): void {
    switch (rest[0]) {
      case KIND_SESSION:
        account.session = decodeSession(value)
        return
      case KIND_TALLY:
        account.tally = decodeTally(value)
        return
      case KIND_WILL:
        account.will = decodeWill(value)
        demand(isValidTopicName(account.will.message.topic), 'The topic of the will is not valid')
        return
      case KIND_NUMBERS:
        account.numbers = decodeNumbers(value)
        return
      case KIND_GROUP:
        account.group = decodeGroup(value)
        return
      case KIND_FIRING: {
        demand(rest.length === 9, 'The key of a will on its way is not one')
        const { dueMs, message } = decodeWill(value)
        account.firing.push({ number: readU64(rest, 1), dueMs })
        demand(isValidTopicName(message.topic), 'The topic of the will is not valid')
        return
      }
      case KIND_PARTS:
        return this.#visitPart(account, rest, value)
      default:
        demand(false, `Its kind ${rest[0]} is not known`)
    }
  }

  /** `0x10 incarnation u64 | part | name`. */
  #visitPart(account: Account, rest: Buffer, value: Uint8Array): void {
    demand(rest.length > 10, 'Its key is cut short')
    account.incarnations.add(readU64(rest, 1))
    const name = rest.subarray(10)
    switch (rest[9]) {
      case PART_ENTRY: {
        demand(name.length === 8, 'The key of a queue entry is not one')
        const sequence = readU64(name, 0)
        account.entries++
        account.entryBytes += value.length
        account.lowest = Math.min(account.lowest, sequence)
        account.highest = Math.max(account.highest, sequence)
        return checkEntry(sequence, value)
      }
      case PART_FILTER: {
        const filter = name.toString()
        account.subscriptions.push(decodeSubscription(filter, value))
        return demand(isValidTopicFilter(filter), `"${filter}" is no topic filter`)
      }
      case PART_MARKS:
        account.publishers++
        decodeMarks(value)
        return
      case PART_ASSIGNED: {
        const member = name.toString('utf8', 0, name.indexOf(0))
        account.assigned.set(member, (account.assigned.get(member) ?? 0) + 1)
        const entries = partStart(account.start, readU64(rest, 1), PART_ENTRY)
        const entry = this.#reader.get(sequenceKey(entries, readU64(name, name.length - 8)))
        return demand(entry !== undefined, `Member "${member}" has an entry that is not in the queue`)
      }
      case PART_RETURNED:
        account.returned++
        return
      default:
        demand(false, `Its part ${rest[9]} is not known`)
    }
  }

  #checkQueue({ tally, entries, entryBytes, lowest, highest, publishers, incarnations }: Account): void {
    const stray = [...incarnations].filter((incarnation) => incarnation !== tally?.incarnation)
    demand(stray.length === 0, `There are remains of incarnation ${stray[0]}`)
    if (tally === null) return
    demand(tally.messages === entries, `The tally counts ${tally.messages} messages, ${entries} are there`)
    demand(tally.bytes === entryBytes, `The tally counts ${tally.bytes} bytes, ${entryBytes} are there`)
    demand(tally.publishers === publishers, `The tally counts ${tally.publishers} publishers, ${publishers} are there`)
    if (entries === 0) return
    demand(tally.head <= lowest, `The queue begins at ${tally.head}, an entry is at ${lowest}`)
    demand(tally.tail >= highest, `The queue ends at ${tally.tail}, an entry is at ${highest}`)
  }

  #checkSession({ start, session, tally, will, subscriptions, group }: Account, owner: InboxKey): void {
    demand(group === null, 'A session is no group')
    demand((session === null) === (tally === null), 'Of session and tally one is missing')
    demand(will === null || session !== null, 'There is a will, and no session')
    if (session === null || tally === null) return
    demand(session.incarnation === tally.incarnation, 'Session and tally are of two incarnations')
    demand(session.attached === tally.attached, 'Of session and tally one is attached')
    const { filters, incarnation } = session
    demand(filters === subscriptions.length, `The session counts ${filters} filters, ${subscriptions.length} are there`)
    this.#demandTimer({ dueMs: sessionEndMs(session), kind: 'expiry', number: 0, start })
    demand(will === null || will.dueMs > 0 !== session.attached, 'The will waits, and the session is attached')
    if (will !== null && will.dueMs > 0) this.#demandTimer({ dueMs: will.dueMs, kind: 'will', number: 0, start })
    for (const subscription of subscriptions) {
      if (subscription.pending) continue
      const key = partStart(start, incarnation, PART_FILTER)
      const damage = (reason: string) =>
        this.#report.damage(Buffer.concat([key, Buffer.from(subscription.filter)]), reason)
      this.#checkSubscription(owner, incarnation, subscription, damage)
    }
  }

  #checkGroup({ session, tally, group, assigned, returned }: Account): void {
    demand(session === null, 'A group has no session')
    demand((group === null) === (tally === null), 'Of group and tally one is missing')
    if (group === null) return
    demand(group.returned === returned, `The group counts ${group.returned} returned entries, ${returned} are there`)
    for (const { inbox, assigned: counted } of group.members) {
      const found = assigned.get(inbox) ?? 0
      demand(counted === found, `Member "${inbox}" counts ${counted} entries, ${found} are there`)
      assigned.delete(inbox)
    }
    demand(assigned.size === 0, `"${[...assigned.keys()][0]}" has entries, and is no member`)
  }

  #checkNumbers({ start, numbers, firing }: Account): void {
    const announced = numbers?.firing ?? []
    const same = announced.length === firing.length && firing.every(({ number }, i) => announced[i] === number)
    demand(same, 'The wills on their way are not those that the numbers tell of')
    for (const { dueMs, number } of firing) this.#demandTimer({ dueMs, kind: 'firing', number, start })
    const used = [...announced, ...(numbers?.received ?? []).map(({ number }) => number)]
    demand(
      used.every((number) => number < numbers!.next),
      'A publish number is above the next one',
    )
  }

  /** Where the index is not built as far, its timers come later. */
  #demandTimer(timer: Timer): void {
    if (timer.dueMs === Number.POSITIVE_INFINITY || this.#covered === undefined) return
    if (this.#covered !== null && compareBytes(timer.start, this.#covered) >= 0) return
    const stored = this.#reader.get(timerKey(this.#boundary.start, timer))
    demand(stored !== undefined, `Its timer "${timer.kind}" is not in the time index`)
  }
}

function checkEntry(sequence: number, value: Uint8Array): void {
  const flags = value[0] ?? 0xff
  demand((flags & 3) < 3 && flags < 0x20, `A queue entry has flags ${flags}`)
  const { message } = decodeEntry(sequence, 1, false, value)
  demand(isReleased(value) || isValidTopicName(message!.topic), 'The topic of a queued message is not valid')
}

function newAccount(start: Buffer): Account {
  return {
    start,
    session: null,
    tally: null,
    will: null,
    numbers: null,
    group: null,
    firing: [],
    entries: 0,
    entryBytes: 0,
    lowest: Number.POSITIVE_INFINITY,
    highest: 0,
    subscriptions: [],
    publishers: 0,
    assigned: new Map(),
    returned: 0,
    incarnations: new Set(),
  }
}
