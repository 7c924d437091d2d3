import { setTimeout as delay } from 'node:timers/promises'
import type { Health } from '../../base/health.ts'
import { type Holder, isAlive } from '../folder/folder-lock.ts'
import { getJson, requireHolder } from './ask.ts'
import { CommandError, EXIT } from './exit.ts'
import { type ConfigFlags, loadFlags } from './settings.ts'

const POLL_MS = 50

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

function formatStatus({ pid, api, ready, reasons, details }: Status): string {
  const lines = [`${ready ? 'ready' : 'not ready'}, pid ${pid}, api ${api || '-'}`]
  for (const { part, message } of reasons) lines.push(`  ${part}: ${message}`)
  const { cluster } = details as { cluster?: { name: string; id: string | null; members: number; alive: number } }
  if (cluster !== undefined) {
    const { name, id, members, alive } = cluster
    lines.push(`  cluster    ${name} (${id ?? 'not formed yet'}), ${members} members, ${alive} alive`)
  }
  for (const { name, type, address } of (details.listeners ?? []) as Record<string, string>[]) {
    lines.push(`  listening  ${name} (${type}) ${address}`)
  }
  return `${lines.join('\n')}\n`
}
