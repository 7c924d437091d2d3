import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  checkEnvironment,
  checkImports,
  checkPurity,
  checkReadmes,
  checkSource,
  checkText,
  importsOf,
  LINES_MAX,
  MACHINES,
  PURE,
  stripComments,
} from './tidy-rules.ts'

function filesOf(...folders: string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath}/${entry.name}`),
  )
}

describe('the tree', () => {
  const sources = filesOf('src')

  test('src obeys the layer table, the purity rules and the limits', () => {
    const code = sources.filter((path) => path.endsWith('.ts'))
    expect(code.length).toBeGreaterThan(10)
    expect(code.flatMap((path) => checkSource(path, readFileSync(path, 'utf8')))).toEqual([])
  })

  test('tests, benches and what starts clusters run completely and leave nothing for later', () => {
    const own = filesOf('test', 'bench', 'deploy').filter(
      (path) => path.endsWith('.ts') && !path.startsWith('test/tidy'),
    )
    expect(own.flatMap((path) => checkText(path, readFileSync(path, 'utf8')))).toEqual([])
  })

  test('every folder of src says what it is', () => {
    expect(checkReadmes(sources)).toEqual([])
  })

  test('the top level holds what the design allows', () => {
    const allowed = ['LICENSE', 'README.md', 'package.json', 'package-lock.json', 'tsconfig.json']
    const folders = ['proto', 'src', 'conf', 'deploy', 'test', 'bench']
    const local = ['build', 'node_modules', 'data']
    const names = readdirSync('.').filter((name) => !name.startsWith('.'))
    expect(names.filter((name) => ![...allowed, ...folders, ...local].includes(name))).toEqual([])
  })
})

describe('planted violations of the layer table are caught', () => {
  const cases: [string, string, string][] = [
    ['src/base/x.ts', "import { a } from '../kv/engine/engine.ts'", 'above base'],
    ['src/mqtt/x.ts', "import type { A } from '../node/index.ts'", 'above mqtt'],
    ['src/mqtt/session/x.ts', "export * from '../../api/index.ts'", 'above mqtt'],
    ['src/mqtt/x.ts', "const a = await import('../api/index.ts')", 'above mqtt'],
    ['src/kv/x.ts', "import {\n  a,\n} from '../dist/index.ts'", 'above kv'],
    ['src/mqtt/x.ts', "import { a } from '../dist/client.ts'", 'only through src/dist/index.ts'],
    ['src/dist/store/x.ts', "import { a } from '../../inbox/store/schema.ts'", 'only through src/inbox/index.ts'],
    ['src/node/index.ts', "import '../retain/server.ts'", 'only through src/retain/index.ts'],
    ['src/node/x.ts', "import { a } from '../main.ts'", 'above all'],
    ['src/node/x.ts', "import { a } from '../util/a.ts'", 'not in the layer table'],
    ['src/util/x.ts', "import { a } from '../base/ids.ts'", 'not in the layer table'],
    ['src/node/x.ts', "import { a } from '../../test/sim/world.ts'", 'outside of src'],
    ['src/node/x.ts', "import { a } from './contract'", 'without .ts'],
    ['src/main.ts', "import { a } from './inbox/client.ts'", 'only through src/inbox/index.ts'],
  ]
  test.each(cases)('%s: %s', (path, text, problem) => {
    expect(checkImports(path, text).join('\n')).toContain(problem)
  })

  test('what is allowed is left alone', () => {
    expect(checkImports('src/dist/client.ts', "import { a } from '../inbox/index.ts'")).toEqual([])
    expect(checkImports('src/dist/client.ts', "import { a } from './store/schema.ts'")).toEqual([])
    expect(checkImports('src/mqtt/x.ts', "import { a } from '../kv/range/range.ts'\nimport b from 'ws'")).toEqual([])
    expect(checkImports('src/main.ts', "import { a } from './node/cli/index.ts'")).toEqual([])
    expect(checkImports('src/base/x.ts', "// as import { a } from '../kv/x.ts' would\n")).toEqual([])
  })
})

describe('planted violations of purity are caught', () => {
  const lines = [
    'const now = Date.now()',
    'const now = Date\n  .now()',
    'const now = new Date(5)',
    'const now = performance.now()',
    'const x = Math.random()',
    'setTimeout(f, 1)',
    'setInterval(f, 1)',
    'setImmediate(f)',
    'queueMicrotask(f)',
    'const pid = process.pid',
    "console.log('x')",
    `const text = \`at \${Date.now()}\``,
    "import { readFileSync } from 'node:fs'",
    "import { x } from 'ws'",
  ]
  test.each(lines)('%s', (line) => {
    for (const folder of PURE) expect(checkPurity(`${folder}x.ts`, line)).toHaveLength(1)
    expect(checkPurity('src/node/x.ts', line)).toEqual([])
  })

  test.each(['async function f() {}', 'let p: Promise<void>', 'await f()'])('in a machine: %s', (line) => {
    expect(MACHINES).toContain('src/mqtt/session/')
    for (const folder of MACHINES) expect(checkPurity(`${folder}x.ts`, line)).toHaveLength(1)
  })

  test('words in comments, texts and patterns are no use of them', () => {
    const text = [
      '// Date.now is banned, and so is setTimeout',
      '/* process.env\n Math.random */',
      "const a = 'the process. setTimeout'",
      `const b = \`Math.random \${a} new Date\``,
      'const c = /process.env "/',
      "import { Buffer } from 'node:buffer'",
      "import { assert } from '../../base/assert.ts'",
    ].join('\n')
    expect(checkPurity('src/mqtt/codec/x.ts', text)).toEqual([])
    expect(checkPurity('src/base/clock.ts', 'Date.now()')).toEqual([])
  })

  test('a quote in a pattern or a comment does not hide what follows', () => {
    expect(checkPurity('src/base/x.ts', "const a = /'/\nDate.now()\nconst b = '")).toHaveLength(1)
    expect(checkPurity('src/base/x.ts', "// it's\nDate.now() // it's")).toHaveLength(1)
    expect(checkPurity('src/base/x.ts', 'const a = b / 2\nDate.now()\nconst c = d / 2')).toHaveLength(1)
  })
})

