import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { CircuitBreaker } from '../../src/plugin/circuit-breaker.ts'
import {
  AuthGate,
  type AuthPlugin,
  type AuthResult,
  EventBus,
  type ExtendedAuthRequest,
  type PluginHostOptions,
  startPlugins,
} from '../../src/plugin/index.ts'
import { authRequest, figuresOf, ManualClock, recordingLogger, temporaryFolder, tenant } from './helpers.ts'

const never = () => new Promise<never>(() => {})
const throws = (message: string) => (): never => {
  throw new Error(message)
}
const ACCEPTED = {
  result: 'accepted' as const,
  identity: {
    tenant: tenant('acme'),
    user: 'u',
    attributes: {},
    permissions: { all: false, publish: () => true, subscribe: () => true, receive: () => true },
  },
}

function gate(plugin: Partial<AuthPlugin>, trusted = false) {
  const clock = new ManualClock()
  const logger = recordingLogger()
  const events = new EventBus({ clock, logger })
  const failures: unknown[] = []
  events.add({ name: 'f', types: ['plugin.failed'], report: (event) => failures.push(event.detail.reason) })
  const full = { name: 'mine', generation: 0, authenticate: () => ACCEPTED, ...plugin }
  const auth = new AuthGate(full, { clock, logger, events, trusted, pendingMax: 50, failuresMax: 5, openMs: 1_000 })
  return { auth, clock, logger, failures }
}

