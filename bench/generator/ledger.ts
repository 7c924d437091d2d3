/** What a phase cost the broker's disk: fdatasyncs from its /metrics page, bytes from /proc/<pid>/io (proc(5)). */
import { readFileSync } from 'node:fs'
import type { Target } from '../spec.ts'

interface Reading {
  syncs: number | null
  written: number | null
}

const answerTimeoutMs = 10_000

export class Ledger {
  readonly #target: Target
  #opened: Reading = { syncs: null, written: null }

  constructor(target: Target) {
    this.#target = target
  }

  async open(): Promise<void> {
    this.#opened = await this.#read()
  }

  /** Since {@link open}, by each of `count` messages; without what could not be read. */
  async figures(count: number): Promise<Record<string, number>> {
    const now = await this.#read()
    const figures: Record<string, number> = {}
    if (now.syncs !== null && this.#opened.syncs !== null) {
      figures.fdatasyncsPerMessage = (now.syncs - this.#opened.syncs) / count
    }
    if (now.written !== null && this.#opened.written !== null) {
      figures.diskBytesPerMessage = (now.written - this.#opened.written) / count
    }
    return figures
  }

  async #read(): Promise<Reading> {
    const page = await readMetrics(this.#target)
    return {
      syncs: page === null ? null : metricOf(page, 'flockmq_store_syncs_total'),
      written: bytesWritten(this.#target.pid),
    }
  }
}

/** The broker's Prometheus page; null where it has none or does not answer. */
export async function readMetrics({ host, apiPort }: Target): Promise<string | null> {
  if (apiPort === 0) return null
  try {
    const page = await fetch(`http://${host}:${apiPort}/metrics`, { signal: AbortSignal.timeout(answerTimeoutMs) })
    return await page.text()
  } catch {
    return null
  }
}

/** Value of a metric, the sum over its labels; null where the page has none. */
export function metricOf(page: string, name: string): number | null {
  let sum: number | null = null
  for (const [, value] of page.matchAll(new RegExp(`^${name}(?:\\{[^}\\n]*\\})? (\\S+)`, 'gm'))) {
    sum = (sum ?? 0) + Number(value)
  }
  return sum
}

/** Bytes that the process has sent to disks, compaction included; null where it may not be read. */
function bytesWritten(pid: number): number | null {
  if (pid === 0) return null
  try {
    const text = readFileSync(`/proc/${pid}/io`, 'latin1')
    const value = /^write_bytes: (\d+)/m.exec(text)?.[1]
    return value === undefined ? null : Number(value)
  } catch {
    return null
  }
}
