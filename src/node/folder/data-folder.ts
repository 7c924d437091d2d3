import { randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import { folderError } from './folder-error.ts'
import { acquireLock, type FolderLock, LOCK_FILE } from './folder-lock.ts'

/** The data folder, held by this process alone until `lock.release()`. */
export interface DataFolder {
  path: string
  hostId: HostId
  lock: FolderLock
}

export const FORMAT = 1
export const LOG_FILE = 'flockmq.log'
const FORMAT_FILE = 'flockmq.json'
/** Names that do not make a folder foreign: what is there before the format file is, and what mount points hold. */
const NEUTRAL = new Set([LOCK_FILE, LOG_FILE, `${FORMAT_FILE}.new`, 'lost+found'])

/**
 * Opens the folder that the configuration names; makes it where it is missing. `flockmq.json` marks a folder as ours:
 * one that holds other things and not this file is refused, and nothing in it is touched.
 */
export function openDataFolder(folder: string): DataFolder {
  const path = prepareDataFolder(folder)
  const lock = acquireLock(path)
  try {
    return { path, hostId: readFormat(path) ?? writeFormat(path), lock }
  } catch (error) {
    lock.release()
    throw error
  }
}

/** The same for a folder that a node has used already: makes nothing. */
export function openUsedFolder(folder: string): DataFolder {
  const path = resolve(folder)
  if (!existsSync(join(path, FORMAT_FILE))) {
    throw new BrokerError('NOT_FOUND', `"${path}" is no data folder: it holds no ${FORMAT_FILE}`)
  }
  return openDataFolder(path)
}

/** Makes the folder and checks whose it is, without taking it. Gives its absolute path. */
export function prepareDataFolder(folder: string): string {
  const path = resolve(folder)
  let names: string[]
  try {
    makeFolder(path)
    names = readdirSync(path)
  } catch (error) {
    throw folderError(path, error)
  }
  const foreign = names.filter((name) => !NEUTRAL.has(name))
  if (foreign.length > 0 && !foreign.includes(FORMAT_FILE)) {
    throw new BrokerError(
      'STORAGE_FAILED',
      `Cannot use the data folder "${path}": it holds other things (${foreign.slice(0, 3).join(', ')}` +
        `${foreign.length > 3 ? ', ...' : ''}) and no ${FORMAT_FILE}; name an empty or a new folder`,
    )
  }
  readFormat(path)
  return path
}

/** Not `recursive` of Node, which never returns where a file system refuses with ENOENT, as /proc does. */
function makeFolder(path: string): void {
  if (existsSync(path)) return
  if (dirname(path) !== path) makeFolder(dirname(path))
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** The host id in the format file; null where there is no such file yet. */
function readFormat(path: string): HostId | null {
  const file = join(path, FORMAT_FILE)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw folderError(path, error)
  }
  let content: { format?: unknown; hostId?: unknown } | null = null
  try {
    content = JSON.parse(text)
  } catch {
    // Answered below: no JSON is as bad as JSON of another kind.
  }
  if (typeof content?.format === 'number' && content.format > FORMAT) {
    throw new BrokerError(
      'STORAGE_FAILED',
      `Cannot use the data folder "${path}": its format ${content.format} is newer than ${FORMAT}, which this version knows; use a newer flockmq`,
    )
  }
  if (content?.format !== FORMAT || typeof content.hostId !== 'string' || content.hostId === '') {
    throw new BrokerError(
      'STORAGE_FAILED',
      `Cannot use the data folder "${path}": its ${FORMAT_FILE} is damaged or not ours; restore it or name another folder`,
    )
  }
  return content.hostId as HostId
}

/** Written beside and renamed, so that a crash leaves either no file or a whole one. */
function writeFormat(path: string): HostId {
  const hostId = randomUUID() as string as HostId
  const content = { format: FORMAT, hostId, createdAt: new Date().toISOString() }
  const file = join(path, FORMAT_FILE)
  try {
    const handle = openSync(`${file}.new`, 'w', 0o600)
    try {
      writeSync(handle, `${JSON.stringify(content, null, 2)}\n`)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    renameSync(`${file}.new`, file)
    const folder = openSync(path, 'r')
    fsyncSync(folder)
    closeSync(folder)
  } catch (error) {
    throw folderError(path, error)
  }
  return hostId
}
