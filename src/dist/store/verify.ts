import { isValidTopicFilter } from '../../base/topic.ts'
import { compareBytes } from '../../kv/engine/bytes.ts'
import type { Bounds } from '../../kv/engine/engine.ts'
import type { Reader } from '../../kv/range/coprocessor.ts'
import { demand, type VerifyReport, visitRecords } from '../../kv/range/verify.ts'
import type { Route } from '../contract.ts'
import { readRoute, routeKey, routeValue } from './schema.ts'

/** Reads every route of a range, and holds it against the bytes that it would be written as. */
export function verifyDist(reader: Reader, _boundary: Bounds, report: VerifyReport): void {
  visitRecords(reader, report, (key, value) => {
    const route = readRoute(key, value)
    demand(compareBytes(routeKey(route), key) === 0, 'The key is not the one of its route')
    demand(compareBytes(routeValue(route), value) === 0, 'The value is not the one of its route')
    demand(isValidTopicFilter(route.filter), `"${route.filter}" is no topic filter`)
    report.count(route.tenant, 'routes')
  })
}

/** The stored route of the same filter and receiver, whatever its incarnation and options; null = there is none. */
export function findRoute(reader: Reader, route: Route): Route | null {
  const key = routeKey(route)
  const value = reader.get(key)
  return value === undefined ? null : readRoute(key, value)
}
