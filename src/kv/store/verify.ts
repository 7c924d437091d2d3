import { compareBytes } from '../engine/bytes.ts'
import type { Bounds, Engine } from '../engine/engine.ts'
import { BoundedReader, engineReader } from '../range/boundary.ts'
import type { RangeDescriptor, Reader, ServiceName } from '../range/coprocessor.ts'
import { decodeMergeState } from '../range/merge.ts'
import {
  type AppliedState,
  answersOf,
  decodeApplied,
  decodeDescriptor,
  decodeMark,
  descriptorKey,
  type Mark,
  recordOf,
  streamOf,
} from '../range/schema.ts'
import { attempt, demand, type VerifyReport, visitRecords } from '../range/verify.ts'
import { ANSWERS } from './answers.ts'
import { decodeNewcomer } from './raft-schema.ts'
import { verifyConfig, verifyLogs } from './verify-log.ts'

/** Reads all that a service has in one range. */
export type ServiceVerifier = (reader: Reader, boundary: Bounds, report: VerifyReport) => void

/** What is where: for what concerns a whole family, `range` is empty. */
export interface StoreReport {
  family(family: ServiceName | 'meta' | 'raft', range: string): VerifyReport
}

export interface VerifiedRange {
  descriptor: RangeDescriptor
  applied: AppliedState
}

/** What family `meta` tells of one range; null = no such record. */
interface RangeRecords {
  service: ServiceName
  id: string
  descriptor: RangeDescriptor | null
  applied: AppliedState | null
  /** A replica that waits for a state; what is there of one is worth nothing. */
  isNewcomer: boolean
  marks: Map<string, Mark>
  answers: { key: Uint8Array; stream: string; last: number }[]
}

/**
 * Reads everything that a store has on its disk, without serving it: the ranges' own records, then the services' keys
 * range by range. The engine must be at rest. Gives the ranges, by service and boundary.
 */
export function verifyStore(
  engine: Engine,
  verifiers: Readonly<Record<ServiceName, ServiceVerifier>>,
  report: StoreReport,
): VerifiedRange[] {
  const records = readMeta(engine, verifiers, report.family('meta', ''))
  const verified: VerifiedRange[] = []
  for (const service of Object.keys(verifiers) as ServiceName[]) {
    const own = [...records.values()].filter((record) => record.service === service && !record.isNewcomer)
    for (const record of own) checkRecords(record, report.family('meta', record.id))
    const ranges = own.filter(isWhole).sort((a, b) => compareStarts(a.descriptor, b.descriptor))
    const reader = engineReader(engine, service)
    // Of what is replicated a store holds some ranges, another one the others.
    const holdsAll = own.every(({ descriptor }) => descriptor === null || descriptor.replicas.length === 1)
    checkTiles(ranges, reader, holdsAll && newcomersOf(records, service) === 0, report.family(service, ''))
    for (const { id, descriptor, applied } of ranges) {
      verifiers[service](new BoundedReader(reader, descriptor), descriptor, report.family(service, id))
      verified.push({ descriptor, applied })
    }
  }
  const applied = new Map(verified.map((each) => [each.descriptor.id, each.applied.index]))
  const newcomers = [...records.values()].filter(({ isNewcomer }) => isNewcomer).map(({ id }) => id)
  verifyLogs(engine, applied, new Set(newcomers), report.family('raft', ''))
  return verified
}

function readMeta(engine: Engine, known: object, report: VerifyReport): Map<string, RangeRecords> {
  const records = new Map<string, RangeRecords>()
  visitRecords(engineReader(engine, 'meta'), report, (key, value) => {
    const cut = key.indexOf(0)
    const service = Buffer.from(key.subarray(0, Math.max(0, cut))).toString() as ServiceName
    demand(Object.hasOwn(known, service), 'It names no service')
    const { range, kind, rest } = recordOf(key, service)
    const name = `${service}\0${range}`
    let record = records.get(name)
    if (record === undefined) {
      record = { service, id: range, descriptor: null, applied: null, isNewcomer: false, marks: new Map(), answers: [] }
      records.set(name, record)
    }
    readRecord(record, key, value, kind, rest)
  })
  return records
}

