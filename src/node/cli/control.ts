import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Health } from '../../base/health.ts'
import { findHolder, type Holder, isAlive } from '../folder/folder-lock.ts'
import { CommandError, EXIT } from './exit.ts'
import { type ConfigFlags, loadFlags } from './settings.ts'

const POLL_MS = 50
const HTTP_MS_MAX = 5_000

/** Asks the node on the data folder to stop, and waits until its process is gone. */
export async function stop(flags: ConfigFlags & { timeout: number }): Promise<number> {
  const { config } = loadFlags(flags)
  const holder = requireHolder(config.node.data)
  process.kill(holder.pid, 'SIGTERM')
  const endMs = performance.now() + flags.timeout * 1000
  while (isAlive(holder)) {
    if (performance.now() > endMs) {
      throw new CommandError(EXIT.failed, `Process ${holder.pid} still runs after ${flags.timeout} seconds`)
    }
    await delay(POLL_MS)
  }
  process.stdout.write(`stopped ${holder.pid}\n`)
  return EXIT.ok
}

interface Status {
  pid: number
  api: string
  ready: boolean
  reasons: Health['reasons']
  /** What /api/v1/status adds, where its token is known. */
  details: Record<string, unknown>
}

/** Prints how the node on the data folder does. */
export async function status(flags: ConfigFlags & { json?: boolean }): Promise<number> {
  const { config } = loadFlags(flags)
  const holder = requireHolder(config.node.data)
  const found = await askStatus(holder, config.api.token)
  process.stdout.write(flags.json ? `${JSON.stringify(found, null, 2)}\n` : formatStatus(found))
  return found.ready ? EXIT.ok : EXIT.notReady
}

function requireHolder(data: string): Holder {
  const holder = findHolder(resolve(data))
  if (!holder) throw new CommandError(EXIT.notRunning, `No flockmq runs on the data folder "${resolve(data)}"`)
  return holder
}

async function askStatus(holder: Holder, token: string | null): Promise<Status> {
  const { pid, api } = holder
  const unreachable = (message: string): Status => {
    return { pid, api, ready: false, reasons: [{ part: 'api', message }], details: {} }
  }
  if (api === '') return unreachable('the node is still starting')
  try {
    const health = (await getJson(`${api}/readyz`, null)) as Health
    const details = await getJson(`${api}/api/v1/status`, token).catch(() => ({}))
    return { pid, api, ready: health.ready, reasons: health.reasons, details: details as Record<string, unknown> }
  } catch (error) {
    return unreachable(`${api} does not answer: ${(error as Error).message}`)
  }
}

async function getJson(url: string, token: string | null): Promise<unknown> {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` }
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(HTTP_MS_MAX) })
  if (!response.ok && response.status !== 503) throw new Error(`HTTP ${response.status}`)
  return await response.json()
}

function formatStatus({ pid, api, ready, reasons, details }: Status): string {
  const lines = [`${ready ? 'ready' : 'not ready'}, pid ${pid}, api ${api || '-'}`]
  for (const { part, message } of reasons) lines.push(`  ${part}: ${message}`)
  for (const { name, type, address } of (details.listeners ?? []) as Record<string, string>[]) {
    lines.push(`  listening  ${name} (${type}) ${address}`)
  }
  return `${lines.join('\n')}\n`
}
