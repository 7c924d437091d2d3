import type { GroupOption, MapOption, OptionSpec, OptionTable } from '../../base/option.ts'
import { type OptionScalar, parseOption } from '../../base/option-value.ts'
import { DOTTED, describeUnknown, ENVIRONMENT, findOption, isScalar, isSecret, join, type Path } from './keys.ts'

/** Where a value came from; the later one of this list wins. */
export type Source = 'default' | 'file' | 'env' | '--set'

interface Given {
  path: Path
  value: OptionScalar
  source: Source
}

/**
 * The values that the user gave, layer over layer. Layers are added in order of precedence; every mistake is kept in
 * {@link problems}, so that the user sees all of them at once.
 */
export class Layers {
  readonly problems: string[] = []
  readonly #root: GroupOption
  readonly #given = new Map<string, Given>()
  /** Names of map entries, by the map's path. */
  readonly #entries = new Map<string, Set<string>>()

  constructor(root: GroupOption) {
    this.#root = root
  }

  /** Adds what a YAML file holds. `where` names the place of a key, such as `my.yml:12`. */
  addFile(content: unknown, where: (path: Path) => string): void {
    this.#walkGroup(this.#root, content, [], where)
  }

  /** Adds `a.b=c`. */
  addSetting(text: string): void {
    const equals = text.indexOf('=')
    if (equals <= 0) {
      this.problems.push(`--set ${text}: must be KEY=VALUE, such as --set api.port=8091`)
      return
    }
    const key = text.slice(0, equals)
    const words = key.split('.')
    const found = findOption(this.#root.options, words, DOTTED, (path) => this.#names(this.#mapAt(path), path))
    if (!found) this.problems.push(`${key} (--set): ${describeUnknown(this.#root, words)}`)
    else this.#assign(found.path, found.spec, text.slice(equals + 1), { source: '--set', place: '--set' })
  }

  /** Adds one variable of the environment, whose name without the prefix is `name`. */
  addVariable(name: string, text: string, prefix: string): void {
    const words = name.split('_')
    const found = findOption(this.#root.options, words, ENVIRONMENT, (path) => this.#names(this.#mapAt(path), path))
    const place = `environment ${prefix}${name}`
    if (found) this.#assign(found.path, found.spec, text, { source: 'env', place })
    else {
      const dotted = words.map((word) => word.toLowerCase())
      this.problems.push(`${join(dotted)} (${place}): ${describeUnknown(this.#root, dotted)}`)
    }
  }

  /** Fills in the defaults. `origins` receives the source of every value, by its dotted key. */
  build(origins: Map<string, Source>): Record<string, unknown> {
    return this.#buildTable(this.#root.options, [], {}, origins)
  }

  #walkGroup(group: GroupOption, content: unknown, path: Path, where: (path: Path) => string): void {
    if (content === null || content === undefined) return
    if (!isMapping(content)) {
      const name = path.length === 0 ? 'the file' : join(path)
      this.problems.push(`${name} (${where(path)}): must hold keys: ${Object.keys(group.options).join(', ')}`)
      return
    }
    for (const [name, value] of Object.entries(content)) {
      const own = [...path, name]
      const spec = Object.hasOwn(group.options, name) ? group.options[name] : undefined
      if (!spec) this.problems.push(`${join(own)} (${where(own)}): ${describeUnknown(this.#root, own)}`)
      else this.#walkOption(spec, value, own, where)
    }
  }

  #walkOption(spec: OptionSpec, value: unknown, path: Path, where: (path: Path) => string): void {
    if (value === null || value === undefined) return
    if (spec.type === 'group') this.#walkGroup(spec, value, path, where)
    else if (isScalar(spec)) this.#assign(path, spec, value, { source: 'file', place: where(path) })
    else if (!isMapping(value)) {
      this.problems.push(`${join(path)} (${where(path)}): must hold one ${spec.entryName} a key, by its name`)
    } else {
      for (const [name, entry] of Object.entries(value)) {
        const own = [...path, name]
        if (!this.#checkName(name, own, where(own))) continue
        this.#entriesOf(path).add(name)
        this.#walkGroup({ type: 'group', sentence: '', options: spec.entries }, entry, own, where)
      }
    }
  }

  #assign(path: Path, spec: OptionSpec, raw: unknown, from: { source: Source; place: string }): void {
    if (!isScalar(spec)) return
    const parsed = parseOption(spec, raw)
    if (!parsed.ok) {
      const shown = isSecret(spec) ? 'this value' : JSON.stringify(raw)
      this.problems.push(`${join(path)} (${from.place}): ${shown} is not allowed; must be ${parsed.allowed}`)
      return
    }
    for (let depth = 1; depth < path.length; depth++) {
      const map = this.#mapAt(path.slice(0, depth))
      if (!map) continue
      if (!this.#checkName(path[depth]!, path, from.place)) return
      this.#entriesOf(path.slice(0, depth)).add(path[depth]!)
    }
    this.#given.set(join(path), { path, value: parsed.value, source: from.source })
  }

  #checkName(name: string, path: Path, place: string): boolean {
    const good = /^[^\p{Cc}/#+]{1,128}$/u.test(name) && name !== '__proto__'
    if (!good) {
      this.problems.push(
        `${join(path)} (${place}): the name ${JSON.stringify(name)} is not allowed; must be 1 to 128 characters without /, #, + and control characters`,
      )
    }
    return good
  }

  #mapAt(path: Path): MapOption | null {
    let table = this.#root.options
    for (let depth = 0; depth < path.length; depth++) {
      const spec = Object.hasOwn(table, path[depth]!) ? table[path[depth]!] : undefined
      if (!spec || isScalar(spec)) return null
      if (depth === path.length - 1) return spec.type === 'map' ? spec : null
      if (spec.type === 'map') depth++
      table = spec.type === 'map' ? spec.entries : spec.options
    }
    return null
  }

