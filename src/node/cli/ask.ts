import { resolve } from 'node:path'
import { findHolder, type Holder } from '../folder/folder-lock.ts'
import { CommandError, EXIT } from './exit.ts'
import { type ConfigFlags, loadFlags } from './settings.ts'

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

export interface NodeRequest {
  /** What it is asked to do, for the sentence that says that it cannot. */
  to: string
  /** Below `/api/v1`. */
  path: string
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  body?: object
  msMax?: number
}

/** Asks the node on the data folder. What it refuses, and why, is the failure of the command. */
export async function askNode<Answer>(flags: ConfigFlags, request: NodeRequest): Promise<Answer> {
  const { config } = loadFlags(flags)
  const { pid, api } = requireHolder(config.node.data)
  const cannot = `Cannot ask process ${pid} to ${request.to}`
  if (api === '') throw new CommandError(EXIT.failed, `${cannot}: it is still starting`)
  let response: Response
  try {
    response = await send(api, request, config.api.token)
  } catch (error) {
    const { message, cause } = error as Error
    const reason = cause instanceof Error ? `${message} (${cause.message})` : message
    throw new CommandError(EXIT.failed, `${cannot} at ${api}: ${reason}`, { cause: error })
  }
  if (response.status === 401) {
    throw new CommandError(
      EXIT.failed,
      `${cannot} at ${api}: it asks for a token; give the api.token that it runs with`,
    )
  }
  const answer: unknown = await response.json().catch(() => null)
  if (response.ok && answer !== null) return answer as Answer
  throw new CommandError(
    EXIT.failed,
    (answer as { error?: string } | null)?.error ?? `${cannot}: HTTP ${response.status}`,
  )
}

function send(api: string, { path, method = 'GET', body, msMax = HTTP_MS_MAX }: NodeRequest, token: string | null) {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` }
  if (body !== undefined) headers['content-type'] = 'application/json'
  return fetch(`${api}/api/v1${path}`, {
    ...{ method, headers, body: body === undefined ? null : JSON.stringify(body) },
    signal: AbortSignal.timeout(msMax),
  })
}
