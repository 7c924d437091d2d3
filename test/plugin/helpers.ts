import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import type { TenantId } from '../../src/base/ids.ts'
import type { Logger } from '../../src/base/logging.ts'
import type { MetricSink, MetricSource } from '../../src/base/metrics.ts'
import type { AuthRequest } from '../../src/plugin/index.ts'

export const tenant = (name: string): TenantId => name as TenantId

/** Time that stands still until it is moved. */
export class ManualClock implements Clock {
  nowMs = 1_000_000
  readonly #timers = new Set<{ atMs: number; callback: () => void }>()

  now(): number {
    return this.nowMs
  }

  monotonic(): number {
    return this.nowMs
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.nowMs + delayMs, callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  get pending(): number {
    return this.#timers.size
  }

  advance(ms: number): void {
    const untilMs = this.nowMs + ms
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (due === undefined) break
      this.nowMs = due.atMs
      this.#timers.delete(due)
      due.callback()
    }
    this.nowMs = untilMs
  }
}

export interface LogLine {
  level: string
  fields: Record<string, unknown>
  message: string
}

export function recordingLogger(): Logger & { lines: LogLine[] } {
  const lines: LogLine[] = []
  const write = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields: fields as Record<string, unknown>, message })
  }
  return { lines, debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

/** Figures by name and labels: `name{a=b}`. */
export function figuresOf(source: MetricSource): Record<string, number> {
  const figures: Record<string, number> = {}
  const put: MetricSink['counter'] = (name, help, value, labels = {}) => {
    if (!/^flockmq_[a-z_]+$/.test(name) || help === '') throw new Error(`Bad figure ${name}`)
    const pairs = Object.entries(labels).map(([key, label]) => `${key}=${label}`)
    figures[pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`] = value
  }
  source.collect({ counter: put, gauge: put, histogram: () => {} })
  return figures
}

/** A folder that goes when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'flockmq-plugin-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function authRequest(
  given: Partial<Omit<AuthRequest, 'password'>> & { password?: string | null } = {},
): AuthRequest {
  const { password, ...rest } = given
  return {
    protocol: 5,
    clientId: 'client',
    username: null,
    address: '127.0.0.1',
    listener: 'tcp',
    certificate: null,
    userProperties: [],
    ...rest,
    password: password === undefined || password === null ? null : Buffer.from(password),
  }
}
