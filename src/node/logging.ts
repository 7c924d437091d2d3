import { writeSync } from 'node:fs'
import { destination, pino } from 'pino'
import type { Logger } from '../base/logging.ts'

export interface LogOptions {
  level: 'error' | 'warn' | 'info' | 'debug'
  format: 'pretty' | 'json'
}

/** A logger on standard output. Lines are written at once: the last ones before a crash are the ones that matter. */
export function createLogger(options: LogOptions): Logger {
  const output =
    options.format === 'json'
      ? destination({ fd: 1, sync: true })
      : { write: (line: string) => writeSync(1, formatPretty(JSON.parse(line))) }
  return pino({ level: options.level, base: null, formatters: { level: (level) => ({ level }) } }, output)
}

/** `2026-01-31 12:00:00.000 WARN  what happened key=value`; a stack follows on lines of its own. */
export function formatPretty(record: Record<string, unknown>): string {
  const { time, level, msg, err, ...fields } = record
  const stamp = new Date(time as number).toISOString().replace('T', ' ').replace('Z', '')
  const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${formatField(value)}`)
  const { message, stack, code } = (err ?? {}) as { message?: string; stack?: string; code?: string }
  const error =
    message === undefined ? '' : ` error=${formatField(message)}${code === undefined ? '' : ` code=${code}`}`
  const trace = level === 'error' && stack !== undefined ? `\n${stack}` : ''
  return `${stamp} ${String(level).toUpperCase().padEnd(5)} ${msg}${pairs.join('')}${error}${trace}\n`
}

function formatField(value: unknown): string {
  return typeof value === 'string' && /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value)
}
