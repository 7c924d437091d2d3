import { expect, test } from 'vitest'
import { whatLacks } from '../../../src/kv/engine/rocksdb/platform.ts'

const flags = ['sse2', 'avx2', 'bmi2', 'fma', 'movbe']

test.each([
  ['linux', 'x64', '2.34', flags],
  ['linux', 'x64', '2.40', flags],
  ['linux', 'x64', '3.0', flags],
  ['linux', 'x64', undefined, undefined],
  ['darwin', 'arm64', undefined, undefined],
] as const)('%s-%s with glibc %s has all that the binary needs', (name, arch, glibc, cpu) => {
  expect(whatLacks({ name, arch, flags: cpu, ...(glibc === undefined ? {} : { glibc }) })).toBeNull()
})

test.each([
  [{ name: 'linux', arch: 'arm64', flags: undefined }, 'no binary of it for linux-arm64'],
  [{ name: 'win32', arch: 'x64', flags: undefined }, 'no binary of it for win32-x64'],
  [{ name: 'darwin', arch: 'x64', flags: undefined }, 'no binary of it for darwin-x64'],
  [{ name: 'linux', arch: 'x64', flags: ['sse2', 'bmi2', 'fma'] }, 'avx2, movbe'],
  [{ name: 'linux', arch: 'x64', flags, glibc: null }, 'another C library'],
  [{ name: 'linux', arch: 'x64', flags, glibc: '2.31' }, 'this system has 2.31'],
] as const)('%j lacks something that is named', (platform, text) => {
  expect(whatLacks(platform)).toContain(text)
})
