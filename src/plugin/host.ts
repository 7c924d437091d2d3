import { resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { BrokerError } from '../base/errors.ts'
import type { Logger } from '../base/logging.ts'
import type { MetricSink, MetricSource } from '../base/metrics.ts'
import { FileAuth } from './auth/file.ts'
import type { CertificateMapping } from './auth/identity.ts'
import { NoAuth } from './auth/none.ts'
import { AuthGate } from './auth-gate.ts'
import type { AuthPlugin, BalancerPlugin, EventPlugin, SettingsPlugin, ThrottlePlugin } from './contract.ts'
import { stay, unlimited } from './defaults.ts'
import { EventBus } from './event-bus.ts'
import { EventLog } from './event-log.ts'
import type { EventLevel } from './events.ts'
import {
  AUTH_SHAPE,
  BALANCER_SHAPE,
  EVENTS_SHAPE,
  loadPlugin,
  type PluginShape,
  SETTINGS_SHAPE,
  THROTTLE_SHAPE,
} from './load.ts'
import { PluginGuard } from './plugin-guard.ts'
import { type ConfiguredSettings, SettingsSource } from './settings-source.ts'

export interface PluginHostOptions {
  /** `none`, `file`, or a module: see `load.ts`. */
  auth: string
  /** Needed with `auth: file`. */
  authFile?: { path: string | null; acl: string | null }
  /** Modules of event plugins. */
  events?: readonly string[]
  /** Modules of the other kinds; null = the built-in. */
  settings?: string | null
  throttle?: string | null
  balancer?: string | null
  /** `tenants` of the configuration. */
  tenants: ConfiguredSettings
  /** Relative paths are taken from here. */
  folder: string
  /** What a listener takes from client certificates. */
  certificates?: (listener: string) => CertificateMapping
  hashesMax?: number
  /** How long a plugin may take to answer. */
  deadlineMs?: number
  /** The least important events that go to the log. */
  logLevel?: EventLevel
  clock: Clock
  logger: Logger
}

/** Every plugin of a node, ready to be asked. Nothing here throws, and everything answers in time. */
export interface Plugins extends MetricSource {
  readonly auth: AuthGate
  readonly settings: SettingsSource
  readonly events: EventBus
  readonly throttle: ThrottlePlugin
  readonly balancer: BalancerPlugin
  stop(): Promise<void>
}

/** A settings plugin is asked again for every tenant within this time. */
const SETTINGS_REFRESH_MS = 5_000
const SETTINGS_STEP_MS = 100
const LOG_LINES_MAX = 10
const LOG_PERIOD_MS = 10_000
/** A plugin that does not stop may not keep the broker from it. */
const STOP_MS_MAX = 5_000

/**
 * Loads and starts the plugins that the configuration names. One that cannot be loaded, has the wrong shape or does
 * not start throws: the broker must not run without the rules that its owner asked for.
 */
export async function startPlugins(options: PluginHostOptions): Promise<Plugins> {
  const { clock, logger } = options
  const load = <Plugin>(kind: string, specifier: string, shape: PluginShape) =>
    loadPlugin<Plugin>(kind, specifier, shape, options.folder, { clock, logger })
  const loadOr = <Plugin>(kind: string, specifier: string | null | undefined, shape: PluginShape, other: Plugin) =>
    specifier ? load<Plugin>(kind, specifier, shape) : Promise.resolve(other)

  const events = new EventBus({ clock, logger })
  const log = new EventLog(
    { clock, logger, level: options.logLevel ?? 'info', linesMax: LOG_LINES_MAX, periodMs: LOG_PERIOD_MS },
    events.drops,
  )
  events.add(log)
  const eventPlugins: EventPlugin[] = [log]
  for (const specifier of options.events ?? []) {
    const plugin = await load<EventPlugin>('event', specifier, EVENTS_SHAPE)
    events.add(named(plugin, specifier))
    eventPlugins.push(plugin)
  }
  const guardOptions = { clock, logger, events, ...given('deadlineMs', options.deadlineMs) }
  const throttle = await loadOr('throttle', options.throttle, THROTTLE_SHAPE, unlimited)
  const balancer = await loadOr('balancer', options.balancer, BALANCER_SHAPE, stay)
  const settingsPlugin = await loadOr<SettingsPlugin | null>('settings', options.settings, SETTINGS_SHAPE, null)
  const settings = new SettingsSource({ configured: options.tenants, plugin: settingsPlugin, logger })
  const { plugin: authPlugin, trusted } = await loadAuth(options, load)
  const auth = new AuthGate(authPlugin, { ...guardOptions, trusted })
  await startAuth(auth)

  log.start()
  settings.onChange((tenant) => {
    if (events.enabled('settings.changed')) events.report('settings.changed', tenant, '', 0, {})
  })
  const endRefresh = settingsPlugin === null ? () => {} : refreshSteadily(settings, clock)
  const guards = {
    throttle: new PluginGuard('throttle', guardOptions),
    balancer: new PluginGuard('balancer', guardOptions),
  }
  let stopped: Promise<void> | null = null
  return {
    auth,
    settings,
    events,
    throttle: throttle === unlimited ? unlimited : guardThrottle(throttle, guards.throttle),
    balancer: balancer === stay ? stay : guardBalancer(balancer, guards.balancer),
    stop() {
      stopped ??= stopAll([auth, ...eventPlugins], clock)
      endRefresh()
      return stopped
    },
    collect(sink: MetricSink) {
      events.collect(sink)
      auth.collect(sink)
      if (throttle !== unlimited) guards.throttle.collect(sink)
      if (balancer !== stay) guards.balancer.collect(sink)
    },
  }
}

async function loadAuth(
  options: PluginHostOptions,
  load: (kind: string, specifier: string, shape: PluginShape) => Promise<AuthPlugin>,
): Promise<{ plugin: AuthPlugin; trusted: boolean }> {
  const { auth, authFile, clock, logger, certificates, hashesMax } = options
  if (auth === 'none') return { plugin: new NoAuth(certificates), trusted: true }
  if (auth !== 'file') {
    const plugin = named(await load('auth', auth, AUTH_SHAPE), auth)
    return { plugin, trusted: false }
  }
  if (!authFile?.path) throw new BrokerError('CONFIG_INVALID', 'Cannot use auth "file": no file of users is given')
  const plugin = new FileAuth({
    path: resolve(options.folder, authFile.path),
    aclPath: authFile.acl === null ? null : resolve(options.folder, authFile.acl),
    clock,
    logger,
    ...given('certificates', certificates),
    ...given('hashesMax', hashesMax),
  })
  return { plugin, trusted: true }
}

async function startAuth(auth: AuthGate): Promise<void> {
  try {
    await auth.start()
  } catch (cause) {
    if (cause instanceof BrokerError) throw cause
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new BrokerError('PLUGIN_FAILED', `Cannot start auth plugin "${auth.name}": ${why}`, { cause })
  }
}

/** Asks for a fiftieth of the tenants at a time: a hundred thousand never hold up the event loop. */
function refreshSteadily(settings: SettingsSource, clock: Clock): () => void {
  let cancel = () => {}
  const step = (): void => {
    cancel = clock.after(SETTINGS_STEP_MS, () => {
      settings.refreshNext(Math.ceil((settings.size * SETTINGS_STEP_MS) / SETTINGS_REFRESH_MS))
      step()
    })
  }
  step()
  return () => cancel()
}

/** In doubt a tenant may go on: the quota is there to protect others, not to be an outage of its own. */
function guardThrottle(plugin: ThrottlePlugin, guard: PluginGuard): ThrottlePlugin {
  return {
    hasResource: (tenant, resource) =>
      guard.askSync(
        'hasResource',
        { tenant, clientId: '' },
        () => plugin.hasResource(tenant, resource) !== false,
        true,
      ),
  }
}

/** In doubt a client stays. */
function guardBalancer(plugin: BalancerPlugin, guard: PluginGuard): BalancerPlugin {
  return {
    redirect: (client) =>
      guard.askSync('redirect', client, () => checkedRedirect(plugin.redirect(client) ?? null), null),
  }
}

function checkedRedirect(answer: ReturnType<BalancerPlugin['redirect']>): typeof answer {
  if (answer === null) return null
  const { permanent, reference } = answer
  if (typeof permanent === 'boolean' && typeof reference === 'string') return answer
  throw new TypeError('redirect() must give null or { permanent: boolean, reference: string }')
}

/** Plugins need not name themselves; then they are called as the configuration calls them. */
function named<Plugin extends { readonly name: string }>(plugin: Plugin, specifier: string): Plugin {
  if (typeof plugin.name === 'string' && plugin.name !== '') return plugin
  Object.defineProperty(plugin, 'name', { value: specifier })
  return plugin
}

function given<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } {
  return value === undefined ? {} : ({ [key]: value } as { [K in Key]?: Value })
}

/** Ends when all have stopped or failed to, at the latest after {@link STOP_MS_MAX}. */
function stopAll(plugins: readonly { stop?(): Promise<void> }[], clock: Clock): Promise<void> {
  const stops = plugins.map(async (plugin) => plugin.stop?.())
  return new Promise((done) => {
    const cancel = clock.after(STOP_MS_MAX, done)
    void Promise.allSettled(stops).then(() => {
      cancel()
      done()
    })
  })
}
