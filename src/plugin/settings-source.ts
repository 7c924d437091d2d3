import type { TenantId } from '../base/ids.ts'
import type { Logger } from '../base/logging.ts'
import type { SettingsPlugin } from './contract.ts'
import { defaultSettings, parseSettings, sameSettings, type TenantSettings } from './settings.ts'

/** Overrides by tenant, as the configuration gives them; `default` holds for every tenant that sets nothing else. */
export type ConfiguredSettings = { readonly [tenant: string]: Partial<TenantSettings> }

export interface SettingsSourceOptions {
  configured: ConfiguredSettings
  plugin: SettingsPlugin | null
  logger: Logger
  /** Tenants without settings of their own that are remembered; the oldest one is forgotten first. */
  tenantsMax?: number
}

/** Told of a tenant whose settings were replaced. */
export type SettingsListener = (tenant: TenantId, settings: TenantSettings) => void

const TENANTS_MAX = 100_000

/**
 * The settings of every tenant: defaults < `tenants.default` < `tenants.<name>` < what the settings plugin overrides.
 *
 * {@link of} is one lookup in a map. It gives the same object until a value changes, so that whoever computed
 * something from it needs only to compare the object.
 */
export class SettingsSource {
  readonly #options: SettingsSourceOptions
  readonly #tenantsMax: number
  readonly #byTenant = new Map<TenantId, TenantSettings>()
  readonly #listeners = new Set<SettingsListener>()
  #configured: ConfiguredSettings
  /** Shared by all tenants that nobody gave anything. */
  #base: TenantSettings
  #pluginFailures = 0
  #cursor: MapIterator<TenantId> | null = null

  constructor(options: SettingsSourceOptions) {
    this.#options = options
    this.#tenantsMax = options.tenantsMax ?? TENANTS_MAX
    this.#configured = options.configured
    this.#base = { ...defaultSettings(), ...given(options.configured.default) }
  }

  /** Answers of the plugin that were thrown or held an invalid value. */
  get pluginFailures(): number {
    return this.#pluginFailures
  }

  of(tenant: TenantId): TenantSettings {
    return this.#byTenant.get(tenant) ?? this.#remember(tenant)
  }

  /** Calls back when the settings of a tenant that was asked for change. The returned function ends it. */
  onChange(listener: SettingsListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Replaces what the configuration gives. */
  configure(configured: ConfiguredSettings): void {
    const base = { ...defaultSettings(), ...given(configured.default) }
    this.#configured = configured
    if (!sameSettings(base, this.#base)) this.#base = base
    this.refresh()
  }

  /** Asks the plugin again for every remembered tenant; only an object with a changed value is replaced. */
  refresh(): void {
    for (const tenant of this.#byTenant.keys()) this.#refreshOne(tenant)
  }

  /** The same for the next `count` tenants, in turn: called often with few, it never holds up the event loop. */
  refreshNext(count: number): void {
    if (this.#options.plugin === null) return
    for (let i = 0; i < count; i++) {
      this.#cursor ??= this.#byTenant.keys()
      const next = this.#cursor.next()
      if (next.done) {
        this.#cursor = null
        return
      }
      this.#refreshOne(next.value)
    }
  }

  /** Tenants that are remembered. */
  get size(): number {
    return this.#byTenant.size
  }

  #refreshOne(tenant: TenantId): void {
    const before = this.#byTenant.get(tenant)!
    const overrides = this.#provided(tenant)
    if (overrides === 'failed') return
    const now = this.#merge(tenant, overrides)
    if (now === before || sameSettings(now, before)) return
    this.#byTenant.set(tenant, now)
    for (const listener of this.#listeners) listener(tenant, now)
  }

  #remember(tenant: TenantId): TenantSettings {
    if (this.#byTenant.size >= this.#tenantsMax) {
      const oldest = this.#byTenant.keys().next()
      if (!oldest.done) this.#byTenant.delete(oldest.value)
    }
    const overrides = this.#provided(tenant)
    const settings = this.#merge(tenant, overrides === 'failed' ? null : overrides)
    this.#byTenant.set(tenant, settings)
    return settings
  }

  #merge(tenant: TenantId, provided: Partial<TenantSettings> | null): TenantSettings {
    const own = Object.hasOwn(this.#configured, tenant) ? this.#configured[tenant] : undefined
    if (provided === null && (own === undefined || tenant === 'default')) return this.#base
    return { ...this.#base, ...given(own), ...provided }
  }

  /** What the plugin overrides, without what is invalid. After a throw, a tenant keeps what it has. */
  #provided(tenant: TenantId): Partial<TenantSettings> | null | 'failed' {
    const { plugin } = this.#options
    if (plugin === null) return null
    try {
      const overrides = plugin.provide(tenant)
      if (overrides === null || overrides === undefined) return null
      const { settings, errors } = parseSettings(overrides)
      if (errors.length > 0) this.#complain(tenant, errors.join('; '))
      return settings
    } catch (error) {
      this.#complain(tenant, error instanceof Error ? error.message : String(error))
      return 'failed'
    }
  }

  /** One line for every power of two: a broken plugin is broken at every refresh. */
  #complain(tenant: TenantId, problem: string): void {
    this.#pluginFailures++
    if ((this.#pluginFailures & (this.#pluginFailures - 1)) !== 0) return
    const count = this.#pluginFailures
    this.#options.logger.warn({ tenant, problem, count }, 'The settings plugin gave no valid answer; it was ignored')
  }
}

/** Absent keys keep what they had: `{ a: undefined }` must not override. */
function given(overrides: Partial<TenantSettings> | undefined): Partial<TenantSettings> {
  if (overrides === undefined) return {}
  return Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined))
}
