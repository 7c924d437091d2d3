import { stringify } from 'yaml'
import type { OptionSpec, OptionTable } from '../../base/option.ts'
import type { LoadedConfig } from './index.ts'
import { isSecret, join, type Path } from './keys.ts'
import { SCHEMA } from './schema.ts'

const MASK = '********'

/** The whole configuration for people (YAML, each value with its source) or machines (JSON). Secrets are masked. */
export function printConfig(loaded: LoadedConfig, format: 'yaml' | 'json'): string {
  const masked = maskTable(SCHEMA, loaded.config as unknown as Record<string, unknown>)
  if (format === 'json') {
    return `${JSON.stringify({ config: masked, sources: Object.fromEntries(loaded.origins) }, null, 2)}\n`
  }
  return printTable(SCHEMA, masked, [], loaded).join('')
}

function maskTable(table: OptionTable, values: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(values)) result[name] = maskOption(table[name]!, value)
  return result
}

function maskOption(spec: OptionSpec, value: unknown): unknown {
  if (isSecret(spec)) return Array.isArray(value) ? value.map(() => MASK) : value === null ? null : MASK
  if (spec.type === 'group') return maskTable(spec.options, value as Record<string, unknown>)
  if (spec.type !== 'map') return value
  const entries = Object.entries(value as Record<string, Record<string, unknown>>)
  return Object.fromEntries(entries.map(([name, entry]) => [name, maskTable(spec.entries, entry)]))
}

function printTable(table: OptionTable, values: Record<string, unknown>, path: Path, loaded: LoadedConfig): string[] {
  const lines: string[] = []
  for (const [name, value] of Object.entries(values)) {
    const spec = table[name]!
    const own = [...path, name]
    if (spec.type === 'group') {
      lines.push(
        `${indent(path)}${name}:\n`,
        ...printTable(spec.options, value as Record<string, unknown>, own, loaded),
      )
    } else if (spec.type === 'map') {
      const entries = Object.entries(value as Record<string, Record<string, unknown>>)
      lines.push(`${indent(path)}${name}:${entries.length === 0 ? ' {}' : ''}\n`)
      for (const [entryName, entry] of entries) {
        lines.push(`${indent(own)}${scalar(entryName)}:${Object.keys(entry).length === 0 ? ' {}' : ''}\n`)
        lines.push(...printTable(spec.entries, entry, [...own, entryName], loaded))
      }
    } else {
      lines.push(`${indent(path)}${name}: ${scalar(value)} # ${loaded.origins.get(join(own)) ?? 'default'}\n`)
    }
  }
  return lines
}

function indent(path: Path): string {
  return '  '.repeat(path.length)
}

/** One value as YAML on one line. */
export function scalar(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0, singleQuote: true }).trimEnd()
}
