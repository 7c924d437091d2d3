/**
 * The rules of the source tree, as pure functions from a file's path and text to what is wrong with it. The tests feed
 * them the tree, and planted violations, which they must catch.
 */

/** From the bottom up; a folder imports from folders before it. Those on one line meet through their index.ts only. */
export const LAYERS: readonly (readonly string[])[] = [
  ['base'],
  ['cluster'],
  ['rpc'],
  ['kv'],
  ['plugin'],
  ['dist', 'inbox', 'retain'],
  ['mqtt'],
  ['api'],
  ['node'],
]
/** Files that TypeScript imports although they are JavaScript: a worker thread loads them too, without a loader. */
const PLAIN: readonly string[] = [
  'src/kv/engine/disk/layout.js',
  'src/kv/engine/lmdb/environment.js',
  'src/kv/engine/lmdb/length-file.js',
  'src/kv/engine/lmdb/pages.js',
  'src/kv/engine/lmdb/tree.js',
  'src/kv/engine/rocksdb/layout.js',
]
/** Folders whose inside is nobody else's business. */
const SERVICES = ['dist', 'inbox', 'retain']

/** Code that a simulator replays from a seed: no clock, no randomness, no timers, no I/O of its own. */
export const PURE: readonly string[] = [
  'src/base/',
  'src/cluster/underlay/core/',
  'src/cluster/overlay/core/',
  'src/rpc/link/core/',
  'src/kv/balance/',
  'src/kv/engine/memory/',
  'src/kv/lease/',
  'src/kv/meta/',
  'src/kv/raft/',
  'src/kv/range/',
  'src/kv/snapshot/',
  'src/mqtt/codec/',
  'src/mqtt/session/',
  'src/dist/store/',
  'src/inbox/store/',
  'src/retain/store/',
]
const PURE_EXCEPT = ['src/base/clock.ts']

