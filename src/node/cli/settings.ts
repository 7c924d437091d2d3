import { hostname, totalmem } from 'node:os'
import { BrokerError } from '../../base/errors.ts'
import { CONFIG_FILE_VARIABLE, type LoadedConfig, loadConfig } from '../config/index.ts'
import { CommandError, EXIT } from './exit.ts'

/** The options by which every command learns the configuration. */
export interface ConfigFlags {
  config?: string
  set?: string[]
  data?: string
  acceptLoss?: boolean
  seed?: string[]
}

/** The configuration of the command line, the environment and the file; the only reader of `process.env`. */
export function loadFlags(flags: ConfigFlags): LoadedConfig {
  const request = {
    file: flags.config ?? process.env[CONFIG_FILE_VARIABLE] ?? null,
    settings: settingsOf(flags),
    environment: process.env,
    machine: { hostName: hostname(), memoryBytes: memoryBytes() },
  }
  try {
    return loadConfig(request)
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    throw new CommandError(EXIT.usage, error.message, { cause: error })
  }
}

/** The short forms after `--set`, so that they come before it. */
function settingsOf({ set = [], data, seed = [], acceptLoss }: ConfigFlags): string[] {
  const short = data === undefined ? [] : [`node.data=${data}`]
  if (acceptLoss === true) short.push('store.acceptLoss=true')
  if (seed.length > 0) short.push(`cluster.seeds=${seed.join(',')}`)
  return [...set, ...short]
}

/** What this process may use: in a container its limit, which Node gives as 0 or as a huge number where there is none. */
function memoryBytes(): number {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem()
}
