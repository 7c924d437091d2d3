import type { IntegerOption, ListOption, ScalarOption } from './option.ts'

/** Either the value, or what would have been allowed, to stand after "must be". */
export type ParsedOption = { ok: true; value: OptionScalar } | { ok: false; allowed: string }
export type OptionScalar = boolean | number | string | readonly string[] | null

const BYTE_UNITS: Record<string, number> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
}
const TIME_UNITS_MS: Record<string, number> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3 }

/**
 * Reads one value as YAML, the environment or `--set` gives it: text stands for any type, so `"8091"` is a port.
 * Numbers of bytes and times may carry a unit: `1MiB`, `64kB`, `10s`, `500ms`, `2h`.
 */
export function parseOption(spec: ScalarOption, raw: unknown): ParsedOption {
  const value = readScalar(spec, raw)
  return value === undefined ? { ok: false, allowed: describeAllowed(spec) } : { ok: true, value }
}

function readScalar(spec: ScalarOption, raw: unknown): OptionScalar | undefined {
  switch (spec.type) {
    case 'boolean':
      return readBoolean(raw)
    case 'integer':
      return readInteger(spec, raw)
    case 'choice':
      return spec.choices.find((choice) => isText(raw) && String(choice) === String(raw))
    case 'list':
      return readList(spec, raw)
    case 'string': {
      const text = readText(raw)
      if (text === undefined || spec.pattern === undefined) return text
      return new RegExp(spec.pattern, 'u').test(text) ? text : undefined
    }
    case 'secret':
      return readText(raw)
  }
}

function isText(raw: unknown): raw is string | number {
  return typeof raw === 'string' || typeof raw === 'number'
}

/** A string without control characters, which would break lines of logs and files. */
function readText(raw: unknown): string | undefined {
  if (!isText(raw)) return undefined
  const text = String(raw)
  return text !== '' && !/\p{Cc}/u.test(text) ? text : undefined
}

function readBoolean(raw: unknown): boolean | undefined {
  if (typeof raw === 'boolean') return raw
  return raw === 'true' ? true : raw === 'false' ? false : undefined
}

function readInteger(spec: IntegerOption, raw: unknown): number | undefined {
  const value = typeof raw === 'number' ? raw : typeof raw === 'string' ? readNumberText(spec, raw.trim()) : undefined
  if (value === undefined || !Number.isSafeInteger(value)) return undefined
  return value >= spec.min && value <= spec.max ? value : undefined
}

function readNumberText(spec: IntegerOption, text: string): number | undefined {
  const match = /^(-?\d+(?:_\d{3})*(?:\.\d+)?)\s*([a-z]*)$/i.exec(text)
  if (!match) return undefined
  const number = Number(match[1]!.replaceAll('_', ''))
  const unit = match[2]!.toLowerCase()
  if (unit === '') return number
  // Rounding takes back what binary fractions lose: 1.1 kB is 1100 bytes, not 1100.0000000000002.
  if (spec.unit === 'bytes' && BYTE_UNITS[unit]) return rounded(number * BYTE_UNITS[unit])
  if (spec.unit === 'seconds' && TIME_UNITS_MS[unit]) return rounded((number * TIME_UNITS_MS[unit]) / 1000)
  if (spec.unit === 'ms' && TIME_UNITS_MS[unit]) return rounded(number * TIME_UNITS_MS[unit])
  return undefined
}

function rounded(value: number): number {
  const nearest = Math.round(value)
  return Math.abs(value - nearest) < 1e-6 ? nearest : value
}

function readList(spec: ListOption, raw: unknown): readonly string[] | undefined {
  const parts = typeof raw === 'string' ? splitList(raw) : raw
  if (!Array.isArray(parts)) return undefined
  const values = parts.map(readText)
  if (values.includes(undefined)) return undefined
  const texts = values as string[]
  return spec.choices && texts.some((text) => !spec.choices!.includes(text)) ? undefined : texts
}

function splitList(text: string): string[] {
  const inner = text.trim().replace(/^\[(.*)\]$/s, '$1')
  return inner.trim() === '' ? [] : inner.split(',').map((part) => part.trim().replace(/^(['"])(.*)\1$/, '$2'))
}

/** What a value may be, in words, to stand after "must be". */
export function describeAllowed(spec: ScalarOption): string {
  switch (spec.type) {
    case 'boolean':
      return 'true or false'
    case 'integer':
      return describeInteger(spec)
    case 'choice':
      return `one of ${spec.choices.join(', ')}`
    case 'list':
      return spec.choices ? `a list of ${spec.choices.join(', ')}` : 'a list of texts, separated by commas'
    case 'string':
      return spec.allowed ?? 'a text on one line, not empty'
    case 'secret':
      return 'a text on one line, not empty'
  }
}

function describeInteger(spec: IntegerOption): string {
  const limits = `from ${formatInteger(spec, spec.min)} to ${formatInteger(spec, spec.max)}`
  if (spec.unit === 'bytes') return `bytes ${limits}`
  return `an integer ${limits}${spec.unit === undefined || spec.unit === 'count' ? '' : ` ${spec.unit}`}`
}

/** Bytes with the largest binary unit that divides them, other numbers as they are. */
export function formatInteger(spec: IntegerOption, value: number): string {
  if (spec.unit !== 'bytes' || value === 0) return String(value)
  for (const [unit, factor] of [
    ['GiB', 1024 ** 3],
    ['MiB', 1024 ** 2],
    ['KiB', 1024],
  ] as const) {
    if (value % factor === 0) return `${value / factor}${unit}`
  }
  return String(value)
}