describe('the gate', () => {
  test('lets answers through, at once or later', async () => {
    expect(gate({}).auth.authenticate(authRequest())).toMatchObject({
      result: 'accepted',
      identity: { tenant: 'acme', user: 'u' },
    })
    const refused = { result: 'refused' as const, reasonCode: 0x8a, reason: 'banned' }
    expect(gate({ authenticate: () => refused }).auth.authenticate(authRequest())).toEqual(refused)
    const later = gate({ authenticate: async () => ACCEPTED })
    expect(await later.auth.authenticate(authRequest())).toMatchObject({ result: 'accepted' })
    expect(later.clock.pending).toBe(0)
  })

  test('gives what is trusted through untouched', () => {
    expect(gate({}, true).auth.authenticate(authRequest())).toBe(ACCEPTED)
  })

  const odd = (answer: unknown) => () => answer as AuthResult
  const identity = (change: object) => odd({ ...ACCEPTED, identity: { ...ACCEPTED.identity, ...change } })
  test.each([
    ['a throw', throws('bug'), 'throw'],
    ['a rejection', async () => throws('bug')(), 'throw'],
    ['nothing', odd(undefined), 'shape'],
    ['null', odd(null), 'shape'],
    ['true', odd(true), 'shape'],
    ['an unknown result', odd({ result: 'yes' }), 'shape'],
    ['a promise of nonsense', odd(Promise.resolve('yes')), 'shape'],
    ['a refusal with a code of success', odd({ result: 'refused', reasonCode: 0, reason: '' }), 'shape'],
    ['no identity', odd({ result: 'accepted' }), 'shape'],
    ['a tenant with a slash', identity({ tenant: 'a/b' }), 'shape'],
    ['no tenant', identity({ tenant: undefined }), 'shape'],
    ['no permissions', identity({ permissions: null }), 'shape'],
    ['permissions without a check', identity({ permissions: { all: false, publish: () => true } }), 'shape'],
    [
      'permissions that are not sure',
      identity({ permissions: { ...ACCEPTED.identity.permissions, all: 'yes' } }),
      'shape',
    ],
  ])('%s is a refusal: 0x88', async (_, authenticate, reason) => {
    const { auth, failures } = gate({ authenticate })
    expect(await auth.authenticate(authRequest())).toMatchObject({ result: 'refused', reasonCode: 0x88 })
    expect(failures).toEqual([reason])
    expect(figuresOf(auth)[`flockmq_plugin_failures_total{plugin=mine,reason=${reason}}`]).toBe(1)
  })

  test('an answer that is late is a refusal, and is not heard any more when it comes', async () => {
    let answer: (result: AuthResult) => void = () => {}
    const { auth, clock, failures } = gate({ authenticate: () => new Promise((resolve) => (answer = resolve)) })
    const result = auth.authenticate(authRequest())
    clock.advance(4_999)
    expect(figuresOf(auth)['flockmq_plugin_pending{plugin=mine}']).toBe(1)
    clock.advance(1)
    answer(ACCEPTED)
    expect(await result).toMatchObject({ reasonCode: 0x88 })
    expect(failures).toEqual(['timeout'])
    expect(figuresOf(auth)['flockmq_plugin_pending{plugin=mine}']).toBe(0)
    expect(clock.pending).toBe(0)
  })

  test('a stalled plugin gets no more than so many questions', async () => {
    const { auth, clock, failures } = gate({ authenticate: never })
    const results = Array.from({ length: 60 }, () => auth.authenticate(authRequest()))
    expect(results.filter((result) => result instanceof Promise)).toHaveLength(50)
    expect(failures).toEqual(Array.from({ length: 10 }, () => 'overload'))
    clock.advance(5_000)
    for (const result of await Promise.all(results)) expect(result).toMatchObject({ reasonCode: 0x88 })
  })

  test('after failures in a row it is left alone, then tried once', () => {
    let works = false
    let asked = 0
    const { auth, clock, failures } = gate({
      authenticate: () => {
        asked++
        return works ? ACCEPTED : throws('down')()
      },
    })
    for (let i = 0; i < 20; i++) void auth.authenticate(authRequest())
    expect(asked).toBe(5)
    expect(failures.filter((reason) => reason === 'circuit-open')).toHaveLength(15)
    expect(figuresOf(auth)['flockmq_plugin_circuit_open{plugin=mine}']).toBe(1)
    clock.advance(1_000)
    void auth.authenticate(authRequest())
    void auth.authenticate(authRequest())
    expect(asked).toBe(6)
    works = true
    clock.advance(1_000)
    for (let i = 0; i < 3; i++) expect(auth.authenticate(authRequest())).toMatchObject({ result: 'accepted' })
    expect(figuresOf(auth)['flockmq_plugin_circuit_open{plugin=mine}']).toBe(0)
  })

  test('checks that throw, stall or answer nonsense are denials', async () => {
    const { auth, clock } = gate({
      authenticate: () => ({
        ...ACCEPTED,
        identity: {
          ...ACCEPTED.identity,
          permissions: {
            all: false,
            publish: never,
            subscribe: (filter) => (filter === 'ok' ? Promise.resolve(true) : throws('bug')()),
            receive: (topic) =>
              topic === 'ok' ? true : topic === 'odd' ? ('yes' as unknown as boolean) : throws('bug')(),
          },
        },
      }),
    })
    const result = auth.authenticate(authRequest()) as Extract<AuthResult, { result: 'accepted' }>
    const { permissions } = result.identity
    const published = permissions.publish('t', 0, false)
    clock.advance(5_000)
    expect(await published).toBe(false)
    expect([await permissions.subscribe('ok', 0), permissions.subscribe('x', 0)]).toEqual([true, false])
    expect([permissions.receive('ok'), permissions.receive('odd'), permissions.receive('x')]).toEqual([
      true,
      false,
      false,
    ])
    expect(permissions.all).toBe(false)
  })

  test('enhanced authentication is there only where the plugin has it', async () => {
    expect(gate({}).auth.authenticateExtended).toBeUndefined()
    const request = {
      ...authRequest(),
      method: 'M',
      data: null,
      exchange: {},
      reauthentication: false,
    } satisfies ExtendedAuthRequest
    const more = { result: 'continue' as const, data: Buffer.from('x') }
    expect(await gate({ authenticateExtended: async () => more }).auth.authenticateExtended!(request)).toEqual(more)
    const broken = gate({ authenticateExtended: throws('bug') as never }).auth
    expect(await broken.authenticateExtended!(request)).toMatchObject({ result: 'refused', reasonCode: 0x88 })
    const odd = gate({ authenticateExtended: async () => ({ result: 'continue', data: 'text' }) as never }).auth
    expect(await odd.authenticateExtended!(request)).toMatchObject({ reasonCode: 0x88 })
  })
})

