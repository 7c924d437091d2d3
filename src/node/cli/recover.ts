import { existsSync } from 'node:fs'
import { silentLogger } from '../../base/logging.ts'
import type { Recovery } from '../../kv/store/recover.ts'
import { type DataFolder, openUsedFolder } from '../folder/data-folder.ts'
import { CommandError, EXIT } from './exit.ts'
import { printFailure } from './report-error.ts'
import { loadFlags } from './settings.ts'
import { formatTable } from './table.ts'
import { version } from './version.ts'

export interface RecoverFlags {
  range?: string[]
  all?: boolean
  yes?: boolean
  json?: boolean
}

interface Recovered {
  path: string
  hostId: string
  /** What was asked for, done or not. */
  ranges: readonly Recovery[]
  done: boolean
}

/**
 * Makes this folder's replicas the only voters of ranges whose majority is lost for ever. Refused while a node runs there;
 * without `yes` it only tells what it would do.
 */
export async function recover(path: string, flags: RecoverFlags): Promise<number> {
  const wanted = flags.range ?? []
  if (wanted.length === 0 && flags.all !== true) {
    throw new CommandError(EXIT.usage, 'Which ranges? Name them with --range ID, or take --all that are in the folder')
  }
  const folder = openUsedFolder(path)
  try {
    const { ranges, done } = await recoverFolder(folder, flags.all === true ? null : wanted, flags.yes === true)
    const recovered: Recovered = { path: folder.path, hostId: folder.hostId, ranges, done }
    process.stdout.write(flags.json ? `${JSON.stringify(recovered, null, 2)}\n` : formatRecovered(recovered))
    return ranges.some(({ refused }) => refused !== null) ? EXIT.failed : EXIT.ok
  } finally {
    folder.lock.release()
  }
}

/** @param wanted null: all */
async function recoverFolder(folder: DataFolder, wanted: readonly string[] | null, yes: boolean) {
  const { openEngine, storePath } = await import('../engine.ts')
  const { planRecovery, recoveryWrites } = await import('../../kv/store/recover.ts')
  if (!existsSync(storePath(folder.path))) {
    throw new CommandError(
      EXIT.failed,
      `"${folder.path}" holds no ranges: its node kept them in memory, or never had any`,
    )
  }
  const { config } = loadFlags({ data: folder.path, set: ['store.engine=auto', 'store.acceptLoss=false'] })
  const log = { ...silentLogger, error: (_fields: object, message: string) => printFailure(message) }
  const context = { log, hostId: folder.hostId, dataPath: folder.path, version: version() }
  const engine = await openEngine(config.store, context)
  try {
    const known = planRecovery(engine, folder.hostId)
    const missing = (wanted ?? []).filter((id) => !known.some(({ range }) => range === id))
    if (missing.length > 0) {
      const there = known.map(({ range }) => range).join(', ') || 'none'
      throw new CommandError(EXIT.usage, `There is no range "${missing[0]}" in "${folder.path}"; there are ${there}`)
    }
    const ranges = known.filter(({ range }) => wanted === null || wanted.includes(range))
    const todo = ranges.filter(({ refused, alone }) => refused === null && !alone)
    if (!yes || todo.length === 0) return { ranges, done: false }
    // All or none: a range whose neighbours are another node's is no worse off, one that is half recovered is.
    const writes = todo.flatMap((recovery) => recoveryWrites(engine, folder.hostId, recovery))
    await engine.write({ writes, sync: true })
    return { ranges, done: true }
  } finally {
    await engine.close()
  }
}

export function formatRecovered({ path, hostId, ranges, done }: Recovered): string {
  const rows = ranges.map(({ range, role, others, applied, commit, last, lastTerm, changes, refused, alone }) => {
    const what =
      refused !== null ? `CANNOT: ${refused}` : alone ? 'is alone already' : done ? 'recovered' : 'would be recovered'
    const figures = [applied, commit, last, lastTerm, changes].map(String)
    return [range, role ?? '-', ...figures, others.join(',') || '-', what]
  })
  const header = ['RANGE', 'WAS', 'APPLIED', 'COMMIT', 'LAST', 'LAST TERM', 'CHANGES DROPPED', 'GIVEN UP ON', '']
  const table = formatTable([header, ...rows])
  const todo = ranges.filter(({ refused, alone }) => refused === null && !alone).length
  const title = `${path}, host ${hostId}\n`
  return todo === 0 ? `${title}${table}\nThere is nothing to recover.\n` : `${title}${table}\n${warning(done)}`
}

function warning(done: boolean): string {
  const lines = [
    'WARNING: a majority of these ranges is given up for ever.',
    '  What was acknowledged to clients and had not reached this node yet IS LOST.',
    '  Do this on ONE node for each range: the one with the highest LAST TERM, and among those the highest LAST.',
    '  The nodes under GIVEN UP ON must NEVER be started again with their old data: empty their folders first.',
    done
      ? 'Done. Start this node: it serves these ranges alone, and they are copied to other nodes as the balancers see fit.'
      : 'Nothing was changed. Do it with --yes.',
  ]
  return `${lines.join('\n')}\n`
}
