import { writeFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { TestModule } from 'vitest/node'
import { type NamedTest, render } from './coverage.ts'

/** A vitest reporter that writes README.md from a run of this folder: `npm run conformance:table`. */
export default class ConformanceTable {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const broken = modules.filter((module) => module.children.size === 0)
    if (broken.length > 0) {
      for (const module of broken) console.error(module.moduleId, ...module.errors().map(({ message }) => message))
      return
    }
    const tests: NamedTest[] = []
    for (const module of modules) {
      const file = basename(module.moduleId)
      if (file === 'statements.test.ts' || basename(dirname(module.moduleId)) !== 'conformance') continue
      for (const test of module.children.allTests()) {
        tests.push({ file, title: test.name, result: test.result().state })
        if (test.result().state === 'failed') console.error(`failed: ${file} ${test.name}`)
      }
    }
    // Files end in any order; their tests stand in the order of the source.
    tests.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0))
    writeFileSync(`${import.meta.dirname}/README.md`, render(tests))
    console.info(`${tests.length} tests are in test/conformance/README.md`)
  }
}
