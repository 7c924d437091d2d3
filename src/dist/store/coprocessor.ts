import type { TenantId } from '../../base/ids.ts'
import { compareBytes, earlierEnd, laterStart } from '../../kv/engine/bytes.ts'
import type { Write } from '../../kv/engine/engine.ts'
import type { Coprocessor, Mutation, QueryContext, Reader } from '../../kv/range/coprocessor.ts'
import type { Route, RouteChange } from '../contract.ts'
import { decodeCommands, encodeCommands, type RouteCommand } from './codec.ts'
import { incarnationOf, keyAfter, readRoute, tenantEnd, tenantStart } from './schema.ts'

/** `stale`: a newer incarnation holds the route. `unchanged`: the route is already as the command wants it. */
export type RouteOutcome = 'applied' | 'unchanged' | 'stale'

/** A page of one tenant's routes. */
export interface RouteQuery {
  tenant: TenantId
  /** First key looked at, inclusive; null = the tenant's first. */
  from: Uint8Array | null
  limit: number
}

export interface RouteAnswer {
  routes: Route[]
  /** Where to go on, maybe in the next range; null after the tenant's last key. */
  next: Uint8Array | null
}

export type RouteCoprocessor = Coprocessor<RouteCommand, RouteOutcome, RouteQuery, RouteAnswer, RouteChange>

/** An answer stops after the route that takes it past this. */
const ANSWER_BYTES_MAX = 256 * 1024

/**
 * The logic of `dist` in a range: a set of routes, each decided by its incarnation alone.
 *
 * An add replaces the same or an older incarnation, a remove takes the same or an older one away and leaves nothing
 * behind. So every command may be applied twice, and commands of two owners in any order.
 */
export const routeCoprocessor: RouteCoprocessor = {
  service: 'dist',
  version: 1,
  encode: encodeCommands,
  decode: decodeCommands,
  grows: (command) => command.op === 'add',
  mutate,
  query,
  due: () => [],
  nextDueMs: () => null,
}

function mutate(commands: readonly RouteCommand[], reader: Reader): Mutation<RouteOutcome, RouteChange> {
  const writes: Write[] = []
  const responses: RouteOutcome[] = []
  const effects: RouteChange[] = []
  // What this batch wrote so far: the reader does not see it yet. Null = removed.
  const written = new Map<string, Uint8Array | null>()
  for (const command of commands) {
    const name = commands.length === 1 ? '' : Buffer.from(command.key).toString('latin1')
    const earlier = written.get(name)
    const stored = earlier === undefined ? reader.get(command.key) : (earlier ?? undefined)
    const outcome = decide(command, stored)
    responses.push(outcome)
    if (outcome !== 'applied') continue
    const { key, value, route } = command
    writes.push(command.op === 'add' ? { type: 'put', key, value } : { type: 'delete', key })
    written.set(name, command.op === 'add' ? value : null)
    effects.push({ ...route, op: command.op })
  }
  return { writes, responses, effects }
}

function decide(command: RouteCommand, stored: Uint8Array | undefined): RouteOutcome {
  if (stored === undefined) return command.op === 'add' ? 'applied' : 'unchanged'
  if (incarnationOf(stored) > command.route.incarnation) return 'stale'
  if (command.op === 'add' && compareBytes(stored, command.value) === 0) return 'unchanged'
  return 'applied'
}

function query(request: RouteQuery, reader: Reader, context: QueryContext): RouteAnswer {
  const last = tenantEnd(request.tenant)
  const from = laterStart(request.from ?? undefined, tenantStart(request.tenant))
  const start = laterStart(from, context.boundary.start)
  const end = earlierEnd(last, context.boundary.end)!
  const next = compareBytes(end, last) < 0 ? end : null
  const routes: Route[] = []
  if (compareBytes(start!, end) >= 0) return { routes, next }
  let bytes = 0
  const cursor = reader.cursor({ start, end })
  try {
    for (let found = cursor.seek(start!); found; found = cursor.next()) {
      routes.push(readRoute(cursor.key, cursor.value))
      bytes += cursor.key.length + cursor.value.length
      if (routes.length >= request.limit || bytes >= ANSWER_BYTES_MAX) return { routes, next: keyAfter(cursor.key) }
    }
  } finally {
    cursor.close()
  }
  return { routes, next }
}
