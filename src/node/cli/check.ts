import { existsSync } from 'node:fs'
import { silentLogger } from '../../base/logging.ts'
import type { Engine } from '../../kv/engine/engine.ts'
import type { StoreReport, VerifiedRange } from '../../kv/store/verify.ts'
import { type DataFolder, FORMAT, openUsedFolder } from '../folder/data-folder.ts'
import { EXIT } from './exit.ts'
import { printFailure } from './report-error.ts'
import { loadFlags } from './settings.ts'
import { version } from './version.ts'

/** Damaged records that are named; beyond them they are counted. */
const DAMAGE_MAX = 1_000
/** Until the first word about progress, and from one to the next. */
const PROGRESS_MS = 2_000
/** Records between two looks at the clock. */
const PROGRESS_STEPS = 10_000

interface Damage {
  /** Family of keys. */
  family: string
  /** Range; empty where it concerns all. */
  range: string
  /** Hexadecimal; null = the range as a whole. */
  key: string | null
  reason: string
}

interface Findings {
  ranges: readonly VerifiedRange[]
  records: number
  /** By tenant, then by what is counted. */
  tenants: Map<string, Map<string, number>>
  /** The first ones. */
  damage: Damage[]
  damaged: number
}

/**
 * Reads everything on a data folder, as nobody serves it: refused while a node runs there. Opening the database replays
 * its log, which changes files but no record.
 */
export async function check(path: string, flags: { json?: boolean }): Promise<number> {
  const folder = openUsedFolder(path)
  try {
    const found = await readAll(folder)
    process.stdout.write(flags.json ? formatJson(folder, found) : formatText(folder, found))
    return found.damaged === 0 ? EXIT.ok : EXIT.failed
  } finally {
    folder.lock.release()
  }
}

async function readAll(folder: DataFolder): Promise<Findings> {
  const { openEngine, storePath } = await import('../engine.ts')
  const found: Findings = { ranges: [], records: 0, tenants: new Map(), damage: [], damaged: 0 }
  // A node that keeps its state in memory leaves none behind.
  if (!existsSync(storePath(folder.path))) return found
  const { config } = loadFlags({ data: folder.path, set: ['store.engine=auto', 'store.acceptLoss=false'] })
  const log = { ...silentLogger, error: (_fields: object, message: string) => printFailure(message) }
  const context = { log, hostId: folder.hostId, dataPath: folder.path, version: version() }
  const engine = await openEngine(config.store, context)
  try {
    await readStore(engine, found)
  } finally {
    await engine.close()
  }
  return found
}

async function readStore(engine: Engine, found: Findings): Promise<void> {
  const { verifyNode } = await import('../verify.ts')
  let toldMs = performance.now()
  const tell = (family: string, range: string) => {
    const nowMs = performance.now()
    if (nowMs - toldMs < PROGRESS_MS) return
    toldMs = nowMs
    process.stderr.write(`${found.records} records read, now at ${range === '' ? family : range}\n`)
  }
  const report: StoreReport = {
    family: (family, range) => ({
      damage: (key, reason) => {
        found.damaged++
        if (found.damage.length >= DAMAGE_MAX) return
        found.damage.push({ family, range, key: key === null ? null : Buffer.from(key).toString('hex'), reason })
      },
      count: (tenant, what, by = 1) => {
        const counts = found.tenants.get(tenant) ?? new Map<string, number>()
        found.tenants.set(tenant, counts)
        counts.set(what, (counts.get(what) ?? 0) + by)
      },
      step: () => {
        if (++found.records % PROGRESS_STEPS === 0) tell(family, range)
      },
    }),
  }
  found.ranges = verifyNode(engine, report)
}

function formatJson({ path, hostId }: DataFolder, { ranges, tenants, ...rest }: Findings): string {
  const shown = {
    ...{ path, hostId, format: FORMAT, ok: rest.damaged === 0 },
    ranges: ranges.map(({ descriptor: { service, id, epoch, start, end }, applied }) => ({
      ...{ service, id, epoch, start: hexOf(start), end: hexOf(end) },
      ...{ index: applied.index, hash: applied.hash },
    })),
    tenants: Object.fromEntries([...tenants].map(([tenant, counts]) => [tenant, Object.fromEntries(counts)])),
    ...rest,
  }
  return `${JSON.stringify(shown, null, 2)}\n`
}

function formatText({ path, hostId }: DataFolder, found: Findings): string {
  const lines = [`${path}: format ${FORMAT}, host ${hostId}, ${found.records} records`]
  for (const { descriptor, applied } of found.ranges) {
    const { id, epoch, start, end } = descriptor
    const keys = start === undefined && end === undefined ? 'all keys' : `${readable(start)} to ${readable(end)}`
    lines.push(`  range ${id}: ${keys}, version ${epoch.version}, ${applied.index} entries applied`)
  }
  for (const [tenant, counts] of found.tenants) {
    const shown = [...counts].filter(([, count]) => count > 0).map(([what, count]) => `${what} ${count}`)
    lines.push(`  tenant ${tenant}: ${shown.join(', ')}`)
  }
  for (const { family, range, key, reason } of found.damage) {
    const place = [family, range, key === null ? '' : readable(Buffer.from(key, 'hex'))].filter((part) => part !== '')
    lines.push(`  DAMAGED ${place.join(' ')}: ${reason}`)
  }
  const { damaged, damage } = found
  if (damaged > damage.length) lines.push(`  and ${damaged - damage.length} more`)
  lines.push(damaged === 0 ? 'no damage' : `${damaged} damaged`)
  return `${lines.join('\n')}\n`
}

function hexOf(bytes: Uint8Array | undefined): string | null {
  return bytes === undefined ? null : Buffer.from(bytes).toString('hex')
}

/** A key as text, other bytes as in \\x00. */
function readable(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return '-'
  let text = ''
  for (const byte of bytes) {
    text +=
      byte > 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, '0')}`
  }
  return text
}