test('the circuit breaker lets one call through at a time after its rest', () => {
  const breaker = new CircuitBreaker(2, 100)
  breaker.failed(0)
  expect(breaker.allows(0)).toBe(true)
  breaker.failed(0)
  expect([breaker.allows(99), breaker.allows(100), breaker.allows(100)]).toEqual([false, true, false])
  breaker.failed(100)
  expect([breaker.allows(199), breaker.allows(200)]).toEqual([false, true])
  breaker.succeeded()
  expect([breaker.allows(200), breaker.open, breaker.failuresTotal, breaker.sparedTotal]).toEqual([true, false, 3, 3])
})

describe('the host', () => {
  async function start(files: Record<string, string>, options: Partial<PluginHostOptions>) {
    const folder = temporaryFolder()
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    const clock = new ManualClock()
    const logger = recordingLogger()
    const plugins = await startPlugins({ auth: 'none', tenants: {}, folder, clock, logger, ...options })
    onTestFinished(async () => {
      await plugins.stop()
      expect(clock.pending).toBe(0)
    })
    return { plugins, clock, logger, folder }
  }

  test('the built-ins', async () => {
    const { plugins } = await start({}, { tenants: { acme: { maximumQos: 1 } } })
    expect(plugins.auth.authenticate(authRequest())).toMatchObject({ result: 'accepted' })
    expect(plugins.settings.of(tenant('acme')).maximumQos).toBe(1)
    expect(plugins.throttle.hasResource(tenant('acme'), 'connections')).toBe(true)
    expect(plugins.balancer.redirect({ tenant: tenant('acme'), clientId: 'c', address: '' })).toBeNull()
    expect(figuresOf(plugins)['flockmq_plugin_calls_total{plugin=none}']).toBe(1)
  })

  test('auth file, with paths from the folder', async () => {
    const { plugins } = await start(
      { 'u.yml': 'users: []\nanonymous: allow' },
      { auth: 'file', authFile: { path: './u.yml', acl: null } },
    )
    expect(plugins.auth.name).toBe('file')
    expect(plugins.auth.authenticate(authRequest())).toMatchObject({ result: 'accepted' })
    expect(figuresOf(plugins)).toHaveProperty('flockmq_auth_users', 0)
  })

  test('modules: an object, a function that makes one, CommonJS', async () => {
    const auth =
      "export default { name: 'my', generation: 0, authenticate: () => ({ result: 'refused', reasonCode: 0x87, reason: 'no' }) }"
    const events =
      'export default async ({ logger }) => ({ types: ["client.connected"], report: (event) => logger.info(event, "seen") })'
    const throttle = 'module.exports = { hasResource: (tenant, resource) => resource !== "connections" }'
    const balancer =
      'export default { redirect: ({ clientId }) => clientId === "odd" ? { reference: 7 } : { permanent: true, reference: "there" } }'
    const settings =
      'let qos = 1; export default { provide: () => ({ maximumQos: qos }) }; export const set = (to) => { qos = to }'
    const { plugins, logger, clock, folder } = await start(
      {
        'auth.mjs': auth,
        'events.mjs': events,
        'throttle.cjs': throttle,
        'balancer.mjs': balancer,
        'settings.mjs': settings,
      },
      {
        auth: './auth.mjs',
        events: ['./events.mjs'],
        throttle: './throttle.cjs',
        balancer: './balancer.mjs',
        settings: './settings.mjs',
      },
    )
    expect(plugins.auth.authenticate(authRequest())).toMatchObject({ reasonCode: 0x87 })
    plugins.events.report('client.connected', tenant('t'), 'c', 0, {})
    expect(logger.lines.at(-1)).toMatchObject({ message: 'seen', fields: { clientId: 'c' } })
    expect(plugins.throttle.hasResource(tenant('t'), 'connections')).toBe(false)
    const redirect = (clientId: string) => plugins.balancer.redirect({ tenant: tenant('t'), clientId, address: '' })
    expect([redirect('c'), redirect('odd')]).toEqual([{ permanent: true, reference: 'there' }, null])
    expect(plugins.settings.of(tenant('t')).maximumQos).toBe(1)
    const { set } = (await import(join(folder, 'settings.mjs'))) as { set: (to: number) => void }
    set(0)
    clock.advance(5_100)
    expect(plugins.settings.of(tenant('t')).maximumQos).toBe(0)
  })

  test.each([
    ['a missing module', {}, { auth: './none.mjs' }, 'Cannot load auth plugin "./none.mjs": '],
    ['a missing package', {}, { auth: 'no-such-package' }, 'Cannot load auth plugin "no-such-package": '],
    ['a module that throws', { 'a.mjs': 'throw new Error("no licence")' }, { auth: './a.mjs' }, 'no licence'],
    ['a syntax error', { 'a.mjs': 'export default {' }, { auth: './a.mjs' }, 'Cannot load auth plugin'],
    [
      'no default export',
      { 'a.mjs': 'export const a = 1' },
      { auth: './a.mjs' },
      'its default export must be the plugin',
    ],
    ['a missing function', { 'a.mjs': 'export default {}' }, { auth: './a.mjs' }, 'it has no function "authenticate"'],
    [
      'a wrong member',
      { 'a.mjs': 'export default { authenticate() {}, stop: 1 }' },
      { auth: './a.mjs' },
      'it has no function "stop"',
    ],
    [
      'a maker that fails',
      { 'a.mjs': 'export default async () => { throw new Error("no key") }' },
      { auth: './a.mjs' },
      'no key',
    ],
    [
      'a start that fails',
      {
        'a.mjs':
          'export default { name: "a", generation: 0, authenticate() {}, start() { throw new Error("no port") } }',
      },
      { auth: './a.mjs' },
      'Cannot start auth plugin "a": no port',
    ],
    [
      'an event plugin without report',
      { 'a.mjs': 'export default {}' },
      { events: ['./a.mjs'] },
      'Cannot load event plugin "./a.mjs": it has no function "report"',
    ],
    [
      'an unknown event',
      { 'a.mjs': 'export default { types: ["x"], report() {} }' },
      { events: ['./a.mjs'] },
      'it wants events of type "x"',
    ],
    [
      'a settings plugin without provide',
      { 'a.mjs': 'export default {}' },
      { settings: './a.mjs' },
      'it has no function "provide"',
    ],
  ] as [string, Record<string, string>, Partial<PluginHostOptions>, string][])(
    '%s stops the start',
    async (_, files, options, problem) => {
      await expect(start(files, options)).rejects.toMatchObject({
        code: 'PLUGIN_FAILED',
        message: expect.stringContaining(problem),
      })
    },
  )

  test('auth file without a file stops the start', async () => {
    await expect(start({}, { auth: 'file', authFile: { path: null, acl: null } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
    await expect(start({}, { auth: 'file', authFile: { path: './no.yml', acl: null } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })

  test('a plugin that does not stop, or throws at it, keeps nobody from stopping', async () => {
    const stalls = 'export default { types: [], report() {}, stop: () => new Promise(() => {}) }'
    const throws = 'export default { types: [], report() {}, stop() { throw new Error("no") } }'
    const { plugins, clock } = await start({ 'a.mjs': stalls, 'b.mjs': throws }, { events: ['./b.mjs', './a.mjs'] })
    const stopped = plugins.stop()
    clock.advance(5_000)
    await stopped
  })
})
