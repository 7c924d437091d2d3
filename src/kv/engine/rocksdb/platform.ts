import { readFileSync } from 'node:fs'
import type Binding from 'rocksdb/binding.js'
import { BrokerError } from '../../../base/errors.ts'

/** What the compiler may have used: the binary is built for AMD's Zen and later (`-march=znver1`). */
const FLAGS = ['avx2', 'bmi2', 'fma', 'movbe']

export interface Platform {
  name: string
  arch: string
  /** Flags of the processor; undefined where they are not known. */
  flags: readonly string[] | undefined
  /** Such as `2.36`; null without glibc; undefined: not looked at, which takes long. */
  glibc?: string | null
}

/**
 * Loads RocksDB, or says what this machine lacks for it.
 *
 * The processor is looked at first: where it lacks an instruction, the binary ends the process without a word.
 */
export async function loadBinding(): Promise<typeof Binding> {
  const { platform: name, arch } = process
  const flags = name === 'linux' ? cpuFlags() : undefined
  const lacking = whatLacks({ name, arch, flags })
  if (lacking !== null) throw unsupported(lacking)
  try {
    return (await import('rocksdb/binding.js')).default
  } catch (cause) {
    const [message] = (cause as Error).message.split('\n', 1)
    const reason = whatLacks({ name, arch, flags, glibc: glibcVersion() })
    throw unsupported(reason ?? `its binary does not load here (${message})`, cause)
  }
}

/** One sentence that says why RocksDB does not run here; null where it does. */
export async function whyUnsupported(): Promise<string | null> {
  try {
    await loadBinding()
    return null
  } catch (error) {
    return (error as Error).message
  }
}

/** What keeps the prebuilt binary from running, as the end of a sentence; null where nothing does. */
export function whatLacks({ name, arch, glibc, flags }: Platform): string | null {
  const target = `${name}-${arch}`
  if (target === 'darwin-arm64') return null
  if (target !== 'linux-x64') return `there is no binary of it for ${target}`
  const missing = FLAGS.filter((flag) => flags !== undefined && !flags.includes(flag))
  if (missing.length > 0) return `its binary needs a processor with ${missing.join(', ')}`
  if (glibc === null) return 'its binary for Linux needs glibc, and this system has another C library'
  const [major = 2, minor = 34] = glibc === undefined ? [] : glibc.split('.', 2).map(Number)
  const isOld = major < 2 || (major === 2 && minor < 34)
  return isOld ? `its binary needs glibc 2.34 or newer, and this system has ${glibc}` : null
}

function unsupported(reason: string, cause?: unknown): BrokerError {
  const message = `Cannot use RocksDB: ${reason}. It runs on linux-x64 (glibc 2.34, AVX2, FMA) and darwin-arm64`
  return new BrokerError('STORAGE_FAILED', message, { cause })
}

function glibcVersion(): string | null {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return report.header?.glibcVersionRuntime ?? null
}

function cpuFlags(): string[] | undefined {
  try {
    return /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.trim().split(' ')
  } catch {
    return undefined
  }
}
