import { isValidTopicName } from '../../base/topic.ts'
import { compareBytes } from '../../kv/engine/bytes.ts'
import type { Bounds } from '../../kv/engine/engine.ts'
import type { Reader } from '../../kv/range/coprocessor.ts'
import { attempt, demand, type VerifyReport, visitRecords } from '../../kv/range/verify.ts'
import { needsRebuild, readHead, readUsage, type Usage } from './books.ts'
import {
  behindBooks,
  booksStart,
  headKey,
  readSlot,
  readSlotMessage,
  slotBytes,
  tenantLength,
  tenantOf,
  timeKey,
  topicKey,
  topicOf,
  usageKey,
} from './schema.ts'

/**
 * Reads every retained message of a range, and holds the counters and the time index against them. Books that are
 * being rebuilt know a part only, and are not judged.
 */
export function verifyRetain(reader: Reader, boundary: Bounds, report: VerifyReport): void {
  const books = booksStart(boundary)
  let complete = false
  attempt(books, report, () => {
    complete = books !== null && !needsRebuild(reader, boundary)
  })
  /** By the tenant's bytes in keys. */
  const usages = new Map<string, Usage>()
  const usageOf = (name: string) => {
    const usage = usages.get(name) ?? { topics: 0, bytes: 0 }
    usages.set(name, usage)
    return usage
  }
  const counters = complete ? usageKey(books!, new Uint8Array(0)) : null
  visitRecords(reader, report, (key, value) => {
    if (behindBooks(key) !== null) {
      // A tenant of whom nothing is there must not be counted either.
      const bytes = Buffer.from(key)
      if (counters !== null && bytes.indexOf(counters) === 0) usageOf(bytes.toString('latin1', counters.length))
      return
    }
    const tenant = tenantOf(key)
    const { message, deadlineMs } = readSlot(value)
    const topic = topicOf(key)
    demand(isValidTopicName(topic), `"${topic}" is no topic`)
    demand(compareBytes(topicKey(tenant, topic), key) === 0, 'The key is not the one of its topic')
    if (complete && deadlineMs !== Infinity) {
      demand(reader.get(timeKey(books!, deadlineMs, key)) !== undefined, 'Its end is not in the time index')
    }
    if (!message) return
    readSlotMessage(key, value)
    const usage = usageOf(Buffer.from(key.subarray(0, tenantLength(key))).toString('latin1'))
    usage.topics++
    usage.bytes += slotBytes(key, value)
    report.count(tenant, 'retained')
    report.count(tenant, 'retainedBytes', slotBytes(key, value))
  })
  if (complete) checkBooks(reader, boundary, usages, report)
}

function checkBooks(reader: Reader, boundary: Bounds, usages: ReadonlyMap<string, Usage>, report: VerifyReport): void {
  const books = booksStart(boundary)!
  const total = { topics: 0, bytes: 0 }
  for (const [name, found] of usages) {
    const tenant = Buffer.from(name, 'latin1')
    total.topics += found.topics
    total.bytes += found.bytes
    attempt(usageKey(books, tenant), report, () => demandSame(readUsage(reader, boundary, tenant), found))
  }
  attempt(headKey(books), report, () => {
    demandSame(readHead(reader, boundary)?.total ?? { topics: 0, bytes: 0 }, total)
  })
}

function demandSame(counted: Usage, found: Usage): void {
  const same = counted.topics === found.topics && counted.bytes === found.bytes
  const text = ({ topics, bytes }: Usage) => `${topics} messages of ${bytes} bytes`
  demand(same, `The books count ${text(counted)}, ${text(found)} are there`)
}
