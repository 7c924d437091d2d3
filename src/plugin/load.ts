import { createRequire } from 'node:module'
import { isAbsolute, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Clock } from '../base/clock.ts'
import { BrokerError } from '../base/errors.ts'
import type { Logger } from '../base/logging.ts'

/** What a plugin module is given. */
export interface PluginContext {
  clock: Clock
  logger: Logger
}

/** Functions that a plugin must have; those that end with `?` it may have. */
export type PluginShape = readonly string[]

export const AUTH_SHAPE: PluginShape = ['authenticate', 'authenticateExtended?', 'start?', 'stop?']
export const SETTINGS_SHAPE: PluginShape = ['provide']
export const EVENTS_SHAPE: PluginShape = ['report', 'stop?']
export const THROTTLE_SHAPE: PluginShape = ['hasResource']
export const BALANCER_SHAPE: PluginShape = ['redirect']

/**
 * Loads a plugin from a module: a path relative to `folder`, or a package that is installed there. Its default
 * export is the plugin, or a function of {@link PluginContext} that makes it. Throws PLUGIN_FAILED.
 */
export async function loadPlugin<Plugin>(
  kind: string,
  specifier: string,
  shape: PluginShape,
  folder: string,
  context: PluginContext,
): Promise<Plugin> {
  const fail = (problem: string, cause?: unknown) =>
    new BrokerError('PLUGIN_FAILED', `Cannot load ${kind} plugin "${specifier}": ${problem}`, { cause })
  let exported: unknown
  try {
    const module = (await import(locate(specifier, folder))) as { default?: unknown }
    // CommonJS modules that were compiled from ES modules hold their default export one level deeper.
    const inner = module.default as { __esModule?: boolean; default?: unknown } | undefined
    exported = inner?.__esModule === true ? inner.default : module.default
    if (typeof exported === 'function') exported = await (exported as (context: PluginContext) => unknown)(context)
  } catch (cause) {
    throw fail(cause instanceof Error ? cause.message.split('\n')[0]! : String(cause), cause)
  }
  if (typeof exported !== 'object' || exported === null) {
    throw fail('its default export must be the plugin, or a function that makes it')
  }
  for (const entry of shape) {
    const name = entry.replace('?', '')
    const member = (exported as Record<string, unknown>)[name]
    if (member === undefined && entry.endsWith('?')) continue
    if (typeof member !== 'function') throw fail(`it has no function "${name}"`)
  }
  return exported as Plugin
}

function locate(specifier: string, folder: string): string {
  if (specifier.startsWith('.') || isAbsolute(specifier)) return pathToFileURL(resolve(folder, specifier)).href
  return pathToFileURL(createRequire(`${resolve(folder)}/`).resolve(specifier)).href
}
