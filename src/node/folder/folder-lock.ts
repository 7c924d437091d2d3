import { closeSync, openSync, readFileSync, renameSync, statSync, unlinkSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { BrokerError } from '../../base/errors.ts'
import { folderError } from './folder-error.ts'
import { processMark } from './process-mark.ts'

/** The process that holds a data folder, as its pid file tells. */
export interface Holder {
  pid: number
  /** When that process started: the same pid with another mark is another process. */
  mark: string
  /** Where its HTTP side answers; empty until it does. */
  api: string
}

export interface FolderLock {
  /** Writes where the HTTP side answers into the pid file, for `flockmq status`. */
  publish(api: string): void
  release(): void
}

export const LOCK_FILE = 'flockmq.pid'
const TAKEOVER_FILE = 'flockmq.pid.takeover'
/** An empty pid file younger than this belongs to a process that is about to write it. */
const YOUNG_MS = 5_000

/**
 * Takes the folder for this process. The pid file is made with O_EXCL: of two processes one wins. One left by a
 * process that is gone, or whose pid is another's by now, is replaced.
 */
export function acquireLock(folder: string): FolderLock {
  const own: Holder = { pid: process.pid, mark: processMark(process.pid) ?? '', api: '' }
  if (!createExclusive(folder, LOCK_FILE, own)) replaceStale(folder, own)
  return {
    publish: (api) => {
      own.api = api
      const file = join(folder, LOCK_FILE)
      writeFileSync(`${file}.new`, format(own), { mode: 0o644 })
      renameSync(`${file}.new`, file)
    },
    release: () => {
      const holder = readFile(folder, LOCK_FILE)
      if (holder?.pid === own.pid && holder.mark === own.mark) unlinkSync(join(folder, LOCK_FILE))
    },
  }
}

/** The live process that holds the folder; null where nobody does. */
export function findHolder(folder: string): Holder | null {
  const holder = readFile(folder, LOCK_FILE)
  return holder && isAlive(holder) ? holder : null
}

export function isAlive(holder: Holder): boolean {
  return processMark(holder.pid) === holder.mark
}

/** Only one process at a time may remove a stale pid file, or the second would remove the first one's new file. */
function replaceStale(folder: string, own: Holder): void {
  refuseIfHeld(folder)
  if (!createExclusive(folder, TAKEOVER_FILE, own)) {
    const other = readFile(folder, TAKEOVER_FILE)
    if (other && !isAlive(other)) unlinkSync(join(folder, TAKEOVER_FILE))
    throw new BrokerError(
      'CONFLICT',
      `Cannot use the data folder "${folder}": another flockmq is starting on it; try again`,
    )
  }
  try {
    refuseIfHeld(folder)
    unlinkSync(join(folder, LOCK_FILE))
    if (!createExclusive(folder, LOCK_FILE, own)) refuseIfHeld(folder)
  } finally {
    unlinkSync(join(folder, TAKEOVER_FILE))
  }
}

function refuseIfHeld(folder: string): void {
  const holder = readFile(folder, LOCK_FILE)
  if (holder && isAlive(holder)) {
    throw new BrokerError(
      'CONFLICT',
      `Cannot use the data folder "${folder}": process ${holder.pid} runs on it; stop that one, or name another with --data`,
    )
  }
  const age = holder === null ? ageMs(join(folder, LOCK_FILE)) : Number.POSITIVE_INFINITY
  if (age < YOUNG_MS) {
    throw new BrokerError(
      'CONFLICT',
      `Cannot use the data folder "${folder}": another flockmq is starting on it; try again`,
    )
  }
}

function createExclusive(folder: string, name: string, holder: Holder): boolean {
  try {
    const handle = openSync(join(folder, name), 'wx', 0o644)
    try {
      writeSync(handle, format(holder))
    } finally {
      closeSync(handle)
    }
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw folderError(folder, error)
  }
}

/** Pid first and alone on its line, as everybody expects of a pid file. */
function format(holder: Holder): string {
  return `${holder.pid}\n${holder.mark}\n${holder.api}\n`
}

function readFile(folder: string, name: string): Holder | null {
  let text: string
  try {
    text = readFileSync(join(folder, name), 'utf8')
  } catch {
    return null
  }
  const [pid = '', mark = '', api = ''] = text.split('\n')
  return /^\d+$/.test(pid) ? { pid: Number(pid), mark, api } : null
}

function ageMs(file: string): number {
  try {
    return Date.now() - statSync(file).mtimeMs
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
