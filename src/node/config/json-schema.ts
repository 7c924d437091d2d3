import type { GroupOption, OptionSpec, OptionTable } from '../../base/option.ts'
import { isSecret } from './keys.ts'
import { ROOT } from './schema.ts'

/** The schema as JSON Schema (draft 2020-12), for editors that complete and check YAML. */
export function jsonSchema(): object {
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'FlockMQ configuration', ...ofGroup(ROOT) }
}

function ofGroup(group: GroupOption): object {
  return { description: group.sentence, ...ofTable(group.options) }
}

function ofTable(table: OptionTable): object {
  const properties = Object.fromEntries(Object.entries(table).map(([name, spec]) => [name, ofOption(spec)]))
  return { type: ['object', 'null'], additionalProperties: false, properties }
}

function ofOption(spec: OptionSpec): object {
  if (spec.type === 'group') return ofGroup(spec)
  if (spec.type === 'map') {
    return {
      description: spec.sentence,
      type: ['object', 'null'],
      default: spec.default,
      additionalProperties: ofTable(spec.entries),
    }
  }
  const common = { description: spec.sentence, default: spec.type === 'secret' ? null : spec.default }
  switch (spec.type) {
    case 'boolean':
      return { ...common, type: ['boolean', 'null'] }
    case 'choice':
      return { ...common, enum: [...spec.choices, null] }
    case 'integer': {
      const number = { type: ['integer', 'null'], minimum: spec.min, maximum: spec.max }
      const units = unitPattern(spec.unit)
      return { ...common, ...(units === null ? number : { anyOf: [number, { type: 'string', pattern: units }] }) }
    }
    case 'list':
      return {
        ...common,
        type: ['array', 'null'],
        items: spec.choices ? { enum: [...spec.choices] } : { type: 'string', minLength: 1 },
        ...(isSecret(spec) ? { writeOnly: true } : {}),
      }
    case 'string':
      return {
        ...common,
        type: ['string', 'null'],
        ...(spec.pattern === undefined ? { minLength: 1 } : { pattern: spec.pattern }),
      }
    case 'secret':
      return { ...common, type: ['string', 'null'], minLength: 1, writeOnly: true }
  }
}

function unitPattern(unit: string | undefined): string | null {
  if (unit === 'bytes') return '^\\d+(\\.\\d+)? ?([kKmMgGtT][iI]?)?[bB]$'
  return unit === 'seconds' || unit === 'ms' ? '^\\d+(\\.\\d+)? ?(ms|s|m|h|d)$' : null
}
