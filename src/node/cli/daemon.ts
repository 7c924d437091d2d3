import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { BrokerError } from '../../base/errors.ts'
import { LOG_FILE, prepareDataFolder } from '../folder/data-folder.ts'
import { folderError } from '../folder/folder-error.ts'
import { findHolder } from '../folder/folder-lock.ts'
import { CommandError, EXIT } from './exit.ts'
import type { Failure } from './report-error.ts'
import { type ConfigFlags, loadFlags } from './settings.ts'

/** What the detached process tells the one that started it. */
export type DaemonMessage = { type: 'ready'; pid: number } | ({ type: 'failed' } & Failure)

const START_SECONDS_MAX = 120

/** Starts a node in a process of its own, waits until it is ready, prints its pid. */
export async function startDaemon(flags: ConfigFlags): Promise<number> {
  // Mistakes that can be seen from here are told on this terminal, before anything is touched.
  const { config } = loadFlags(flags)
  const folder = prepareDataFolder(config.node.data)
  const holder = findHolder(folder)
  if (holder) {
    throw new BrokerError(
      'CONFLICT',
      `Cannot use the data folder "${folder}": process ${holder.pid} runs on it; stop that one, or name another with --data`,
    )
  }
  const logFile = join(folder, LOG_FILE)
  const child = spawnDetached(flags, folder, logFile)
  const message = await waitForMessage(child, logFile)
  child.disconnect()
  child.unref()
  if (message.type === 'failed') throw new CommandError(message.exitCode, message.message)
  process.stdout.write(`${message.pid}\n`)
  return EXIT.ok
}

function spawnDetached(flags: ConfigFlags, folder: string, logFile: string): ChildProcess {
  const args = ['start', ...(flags.config === undefined ? [] : ['--config', flags.config])]
  for (const setting of flags.set ?? []) args.push('--set', setting)
  if (flags.data !== undefined) args.push('--data', flags.data)
  if (flags.acceptLoss) args.push('--accept-loss')
  for (const seed of flags.seed ?? []) args.push('--seed', seed)
  let log: number
  try {
    log = openSync(logFile, 'a', 0o640)
  } catch (error) {
    throw folderError(folder, error)
  }
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  })
  closeSync(log)
  return child
}

function waitForMessage(child: ChildProcess, logFile: string): Promise<DaemonMessage> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string) => {
      reject(new CommandError(EXIT.failed, `Cannot start in the background: ${reason}; see "${logFile}"`))
    }
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`not ready within ${START_SECONDS_MAX} seconds`)
    }, START_SECONDS_MAX * 1000)
    child.once('message', (message) => {
      clearTimeout(timer)
      resolve(message as DaemonMessage)
    })
    child.once('error', (error) => fail(error.message))
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      fail(`the process ended (${signal ?? `exit code ${code}`})`)
    })
  })
}

/** Tells the process that started this one with `--daemon`; does nothing where there is none, or no longer. */
export function tellParent(message: DaemonMessage): Promise<void> {
  return new Promise((resolve) => {
    if (!process.send || !process.connected) resolve()
    else process.send(message, undefined, {}, () => resolve())
  })
}
