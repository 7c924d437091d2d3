import { describe, expect, expectTypeOf, test } from 'vitest'
import type { OptionValues } from '../../src/base/option.ts'
import type { SettingsPlugin, TenantSettings } from '../../src/plugin/index.ts'
import { defaultSettings, parseSettings, SETTINGS, SettingsSource, validateSettings } from '../../src/plugin/index.ts'
import { recordingLogger, tenant } from './helpers.ts'

const MIB = 1024 * 1024

describe('the table', () => {
  test('describes exactly the settings, with their types', () => {
    expectTypeOf<OptionValues<typeof SETTINGS>>().toEqualTypeOf<TenantSettings>()
    expect(Object.keys(defaultSettings())).toEqual(Object.keys(SETTINGS))
  })

  test('every default is valid, live and explained', () => {
    expect(validateSettings(defaultSettings() as unknown as Record<string, unknown>)).toEqual([])
    for (const [name, option] of Object.entries(SETTINGS)) {
      expect(option.live, name).toBe(true)
      expect(option.sentence, name).toMatch(/^[A-Z].+\.$/)
    }
  })

  test('plain clients work unchanged', () => {
    expect(defaultSettings()).toMatchObject({
      mqtt31Enabled: true,
      mqtt311Enabled: true,
      mqtt5Enabled: true,
      maximumQos: 2,
      retainEnabled: true,
      wildcardSubscriptionEnabled: true,
      sharedSubscriptionEnabled: true,
      keepAliveSecondsMin: 0,
      keepAliveSecondsMax: 0,
      serverKeepAliveSeconds: 0,
      topicBytesMax: 65_535,
      willBytesMax: 65_535,
      packetBytesMax: MIB,
      forceTransient: false,
      durability: 'quorum-sync',
    })
    expect(SETTINGS.packetBytesMax.max).toBe(16 * MIB)
  })
})

describe('validation', () => {
  test.each([
    [{ maximumQos: 3 }, 'Setting "maximumQos" must be one of 0, 1, 2, not 3'],
    [{ packetBytesMax: 17 * MIB }, 'from 1KiB to 16MiB'],
    [{ receiveMaximum: 0 }, 'Setting "receiveMaximum" must be'],
    [{ retainEnabled: 'perhaps' }, 'Setting "retainEnabled" must be'],
    [{ durability: 'always' }, 'one of quorum-sync, quorum-mem, none'],
    [{ queueBytes: 1 }, 'Unknown setting "queueBytes"'],
    [{ toString: 1 }, 'Unknown setting "toString"'],
  ])('%j', (overrides, problem) => {
    expect(validateSettings(overrides)).toEqual([expect.stringContaining(problem)])
  })

  test('understands units and texts, and keeps what is valid', () => {
    const given = { packetBytesMax: '2MiB', sessionExpirySecondsMax: '1d', maximumQos: '1', retainEnabled: 'no way' }
    const { settings, errors } = parseSettings({ ...given, queueQos0: undefined })
    expect(settings).toEqual({ packetBytesMax: 2 * MIB, sessionExpirySecondsMax: 86_400, maximumQos: 1 })
    expect(errors).toHaveLength(1)
  })
})