test('only the composition root reads the environment', () => {
  expect(checkEnvironment('src/mqtt/x.ts', 'const a = process.env.HOME')).toHaveLength(1)
  expect(checkEnvironment('src/api/index.ts', 'const a = process\n.env')).toHaveLength(1)
  expect(checkEnvironment('src/node/cli/x.ts', 'const a = process.env.HOME')).toEqual([])
})

test('marks, lonely tests and long files are caught', () => {
  const mark = ['TO', 'DO'].join('')
  expect(checkText('test/x.test.ts', `// ${mark}: later`)).toHaveLength(1)
  expect(checkText('test/x.test.ts', "test.only('x', () => {})")).toHaveLength(1)
  expect(checkText('test/x.test.ts', 'describe.only("x", () => {})')).toHaveLength(1)
  expect(checkText('src/x.ts', 'x\n'.repeat(LINES_MAX + 1))).toHaveLength(1)
  expect(checkText('src/x.ts', 'x\n'.repeat(LINES_MAX))).toEqual([])
})

test('a folder without README is named, also one that holds only folders', () => {
  const files = ['src/a/x.ts', 'src/a/README.md', 'src/b/c/x.ts', 'src/README.md', 'src/b/c/README.md']
  expect(checkReadmes(files)).toEqual(['src/b: has no README.md'])
})

test('imports of every form are found', () => {
  const text = `import a from './a.ts'\nimport './b.ts'\nexport { c } from "./c.ts"\nawait import('./d.ts')`
  expect(importsOf(text)).toEqual(['./a.ts', './b.ts', './c.ts', './d.ts'])
  expect(stripComments('a // b', true)).toBe('a  ')
})
