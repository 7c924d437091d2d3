import { defineConfig } from 'vitest/config'

/** For `run.ts`, which is no part of `npm test`. */
export default defineConfig({
  test: {
    root: process.cwd(),
    include: ['test/conformance/mutations/run.ts'],
    testTimeout: 600_000,
    reporters: 'verbose',
  },
})
