import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { BrokerError } from '../../../base/errors.ts'
import { type Address, type ClusterId, type ClusterIdentity, isAddress, type Persistent } from '../core/index.ts'

const FORMAT = 1

/** What must survive a restart. */
export interface SavedState extends Persistent {
  clusterName: string
  /** This host left its cluster for ever: its id is not to be used again. */
  left: boolean
}

/**
 * One small JSON file, written beside and renamed, so that a crash leaves the old or the new one. A cluster's id is on
 * the disk before the call returns; the rest is written behind.
 */
export class StateFile {
  readonly #path: string
  #version = 0
  #writing: Promise<void> = Promise.resolve()

  constructor(path: string) {
    this.#path = path
  }

  /** Null: there is none yet. Throws where it cannot be read: a cluster's id is not to be lost in silence. */
  read(): SavedState | null {
    let text: string
    try {
      text = readFileSync(this.#path, 'utf8')
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw new BrokerError('STORAGE_FAILED', `Cannot read "${this.#path}": ${(cause as Error).message}`, { cause })
    }
    const state = parseState(text)
    if (state !== null) return state
    throw new BrokerError(
      'STORAGE_FAILED',
      `Cannot use "${this.#path}": it is damaged or of a newer version; restore it, or start with an empty data folder`,
    )
  }

  /** On the disk when this returns. */
  writeNow(state: SavedState): void {
    this.#version++
    const file = `${this.#path}.now`
    try {
      const handle = openSync(file, 'w', 0o600)
      try {
        writeSync(handle, textOf(state))
        fsyncSync(handle)
      } finally {
        closeSync(handle)
      }
      renameSync(file, this.#path)
      const folder = openSync(dirname(this.#path), 'r')
      fsyncSync(folder)
      closeSync(folder)
    } catch (cause) {
      throw new BrokerError('STORAGE_FAILED', `Cannot write "${this.#path}": ${(cause as Error).message}`, { cause })
    }
  }

  /** On the disk soon, unless something newer is; never before what was written earlier. */
  writeSoon(state: SavedState, failed: (error: Error) => void): void {
    const version = ++this.#version
    this.#writing = this.#writing.then(() => this.#writeBehind(state, version)).catch(failed)
  }

  /** Until all that was asked for is on the disk. */
  async settled(): Promise<void> {
    await this.#writing
  }

  async #writeBehind(state: SavedState, version: number): Promise<void> {
    if (version !== this.#version) return
    const file = `${this.#path}.soon`
    const handle = await open(file, 'w', 0o600)
    try {
      await handle.writeFile(textOf(state))
      await handle.sync()
    } finally {
      await handle.close()
    }
    // Meanwhile writeNow may have written something newer.
    if (version === this.#version) renameSync(file, this.#path)
  }
}

function textOf(state: SavedState): string {
  const { clusterName, incarnation, cluster, peers, left } = state
  return `${JSON.stringify({ format: FORMAT, clusterName, incarnation, cluster, peers, left }, null, 2)}\n`
}

function parseState(text: string): SavedState | null {
  let content: { [key: string]: unknown }
  try {
    content = JSON.parse(text)
  } catch {
    return null
  }
  if (content === null || typeof content !== 'object' || content.format !== FORMAT) return null
  const { clusterName, incarnation, peers, left } = content
  const cluster = parseCluster(content.cluster)
  if (typeof clusterName !== 'string' || clusterName === '' || cluster === undefined) return null
  if (!Number.isSafeInteger(incarnation) || (incarnation as number) < 0 || !Array.isArray(peers)) return null
  const known = peers.filter((peer): peer is Address => typeof peer === 'string' && isAddress(peer))
  return { clusterName, incarnation: incarnation as number, cluster, peers: known, left: left === true }
}

/** Undefined: damaged. */
function parseCluster(content: unknown): ClusterIdentity | null | undefined {
  if (content === null) return null
  const { id, formedAtMs, lonely, founding } = (content ?? {}) as { [key: string]: unknown }
  if (typeof id !== 'string' || id === '' || !Number.isSafeInteger(formedAtMs)) return undefined
  const cluster = { id: id as ClusterId, formedAtMs: formedAtMs as number }
  return { ...cluster, lonely: lonely === true, founding: founding === true }
}