describe('the source', () => {
  const acme = tenant('acme')
  const other = tenant('other')
  const source = (
    configured: Record<string, Partial<TenantSettings>> = {},
    plugin: SettingsPlugin | null = null,
    tenantsMax?: number,
  ) => {
    const logger = recordingLogger()
    const options = { configured, plugin, logger, ...(tenantsMax === undefined ? {} : { tenantsMax }) }
    return { settings: new SettingsSource(options), logger }
  }

  test('defaults < tenants.default < tenants.NAME < plugin', () => {
    const configured = {
      default: { maximumQos: 1, topicAliasMax: 1, receiveMaximum: 10 },
      acme: { topicAliasMax: 2, receiveMaximum: 20 },
    } as const
    const plugin: SettingsPlugin = { provide: (name) => (name === acme ? { receiveMaximum: 30 } : null) }
    const { settings } = source(configured, plugin)
    expect(settings.of(acme)).toMatchObject({ maximumQos: 1, topicAliasMax: 2, receiveMaximum: 30 })
    expect(settings.of(other)).toMatchObject({ maximumQos: 1, topicAliasMax: 1, receiveMaximum: 10 })
    expect(settings.of(tenant('default'))).toBe(settings.of(other))
    expect(settings.of(other).packetBytesMax).toBe(MIB)
  })

  test('gives the same object until a value changes, then tells of the new one', () => {
    let qos: 0 | 1 = 1
    const { settings } = source({}, { provide: (name) => (name === acme ? { maximumQos: qos } : null) })
    const told: string[] = []
    const end = settings.onChange((name, now) => told.push(`${name} ${now.maximumQos}`))
    const before = settings.of(acme)
    settings.of(other)
    settings.refresh()
    expect(settings.of(acme)).toBe(before)
    qos = 0
    expect(settings.of(acme)).toBe(before)
    settings.refresh()
    expect(settings.of(acme).maximumQos).toBe(0)
    expect(before.maximumQos).toBe(1)
    expect(told).toEqual(['acme 0'])
    end()
    qos = 1
    settings.refresh()
    expect(told).toHaveLength(1)
  })

  test('a new configuration replaces only what it changes', () => {
    const { settings } = source({ acme: { maximumQos: 1 } })
    const [before, beforeOther] = [settings.of(acme), settings.of(other)]
    settings.configure({ acme: { maximumQos: 1 } })
    expect(settings.of(acme)).toBe(before)
    settings.configure({ acme: { maximumQos: 2 } })
    expect(settings.of(acme)).not.toBe(before)
    expect(settings.of(other)).toBe(beforeOther)
    settings.configure({ default: { topicAliasMax: 3 } })
    expect(settings.of(other).topicAliasMax).toBe(3)
    expect(settings.of(tenant('new')).topicAliasMax).toBe(3)
  })

  test('a refresh in steps reaches every tenant, also those that come meanwhile', () => {
    let qos: 0 | 1 = 1
    const { settings } = source({}, { provide: () => ({ maximumQos: qos }) })
    const tenants = Array.from({ length: 10 }, (_, i) => tenant(`t${i}`))
    for (const name of tenants) settings.of(name)
    qos = 0
    settings.refreshNext(4)
    expect(tenants.map((name) => settings.of(name).maximumQos)).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    for (let i = 0; i < 2; i++) settings.refreshNext(4)
    expect(tenants.every((name) => settings.of(name).maximumQos === 0)).toBe(true)
    qos = 1
    for (let i = 0; i < 3; i++) settings.refreshNext(4)
    expect(tenants.every((name) => settings.of(name).maximumQos === 1)).toBe(true)
  })

  test('remembers a bounded number of tenants', () => {
    let asked = 0
    const plugin = {
      provide: () => {
        asked++
        return { maximumQos: 1 as const }
      },
    }
    const { settings } = source({}, plugin, 3)
    for (let i = 0; i < 10; i++) settings.of(tenant(`t${i}`))
    expect(settings.size).toBe(3)
    expect(asked).toBe(10)
    settings.of(tenant('t9'))
    expect(asked).toBe(10)
  })

  test('a plugin that throws or gives nonsense takes nothing away', () => {
    let answer: () => Partial<TenantSettings> | null = () => ({ maximumQos: 1 })
    const { settings, logger } = source({}, { provide: () => answer() })
    settings.of(acme)
    answer = () => {
      throw new Error('database gone')
    }
    settings.refresh()
    expect(settings.of(acme).maximumQos).toBe(1)
    expect(settings.of(other).maximumQos).toBe(2)
    answer = () => ({ maximumQos: 7, topicAliasMax: 5, nonsense: 1 }) as unknown as Partial<TenantSettings>
    settings.refresh()
    expect(settings.of(acme)).toMatchObject({ maximumQos: 2, topicAliasMax: 5 })
    expect(Object.keys(settings.of(acme))).toEqual(Object.keys(SETTINGS))
    expect(settings.pluginFailures).toBe(4)
    expect(logger.lines.map((line) => line.fields.problem)).toEqual([
      'database gone',
      'database gone',
      expect.stringContaining('"maximumQos"'),
    ])
  })

  test('a tenant may be called like a member of every object', () => {
    const { settings } = source({})
    expect(settings.of(tenant('constructor'))).toBe(settings.of(other))
    expect(settings.of(tenant('__proto__')).maximumQos).toBe(2)
  })
})
