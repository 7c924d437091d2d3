import type { GroupOption, MapOption, OptionSpec, OptionTable, ScalarOption } from '../../base/option.ts'

/** Where an option stands, from the root: `['mqtt', 'listeners', 'tcp', 'port']`. */
export type Path = readonly string[]

export interface FoundOption {
  path: Path
  spec: ScalarOption
}

/** How a place writes keys: the environment joins words with `_` and knows no case, `--set` joins them with dots. */
export interface Naming {
  joiner: string
  normal(name: string): string
  /** The name of a new map entry that was written as `text`. */
  entryName(text: string): string
}

export const DOTTED: Naming = { joiner: '.', normal: (name) => name, entryName: (text) => text }

export const ENVIRONMENT: Naming = {
  joiner: '_',
  normal: (name) => name.toLowerCase().replaceAll(/[_-]/g, ''),
  entryName: (text) => text.toLowerCase(),
}

export function isScalar(spec: OptionSpec): spec is ScalarOption {
  return spec.type !== 'group' && spec.type !== 'map'
}

/** Whether its values are never printed. */
export function isSecret(spec: OptionSpec): boolean {
  return spec.type === 'secret' || (spec.type === 'list' && spec.secret === true)
}

/**
 * The option that `words` name; null where there is none. Names may hold the joiner themselves, so every way to join
 * leading words is tried. `known` gives the entries that a map already has.
 */
export function findOption(
  table: OptionTable,
  words: readonly string[],
  naming: Naming,
  known: (path: Path) => string[],
): FoundOption | null {
  return findInTable(table, words, [], { naming, known })
}

interface Search {
  naming: Naming
  known: (path: Path) => string[]
}

function findInTable(table: OptionTable, words: readonly string[], path: Path, search: Search): FoundOption | null {
  for (let count = 1; count <= words.length; count++) {
    const head = search.naming.normal(words.slice(0, count).join(search.naming.joiner))
    const name = Object.keys(table).find((option) => search.naming.normal(option) === head)
    const found = name === undefined ? null : findInOption(table[name]!, words.slice(count), [...path, name], search)
    if (found) return found
  }
  return null
}

function findInOption(spec: OptionSpec, words: readonly string[], path: Path, search: Search): FoundOption | null {
  if (isScalar(spec)) return words.length === 0 ? { path, spec } : null
  return spec.type === 'group' ? findInTable(spec.options, words, path, search) : findInMap(spec, words, path, search)
}

function findInMap(spec: MapOption, words: readonly string[], path: Path, search: Search): FoundOption | null {
  const { naming } = search
  const known = search.known(path)
  let fresh: FoundOption | null = null
  for (let count = 1; count < words.length; count++) {
    const text = words.slice(0, count).join(naming.joiner)
    const old = known.find((name) => naming.normal(name) === naming.normal(text))
    const name = old ?? naming.entryName(text)
    const found = findInTable(spec.entries, words.slice(count), [...path, name], search)
    if (found && old !== undefined) return found
    fresh ??= found
  }
  return fresh
}

/** What to say of a key that does not exist: the nearest one, and what there is at that place. */
export function describeUnknown(root: GroupOption, words: readonly string[]): string {
  let table = root.options
  let depth = 0
  const place: string[] = []
  for (; depth < words.length; depth++) {
    const spec: OptionSpec | undefined = Object.hasOwn(table, words[depth]!) ? table[words[depth]!] : undefined
    if (spec === undefined) break
    if (isScalar(spec)) return `${join(words.slice(0, depth + 1))} is a single value and holds no keys`
    place.push(words[depth]!)
    if (spec.type === 'map' && depth + 1 < words.length) place.push(words[++depth]!)
    table = spec.type === 'map' ? spec.entries : spec.options
  }
  if (depth >= words.length) return `holds keys and no value (${join(place)} knows ${Object.keys(table).join(', ')})`
  const nearest = nearestKey(root, table, place, words[depth])
  const hint = nearest === null ? '' : `; did you mean ${nearest}?`
  return `unknown key${hint} (${place.length === 0 ? 'the top level' : join(place)} knows ${Object.keys(table).join(', ')})`
}

function nearestKey(root: GroupOption, table: OptionTable, place: Path, word: string | undefined): string | null {
  if (word === undefined) return null
  const sibling = nearest(word, Object.keys(table))
  if (sibling !== null) return join([...place, sibling])
  const elsewhere = listKeys(root.options).filter((path) => path.at(-1) === word)
  return elsewhere.length === 1 ? join(elsewhere[0]!) : null
}

function listKeys(table: OptionTable, path: Path = []): Path[] {
  return Object.entries(table).flatMap(([name, spec]) => {
    const own = [...path, name]
    if (spec.type === 'map') return [own, ...listKeys(spec.entries, [...own, `<${spec.entryName}>`])]
    return spec.type === 'group' ? [own, ...listKeys(spec.options, own)] : [own]
  })
}

/** The candidate with the fewest differences, if they are few enough for a slip of the finger. */
export function nearest(word: string, candidates: readonly string[]): string | null {
  let best: string | null = null
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance && distance < candidate.length) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Levenshtein distance: insertions, deletions and replacements between two words. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const replaced = previous[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, previous[column]! + 1, current[column - 1]! + 1))
    }
    previous = current
  }
  return previous[b.length]!
}

export function join(path: Path): string {
  return path.join('.')
}
