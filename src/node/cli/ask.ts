import { resolve } from 'node:path'
import { findHolder, type Holder } from '../folder/folder-lock.ts'
import { CommandError, EXIT } from './exit.ts'

const HTTP_MS_MAX = 5_000

/** The process that runs on the data folder. */
export function requireHolder(data: string): Holder {
  const holder = findHolder(resolve(data))
  if (!holder) throw new CommandError(EXIT.notRunning, `No flockmq runs on the data folder "${resolve(data)}"`)
  return holder
}

/** What a node's HTTP side answers. */
export async function getJson(url: string, token: string | null): Promise<unknown> {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` }
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(HTTP_MS_MAX) })
  if (response.status === 401) throw new Error('it asks for a token; give the api.token that it runs with')
  if (!response.ok && response.status !== 503) throw new Error(`HTTP ${response.status}`)
  return await response.json()
}