/** Pure code that also answers at once. Left out are those whose interface is asynchronous by contract. */
export const MACHINES: readonly string[] = PURE.filter((folder) => !/^src\/(base|kv\/(engine|range))\//.test(folder))

const IMPURE: readonly [RegExp, string][] = [
  [/\bDate\s*\.\s*now\b/, 'Date.now'],
  [/\bnew\s+Date\b/, 'new Date'],
  [/\bperformance\b/, 'performance'],
  [/\bMath\s*\.\s*random\b/, 'Math.random'],
  [/\bcrypto\s*\.\s*(getRandomValues|random\w+)\b/, 'crypto randomness'],
  [/\b(setTimeout|setInterval|setImmediate|queueMicrotask)\b/, 'a timer'],
  [/\bprocess\s*\./, 'process'],
  [/\b(fetch|console)\b/, 'I/O'],
]
const WAITING: readonly [RegExp, string][] = [
  [/\basync\b/, 'async'],
  [/\bawait\b/, 'await'],
  [/\bPromise\b/, 'Promise'],
]

export const LINES_MAX = 500

/** Everything that is wrong with one file under src/. `path` is relative to the repository: `src/base/ids.ts`. */
export function checkSource(path: string, text: string): string[] {
  return [
    ...checkImports(path, text),
    ...checkPurity(path, text),
    ...checkEnvironment(path, text),
    ...checkText(path, text),
  ]
}

/** Imports go down only, and into a service only through its index.ts. */
export function checkImports(path: string, text: string): string[] {
  const problems: string[] = []
  for (const specifier of importsOf(text)) {
    if (!specifier.startsWith('.')) continue
    const target = resolvePath(path, specifier)
    if (!specifier.endsWith('.ts') && !PLAIN.includes(target))
      problems.push(`${path}: imports "${specifier}" without .ts`)
    if (!target.startsWith('src/')) problems.push(`${path}: imports ${target}, which is outside of src`)
    else problems.push(...checkDirection(path, target))
  }
  return problems
}

function checkDirection(path: string, target: string): string[] {
  const from = folderOf(path)
  const to = folderOf(target)
  if (from === to) return []
  if (to === '') return [`${path}: imports ${target}, which is above all folders`]
  const toRank = rankOf(to)
  if (toRank < 0) return [`${path}: imports ${target}, a folder that is not in the layer table`]
  if (from !== '' && rankOf(from) < 0) return [`${path}: is in a folder that is not in the layer table`]
  if (from !== '' && toRank > rankOf(from)) return [`${path}: imports ${target}, which is above ${from}`]
  if (SERVICES.includes(to) && target !== `src/${to}/index.ts`) {
    return [`${path}: imports ${target}; ${to} is reached only through src/${to}/index.ts`]
  }
  return []
}

/** Pure folders take time, randomness and I/O as inputs. */
export function checkPurity(path: string, text: string): string[] {
  if (!PURE.some((folder) => path.startsWith(folder)) || PURE_EXCEPT.includes(path)) return []
  const code = stripComments(text, true)
  const problems = importsOf(text)
    .filter((specifier) => !specifier.startsWith('.') && specifier !== 'node:buffer')
    .map((specifier) => `${path}: is pure and imports "${specifier}"`)
  const banned = MACHINES.some((folder) => path.startsWith(folder)) ? [...IMPURE, ...WAITING] : IMPURE
  for (const [pattern, what] of banned) if (pattern.test(code)) problems.push(`${path}: is pure and uses ${what}`)
  return problems
}

/** The configuration comes from above: nobody below the composition root looks at the environment. */
export function checkEnvironment(path: string, text: string): string[] {
  if (path === 'src/main.ts' || path.startsWith('src/node/')) return []
  return /\bprocess\s*\.\s*env\b/.test(stripComments(text, true)) ? [`${path}: reads process.env`] : []
}

/** Rules for every file of ours, tests too. */
export function checkText(path: string, text: string): string[] {
  const problems: string[] = []
  const lines = text.split('\n').length - 1
  if (path.startsWith('src/') && lines > LINES_MAX) problems.push(`${path}: has ${lines} lines, more than ${LINES_MAX}`)
  if (/\b(TODO|FIXME|XXX|HACK)\b/.test(text)) problems.push(`${path}: leaves a mark for later work`)
  if (/\b(test|it|describe|suite)\s*\.\s*only\b/.test(stripComments(text, true))) {
    problems.push(`${path}: runs only some of the tests`)
  }
  return problems
}

/** Folders that hold code and no README.md; `files` are all files of the tree. */
export function checkReadmes(files: readonly string[]): string[] {
  const folders = new Set(
    files.filter((file) => file.endsWith('.ts')).map((file) => file.slice(0, file.lastIndexOf('/'))),
  )
  // A folder that holds only folders is a place on the map as well.
  for (const folder of [...folders]) {
    for (let cut = folder.lastIndexOf('/'); cut > 0; cut = folder.lastIndexOf('/', cut - 1))
      folders.add(folder.slice(0, cut))
  }
  const missing = [...folders].filter((folder) => !files.includes(`${folder}/README.md`))
  return missing.sort().map((folder) => `${folder}: has no README.md`)
}

export function importsOf(text: string): string[] {
  const code = stripComments(text, false)
  const pattern = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)(['"])([^'"\n]+)\1/g
  return [...code.matchAll(pattern)].map((match) => match[2]!)
}

/** The top folder under src/; '' for a file that lies in src/ itself. */
function folderOf(path: string): string {
  const parts = path.split('/')
  return parts.length > 2 ? parts[1]! : ''
}

function rankOf(folder: string): number {
  return LAYERS.findIndex((layer) => layer.includes(folder))
}

function resolvePath(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}

/**
 * The text without comments, and with `strings` without what is quoted. Knows templates with code in them and tells a
 * regular expression from a division by what stands before.
 */
export function stripComments(text: string, strings: boolean): string {
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(?<=(?:^|[=(,:[!&|?{};+\n]|\breturn)\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*|`/g
  let result = ''
  let at = 0
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    result += text.slice(at, match.index)
    const found = match[0]
    at = match.index + found.length
    if (found === '`') {
      const template = readTemplate(text, match.index, strings)
      result += template.code
      at = template.end
      token.lastIndex = at
    } else if (found.startsWith('//') || found.startsWith('/*')) result += ' '
    else result += strings ? "''" : found
  }
  return result + text.slice(at)
}

/** A template from its first backquote on: the code in its ${} is kept, the words are dropped when asked. */
function readTemplate(text: string, start: number, strings: boolean): { code: string; end: number } {
  let code = '`'
  let at = start + 1
  while (at < text.length && text[at] !== '`') {
    if (text[at] === '\\') {
      if (!strings) code += text.slice(at, at + 2)
      at += 2
    } else if (text.startsWith('${', at)) {
      const end = closingBrace(text, at + 2)
      code += `\${${stripComments(text.slice(at + 2, end), strings)}}`
      at = end + 1
    } else {
      if (!strings) code += text[at]
      at++
    }
  }
  return { code: `${code}\``, end: at + 1 }
}

function closingBrace(text: string, start: number): number {
  let depth = 1
  for (let at = start; at < text.length; at++) {
    if (text[at] === '{') depth++
    else if (text[at] === '`') at = readTemplate(text, at, true).end - 1
    else if (text[at] === '}' && --depth === 0) return at
  }
  return text.length
}
