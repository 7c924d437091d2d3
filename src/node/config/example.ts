import type { MapOption, OptionSpec, OptionTable, ScalarOption } from '../../base/option.ts'
import { describeAllowed, formatInteger } from '../../base/option-value.ts'
import { isScalar } from './keys.ts'
import { scalar } from './print.ts'
import { SCHEMA } from './schema.ts'

const HEADER = `# FlockMQ, one node. Every key is here with its default: take the # from a line that you change.
# Made by \`flockmq config example\`; check yours with \`flockmq config check -c FILE\`.
# Numbers may carry units: 64KiB, 1MiB, 500ms, 10s, 2h.
# The environment (FLOCKMQ_API_PORT=8091) comes before this file, and --set api.port=8091 before both.
`

/** The commented example file: made from the schema, so that it cannot fall behind. */
export function exampleFile(): string {
  return `${HEADER}${exampleTable(SCHEMA, '', {}).join('\n')}\n`
}

function exampleTable(table: OptionTable, indent: string, defaults: { readonly [name: string]: unknown }): string[] {
  return Object.entries(table).flatMap(([name, spec]) => {
    const lines = indent === '' ? [''] : []
    lines.push(...comment(describe(spec), indent))
    if (isScalar(spec)) lines.push(`${indent}#${name}: ${exampleValue(spec, defaults[name])}`.trimEnd())
    else if (spec.type === 'group') lines.push(`${indent}${name}:`, ...exampleTable(spec.options, `${indent}  `, {}))
    else lines.push(`${indent}${name}:`, ...exampleMap(spec, `${indent}  `))
    return lines
  })
}

/** The first default entry shows all its options, the others show where they differ. */
function exampleMap(spec: MapOption, indent: string): string[] {
  const names = Object.keys(spec.default)
  if (names.length === 0) {
    const options = exampleTable(spec.entries, '    ', {})
    return [...comment(`One key for each ${spec.entryName}, such as:`, indent), `${indent}default:`].concat(
      options.map((line) => `${indent.slice(2)}${line}`),
    )
  }
  return names.flatMap((name, index) => {
    const given = spec.default[name]!
    if (index === 0) return [`${indent}${name}:`, ...exampleTable(spec.entries, `${indent}  `, given)]
    const own = Object.entries(given).map(([option, value]) => `${indent}  #${option}: ${scalar(value)}`)
    return [`${indent}${name}:`, ...own]
  })
}

function describe(spec: OptionSpec): string {
  if (!isScalar(spec)) return spec.sentence
  const absent = spec.absent === undefined ? '' : ` Without a value: ${spec.absent}.`
  const limited = spec.type === 'integer' || spec.type === 'choice' || (spec.type === 'list' && spec.choices)
  const allowed = limited ? ` (${describeAllowed(spec)})` : ''
  return `${spec.sentence}${allowed}${absent}`
}

function exampleValue(spec: ScalarOption, given: unknown): string {
  const value = given ?? spec.default
  if (value === null) return ''
  return spec.type === 'integer' ? formatInteger(spec, value as number) : scalar(value)
}

function comment(text: string, indent: string): string[] {
  const widthMax = 110 - indent.length
  const lines: string[] = []
  let line = '#'
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > widthMax) {
      lines.push(`${indent}${line}`)
      line = '#'
    }
    line += ` ${word}`
  }
  return [...lines, `${indent}${line}`]
}
