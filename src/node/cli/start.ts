import { readFileSync } from 'node:fs'
import type { Logger } from '../../base/logging.ts'
import type { Config } from '../config/index.ts'
import type { RunningNode } from '../contract.ts'
import { openDataFolder } from '../folder/data-folder.ts'
import type { FolderLock } from '../folder/folder-lock.ts'
import { tellParent } from './daemon.ts'
import { EXIT } from './exit.ts'
import { type ConfigFlags, loadFlags } from './settings.ts'
import { version } from './version.ts'

/** Runs a node in this process until a signal stops it. Resolves with the exit code. */
export async function start(flags: ConfigFlags): Promise<number> {
  const startedMs = performance.now()
  const { config } = loadFlags(flags)
  const folder = openDataFolder(config.node.data)
  try {
    return await runNode(config, folder, startedMs)
  } finally {
    folder.lock.release()
  }
}

async function runNode(config: Config, folder: ReturnType<typeof openDataFolder>, startedMs: number): Promise<number> {
  const { createLogger } = await import('../logging.ts')
  const log = createLogger(config.log)
  watchCrashes(log, folder.lock)
  const stopAsked = watchSignals(log, folder.lock)
  warnOfSurroundings(config, log)
  const { startNode } = await import('../index.ts')
  const context = { log, hostId: folder.hostId, dataPath: folder.path, version: version() }
  const starting = startNode(config, context)
  const node = await Promise.race([starting, stopAsked])
  if (node !== 'stop') {
    announce(node, config, { log, path: folder.path, elapsedMs: performance.now() - startedMs })
    folder.lock.publish(node.listeners.find(({ name }) => name === 'api')?.address ?? '')
    await tellParent({ type: 'ready', pid: process.pid })
    await Promise.race([stopAsked, node.left])
  }
  return await stopWithin(config.node.stopSecondsMax, starting, log)
}

/** Stops the node, which may still be starting, but waits no longer than configured. */
async function stopWithin(seconds: number, starting: Promise<RunningNode>, log: Logger): Promise<number> {
  const overdue = Symbol()
  const stopping = starting.then((node) => node.stop())
  const timeout = new Promise<symbol>((resolve) => setTimeout(resolve, seconds * 1000, overdue).unref())
  if ((await Promise.race([stopping, timeout])) === overdue) {
    log.error({ seconds }, 'The stop took longer than node.stopSecondsMax: the process ends now')
    return EXIT.failed
  }
  log.info({}, 'Stopped')
  return EXIT.ok
}

/** Resolves at the first signal; the second one ends the process at once. */
function watchSignals(log: Logger, lock: FolderLock): Promise<'stop'> {
  return new Promise((resolve) => {
    let asked = false
    const onSignal = (signal: NodeJS.Signals) => {
      if (asked) {
        log.warn({ signal }, 'Second signal: the process ends now')
        lock.release()
        process.exit(EXIT.failed)
      }
      asked = true
      log.info({ signal }, 'Stopping')
      resolve('stop')
    }
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, onSignal)
  })
}

/** What nobody caught is our mistake: the process tells it and ends, because its state can no longer be trusted. */
function watchCrashes(log: Logger, lock: FolderLock): void {
  const crash = (error: unknown) => {
    log.error({ err: error }, 'The process ends: an error that nobody expected')
    lock.release()
    process.exit(EXIT.failed)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
}

function announce(node: RunningNode, config: Config, facts: { log: Logger; path: string; elapsedMs: number }): void {
  const ms = Math.round(facts.elapsedMs)
  // What else keeps it from serving passes by itself, and soon.
  const waiting = node.health().reasons.filter(({ part }) => part === 'cluster')
  if (config.log.format === 'json') {
    for (const listener of node.listeners) facts.log.info(listener, 'Listening')
    facts.log.info(
      { version: version(), data: facts.path, pid: process.pid, ms },
      waiting.length === 0 ? 'Ready' : 'Started',
    )
    return
  }
  const lines = node.listeners.map(({ name, type, address }) => `listening  ${name} (${type}) ${address}`)
  const how = waiting.length === 0 ? 'ready  ' : 'started'
  lines.push(`${how}    flockmq ${version()}, data ${facts.path}, pid ${process.pid}, in ${ms} ms`)
  for (const { message } of waiting) lines.push(`not ready  ${message}`)
  process.stdout.write(`${lines.join('\n')}\n`)
}

function warnOfSurroundings(config: Config, log: Logger): void {
  if (process.getuid?.() === 0) log.warn({}, 'Running as root: a user of its own, without privileges, is enough')
  const filesMax = openFilesMax()
  if (filesMax < Math.min(config.mqtt.limits.connectionsMax, 10_000)) {
    log.warn({ filesMax }, 'The limit of open files allows few connections: raise it (ulimit -n, LimitNOFILE)')
  }
}

/** Files that this process may open; Infinity where the system does not tell. */
function openFilesMax(): number {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    return limit ? Number(limit[1]) : Number.POSITIVE_INFINITY
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
