import type { MapOption, OptionSpec, OptionTable, ScalarOption } from '../../base/option.ts'
import { describeAllowed, formatInteger } from '../../base/option-value.ts'
import { isScalar, join, type Path } from './keys.ts'
import { scalar } from './print.ts'
import { SCHEMA } from './schema.ts'

const COMMON = `# Numbers may carry units: 64KiB, 1MiB, 500ms, 10s, 2h.
# The environment (FLOCKMQ_API_PORT=8091) comes before this file, and --set api.port=8091 before both.
`

/** An example file: what it says first, and the keys that it sets. */
interface Example {
  header: string
  given: { readonly [key: string]: unknown }
}

const EXAMPLES = {
  standalone: {
    header: `# FlockMQ, one node. Every key is here with its default: take the # from a line that you change.
# Made by \`flockmq config example\`; check yours with \`flockmq config check -c FILE\`.
${COMMON}`,
    given: {},
  },
  cluster: {
    header: `# FlockMQ, one of three nodes: the same file on each. Name your machines under cluster.seeds; lines without # are set.
# Give all nodes one secret in the environment, FLOCKMQ_CLUSTER_SECRET, or under cluster.secret. Clients and operators are
# served on loopback until you open that too: mqtt.listeners.tcp.host with plugins.auth, api.host with api.token.
# Made by \`flockmq config example --cluster\`; check yours with \`flockmq config check -c FILE\`.
${COMMON}`,
    given: {
      'cluster.host': '0.0.0.0',
      'cluster.seeds': ['node-1:7946', 'node-2:7946', 'node-3:7946'],
      'cluster.expect': 3,
    },
  },
} as const satisfies { [name: string]: Example }

/** A commented example file: made from the schema, so that it cannot fall behind. */
export function exampleFile(name: keyof typeof EXAMPLES = 'standalone'): string {
  const { header, given } = EXAMPLES[name]
  return `${header}${exampleTable({ table: SCHEMA, path: [], defaults: {}, given }, '').join('\n')}\n`
}

interface Place {
  table: OptionTable
  path: Path
  defaults: { readonly [name: string]: unknown }
  given: Example['given']
}

function exampleTable({ table, path, defaults, given }: Place, indent: string): string[] {
  return Object.entries(table).flatMap(([name, spec]) => {
    const own = [...path, name]
    const inner = `${indent}  `
    const lines = indent === '' ? [''] : []
    lines.push(...comment(describe(spec), indent))
    if (spec.type === 'group') {
      lines.push(`${indent}${name}:`, ...exampleTable({ table: spec.options, path: own, defaults: {}, given }, inner))
    } else if (spec.type === 'map') lines.push(`${indent}${name}:`, ...exampleMap(spec, own, inner))
    else if (Object.hasOwn(given, join(own))) lines.push(`${indent}${name}: ${scalar(given[join(own)])}`)
    else lines.push(`${indent}#${name}: ${exampleValue(spec, defaults[name])}`.trimEnd())
    return lines
  })
}

/** The first default entry shows all its options, the others show where they differ. */
function exampleMap(spec: MapOption, path: Path, indent: string): string[] {
  const names = Object.keys(spec.default)
  const entry = { table: spec.entries, path, given: {} }
  if (names.length === 0) {
    const options = exampleTable({ ...entry, defaults: {} }, '    ')
    return [...comment(`One key for each ${spec.entryName}, such as:`, indent), `${indent}default:`].concat(
      options.map((line) => `${indent.slice(2)}${line}`),
    )
  }
  return names.flatMap((name, index) => {
    const defaults = spec.default[name]!
    if (index === 0) return [`${indent}${name}:`, ...exampleTable({ ...entry, defaults }, `${indent}  `)]
    const own = Object.entries(defaults).map(([option, value]) => `${indent}  #${option}: ${scalar(value)}`)
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