  #entriesOf(path: Path): Set<string> {
    const key = join(path)
    let names = this.#entries.get(key)
    if (!names) this.#entries.set(key, (names = new Set()))
    return names
  }

  #names(map: MapOption | null, path: Path): string[] {
    return [...new Set([...Object.keys(map?.default ?? {}), ...this.#entriesOf(path)])]
  }

  #buildTable(
    table: OptionTable,
    path: Path,
    defaults: { readonly [option: string]: unknown },
    origins: Map<string, Source>,
  ): Record<string, unknown> {
    const result: Record<string, unknown> = {}
    for (const [name, spec] of Object.entries(table)) {
      const own = [...path, name]
      const given = Object.hasOwn(defaults, name) ? defaults[name] : undefined
      if (spec.type === 'group') {
        result[name] = this.#buildTable(spec.options, own, isMapping(given) ? given : {}, origins)
      } else if (spec.type === 'map') {
        result[name] = this.#buildMap(spec, own, origins)
      } else {
        const chosen = this.#given.get(join(own))
        origins.set(join(own), chosen?.source ?? 'default')
        result[name] = chosen ? chosen.value : (given ?? spec.default)
      }
    }
    return result
  }

  #buildMap(spec: MapOption, path: Path, origins: Map<string, Source>): Record<string, unknown> {
    const result: Record<string, unknown> = {}
    for (const name of this.#names(spec, path)) {
      const own = [...path, name]
      if (!spec.sparse) {
        result[name] = this.#buildTable(spec.entries, own, spec.default[name] ?? {}, origins)
        continue
      }
      const entry: Record<string, unknown> = {}
      for (const option of Object.keys(spec.entries)) {
        const chosen = this.#given.get(join([...own, option]))
        if (!chosen) continue
        entry[option] = chosen.value
        origins.set(join(chosen.path), chosen.source)
      }
      result[name] = entry
    }
    return result
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
