import { hostname, totalmem } from 'node:os'
import { CONFIG_FILE_VARIABLE, type LoadedConfig, loadConfig } from '../config/index.ts'

/** The options by which every command learns the configuration. */
export interface ConfigFlags {
  config?: string
  set?: string[]
  data?: string
}

/** The configuration of the command line, the environment and the file; the only reader of `process.env`. */
export function loadFlags(flags: ConfigFlags): LoadedConfig {
  return loadConfig({
    file: flags.config ?? process.env[CONFIG_FILE_VARIABLE] ?? null,
    settings: [...(flags.set ?? []), ...(flags.data === undefined ? [] : [`node.data=${flags.data}`])],
    environment: process.env,
    machine: { hostName: hostname(), memoryBytes: memoryBytes() },
  })
}

/** What this process may use: in a container its limit, which Node gives as 0 or as a huge number where there is none. */
function memoryBytes(): number {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem()
}