function readRecord(record: RangeRecords, key: Uint8Array, value: Uint8Array, kind: string, rest: Uint8Array): void {
  switch (kind) {
    case 'd':
      record.descriptor = decodeDescriptor(value)
      return
    case 'a':
      record.applied = decodeApplied(value)
      return
    case 'c':
      verifyConfig(value)
      return
    case 'm':
      decodeMergeState(value)
      return
    case 'n':
      decodeNewcomer(value)
      record.isNewcomer = true
      return
    case 'i':
      return
    case 's':
      record.marks.set(streamOf(rest), decodeMark(value))
      return
    case 'w': {
      const { stream, first } = answersOf(rest)
      record.answers.push({ key, stream, last: first + ANSWERS.decode(value).length - 1 })
      return
    }
    default:
      throw new Error(`Its kind "${kind}" is not known`)
  }
}

/** What one range's records say of each other. */
function checkRecords({ service, id, descriptor, applied, marks, answers }: RangeRecords, report: VerifyReport): void {
  const key = descriptorKey(service, id)
  attempt(key, report, () => {
    demand(descriptor !== null, 'The range has records and no descriptor')
    demand(applied !== null, 'The range has no applied state')
    demand(descriptor.id === id && descriptor.service === service, 'The descriptor is of another range')
    demand(descriptor.epoch.version > 0 && descriptor.epoch.confVersion > 0, 'The epoch begins with 1')
    demand(descriptor.replicas.length > 0, 'The range has no replica')
    const { start, end } = descriptor
    const isEmpty = start !== undefined && end !== undefined && compareBytes(start, end) >= 0
    demand(!isEmpty, 'The range ends before it begins')
  })
  for (const [stream, { number, nowMs }] of marks) {
    if (stream === '' || number < 1) report.damage(key, `The mark of stream "${stream}" is at ${number}`)
    if (applied !== null && nowMs > applied.nowMs) {
      report.damage(key, `The mark of stream "${stream}" is later than the last entry applied`)
    }
  }
  for (const { key: answersKey, stream, last } of answers) {
    const mark = marks.get(stream)
    if (mark === undefined) report.damage(answersKey, 'Answers are kept of a stream that has no mark')
    else if (last > mark.number) report.damage(answersKey, `Answers go to ${last}, the mark to ${mark.number}`)
  }
}

function newcomersOf(records: ReadonlyMap<string, RangeRecords>, service: ServiceName): number {
  return [...records.values()].filter((record) => record.service === service && record.isNewcomer).length
}

/** The ranges of a service cover each key once at most; `all`: exactly once. */
function checkTiles(ranges: readonly VerifiedRange[], reader: Reader, all: boolean, report: VerifyReport): void {
  const first = ranges[0]
  const last = ranges.at(-1)
  if (first === undefined || last === undefined) {
    if (!all) return
    // A node that never came so far as to serve has none, and nothing else.
    const cursor = reader.cursor()
    if (cursor.next()) report.damage(cursor.key.slice(), 'There are records, and no range')
    cursor.close()
    return
  }
  if (all && first.descriptor.start !== undefined)
    report.damage(null, `No range holds the keys before "${first.descriptor.id}"`)
  if (all && last.descriptor.end !== undefined)
    report.damage(null, `No range holds the keys after "${last.descriptor.id}"`)
  for (let i = 1; i < ranges.length; i++) {
    const [before, after] = [ranges[i - 1]!.descriptor, ranges[i]!.descriptor]
    const order = before.end === undefined ? 1 : compareBytes(before.end, after.start ?? new Uint8Array(0))
    if (all && order < 0)
      report.damage(after.start!, `No range holds the keys between "${before.id}" and "${after.id}"`)
    if (order > 0) report.damage(after.start ?? null, `Both "${before.id}" and "${after.id}" hold keys from here on`)
  }
}

function isWhole(record: RangeRecords): record is RangeRecords & VerifiedRange {
  return record.descriptor !== null && record.applied !== null
}

function compareStarts(a: RangeDescriptor, b: RangeDescriptor): number {
  return compareBytes(a.start ?? new Uint8Array(0), b.start ?? new Uint8Array(0))
}
