import { compareBytes } from '../engine/bytes.ts'
import type { Reader } from '../range/coprocessor.ts'
import { demand, type VerifyReport, visitRecords } from '../range/verify.ts'
import { booksKey, readBooks, readRecord, recordsStart } from './schema.ts'

/** Reads every record of the `meta` range: each must be one, and no setting newer than the books. */
export function verifyMeta(reader: Reader, report: VerifyReport): void {
  const { revision } = readBooks(reader.get(booksKey))
  visitRecords(reader, report, (key, value) => {
    if (compareBytes(key, booksKey) === 0) return
    demand(compareBytes(key, recordsStart) >= 0, 'The key is not one of a record')
    const change = readRecord(key, value)
    if (change.type === 'setting') demand(change.setting.version <= revision, 'It is newer than the books')
  })
}
