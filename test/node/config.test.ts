import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, expectTypeOf, test } from 'vitest'
import { parse } from 'yaml'
import {
  type Config,
  exampleFile,
  jsonSchema,
  type LoadedConfig,
  loadConfig,
  printConfig,
} from '../../src/node/config/index.ts'

const machine = { hostName: 'box', memoryBytes: 4_000_000_000 }
const folder = mkdtempSync(join(tmpdir(), 'flockmq-config-'))

interface Given {
  yaml?: string
  set?: string[]
  env?: Record<string, string>
}

function load({ yaml, set = [], env = {} }: Given = {}): LoadedConfig {
  const file = yaml === undefined ? null : join(folder, 'my.yml')
  if (file !== null) writeFileSync(file, yaml!)
  return loadConfig({ file, settings: set, environment: env, machine })
}

/** Every line of the error, with the file's folder cut off. */
function problems(given: Given): string[] {
  try {
    load(given)
  } catch (error) {
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
    return (error as Error).message.replaceAll(`${folder}/`, '').split('\n')
  }
  return []
}

test('without anything given every option has its default', () => {
  const { config, origins } = load()
  const roles = ['mqtt', 'dist', 'inbox', 'retain', 'api']
  expect(config.node).toEqual({ name: 'box', zone: null, roles, data: './data', stopSecondsMax: 10 })
  expect(config.cluster).toEqual({
    ...{ name: 'flockmq', host: '127.0.0.1', port: 7946, advertise: null },
    ...{ seeds: [], expect: null, secret: [], insecure: false },
  })
  expect(config.rpc).toEqual({ host: '127.0.0.1', port: 7947, tls: { cert: null, key: null, ca: null } })
  expect(config.api).toEqual({ host: '127.0.0.1', port: 8091, token: null })
  expect(config.log).toEqual({ level: 'info', format: 'pretty' })
  expect(Object.keys(config.mqtt.listeners)).toEqual(['tcp', 'ws'])
  expect(config.mqtt.listeners.tcp).toMatchObject({
    enabled: true,
    type: 'tcp',
    host: '127.0.0.1',
    port: 1883,
    path: null,
  })
  expect(config.mqtt.listeners.ws).toMatchObject({ enabled: true, type: 'ws', port: 8083, path: '/mqtt' })
  expect(config.mqtt.limits.packetBytesMax).toBe(1_048_576)
  expect(config.mqtt.limits.processBytesMax).toBe(3_000_000_000)
  expect(config.mqtt.limits.heldBytesMax).toBe(1_000_000_000)
  expect(config.tenants).toEqual({})
  expect(new Set(origins.values())).toEqual(new Set(['default']))
})

test('the type knows what is filled in', () => {
  expectTypeOf<Config['node']['name']>().toEqualTypeOf<string>()
  expectTypeOf<Config['mqtt']['limits']['processBytesMax']>().toEqualTypeOf<number>()
  expectTypeOf<Config['mqtt']['listeners'][string]['port']>().toEqualTypeOf<number>()
  expectTypeOf<Config['mqtt']['listeners'][string]['type']>().toEqualTypeOf<'tcp' | 'tls' | 'ws' | 'wss' | 'unix'>()
  expectTypeOf<Config['api']['token']>().toEqualTypeOf<string | null>()
})

test('--set comes before the environment, which comes before the file', () => {
  const yaml = 'api: { port: 1001 }\nlog: { level: warn }\nnode: { name: a }\n'
  const env = { FLOCKMQ_API_PORT: '1002', FLOCKMQ_LOG_LEVEL: 'debug', HOME: '/root', FLOCKMQ_CONFIG: 'x.yml' }
  const { config, origins } = load({ yaml, env, set: ['api.port=1', 'api.port=1003'] })
  expect(config.api.port).toBe(1003)
  expect(config.log.level).toBe('debug')
  expect(config.node.name).toBe('a')
  const keys = ['api.port', 'log.level', 'node.name', 'api.host', 'mqtt.listeners.tcp.port']
  expect(keys.map((key) => origins.get(key))).toEqual(['--set', 'env', 'file', 'default', 'default'])
})

test('listeners are merged with the default ones by name', () => {
  const yaml = `
mqtt:
  listeners:
    tcp: { port: 11883 }
    ws: { enabled: false }
    secure: { type: tls, tls: { cert: a.pem, key: b.pem } }
    web: { type: wss, port: 9443, path: /, tls: { cert: a.pem, key: b.pem } }
    local: { type: unix, path: /run/flockmq.sock }
`
  const { listeners } = load({ yaml }).config.mqtt
  expect(listeners.tcp).toMatchObject({ type: 'tcp', port: 11_883, host: '127.0.0.1' })
  expect(listeners.ws).toMatchObject({ type: 'ws', port: 8083, enabled: false })
  expect(listeners.secure).toMatchObject({ type: 'tls', port: 8883, tls: { cert: 'a.pem', requireClientCert: false } })
  expect(listeners.web).toMatchObject({ type: 'wss', port: 9443, path: '/' })
  expect(listeners.local).toMatchObject({ type: 'unix', port: 0, path: '/run/flockmq.sock' })
})

const variables: [Record<string, string>, (config: Config) => unknown, unknown][] = [
  [{ FLOCKMQ_MQTT_LISTENERS_TCP_PORT: '5' }, (config) => config.mqtt.listeners.tcp!.port, 5],
  [{ FLOCKMQ_MQTT_LIMITS_PACKETBYTESMAX: '64KiB' }, (config) => config.mqtt.limits.packetBytesMax, 65_536],
  [{ FLOCKMQ_MQTT_LIMITS_PACKET_BYTES_MAX: '64KiB' }, (config) => config.mqtt.limits.packetBytesMax, 65_536],
  [{ FLOCKMQ_mqtt_limits_turnMsMax: '7ms' }, (config) => config.mqtt.limits.turnMsMax, 7],
  [{ FLOCKMQ_MQTT_LISTENERS_MY_TCP_PORT: '5' }, (config) => config.mqtt.listeners.my_tcp!.port, 5],
  [
    { FLOCKMQ_MQTT_LISTENERS_X_PROXY_PROTOCOL: 'required', FLOCKMQ_MQTT_LISTENERS_X_PORT: '5' },
    (config) => config.mqtt.listeners.x!.proxyProtocol,
    'required',
  ],
  [{ FLOCKMQ_TENANTS_ACME_RECEIVE_MAXIMUM: '9' }, (config) => config.tenants.acme, { receiveMaximum: 9 }],
  [{ FLOCKMQ_PLUGINS_EVENTS: './a.js,./b.js' }, (config) => config.plugins.events, ['./a.js', './b.js']],
  // What Kubernetes sets for services with our name is not ours.
  [{ FLOCKMQ_API_PORT: 'tcp://10.0.0.1:8091', FLOCKMQ_PORT: 'tcp://10.0.0.1:1883' }, (config) => config.api.port, 8091],
  [{ FLOCKMQ_SERVICE_HOST: '10.0.0.1', FLOCKMQ_SERVICE_PORT_MQTT: '1883' }, (config) => config.api.port, 8091],
  [{ FLOCKMQ_PORT_1883_TCP_ADDR: '10.0.0.1', FLOCKMQ_PORT_1883_TCP: 'x' }, (config) => config.api.port, 8091],
]
test.each(variables)('the environment %j', (env, read, value) => {
  expect(read(load({ env }).config)).toEqual(value)
})

test('the environment finds an entry of the file whatever its case', () => {
  const yaml = 'mqtt: { listeners: { Edge-1: { port: 4000 } } }\ntenants: { acme.eu: { receiveMaximum: 5 } }'
  const { config } = load({ yaml, env: { FLOCKMQ_MQTT_LISTENERS_EDGE_1_PORT: '4001' } })
  expect(config.mqtt.listeners['Edge-1']!.port).toBe(4001)
  expect(config.tenants).toEqual({ 'acme.eu': { receiveMaximum: 5 } })
  expect(load({ yaml, set: ['tenants.acme.eu.receiveMaximum=6'] }).config.tenants['acme.eu']).toEqual({
    receiveMaximum: 6,
  })
})

test('listeners of a node without clients need no address of their own, and nobody to ask', () => {
  const yaml = 'mqtt: { listeners: { tcp: { host: 0.0.0.0, port: 8091 } } }'
  expect(load({ yaml, set: ['node.roles=dist,inbox'] }).config.node.roles).toEqual(['dist', 'inbox'])
  expect(() => load({ yaml, set: ['node.roles=mqtt,dist'] })).toThrow(/beyond loopback/)
})

const mistakes: [string, Given, string][] = [
  [
    'a node that can found nothing and knows nobody',
    { set: ['node.roles=mqtt,api'] },
    'node.roles: a node without any of dist, inbox, retain cannot found a cluster; set cluster.seeds to nodes that have them',
  ],
  [
    'a node that does nothing',
    { yaml: 'node: { roles: [] }' },
    'node.roles: is empty; leave it out, and the node does everything',
  ],
  [
    'a wrong key',
    { yaml: 'api:\n  prot: 1' },
    'api.prot (my.yml:2): unknown key; did you mean api.port? (api knows host, port, token)',
  ],
  [
    'a wrong group',
    { yaml: 'mqqt: {}' },
    'mqqt (my.yml:1): unknown key; did you mean mqtt? (the top level knows node, store, cluster, rpc,',
  ],
  [
    'a key at a wrong place',
    { yaml: 'listeners: {}' },
    'listeners (my.yml:1): unknown key; did you mean mqtt.listeners?',
  ],
  ['a wrong key by --set', { set: ['api.prot=1'] }, 'api.prot (--set): unknown key; did you mean api.port?'],
  [
    'a wrong variable',
    { env: { FLOCKMQ_API_PROT: '1' } },
    'api.prot (environment FLOCKMQ_API_PROT): unknown key; did you mean api.port?',
  ],
  [
    'a wrong key of a listener',
    { set: ['mqtt.listeners.x.prot=1'] },
    'mqtt.listeners.x.prot (--set): unknown key; did you mean mqtt.listeners.x.port?',
  ],
  ['a wrong setting', { set: ['tenants.x.recieveMaximum=1'] }, 'did you mean tenants.x.receiveMaximum?'],
  ['nothing near', { set: ['zzzzzz=1'] }, 'zzzzzz (--set): unknown key (the top level knows'],
  ['a value for a group', { set: ['api=1'] }, 'api (--set): holds keys and no value (api knows host, port, token)'],
  [
    'keys under a value',
    { set: ['log.level.x=1'] },
    'log.level.x (--set): log.level is a single value and holds no keys',
  ],
  ['a value in the file for a group', { yaml: 'api: 5' }, 'api (my.yml:1): must hold keys: host, port, token'],
  [
    'a list for a map',
    { yaml: 'mqtt: { listeners: [] }' },
    'mqtt.listeners (my.yml:1): must hold one listener a key, by its name',
  ],
  [
    'a number out of range',
    { yaml: 'api: { port: 70000 }' },
    'api.port (my.yml:1): 70000 is not allowed; must be an integer from 0 to 65535',
  ],
  [
    'a number that is none',
    { set: ['api.port=x'] },
    'api.port (--set): "x" is not allowed; must be an integer from 0 to 65535',
  ],
  [
    'bytes over the cap',
    { set: ['mqtt.limits.packetBytesMax=17MiB'] },
    '"17MiB" is not allowed; must be bytes from 1KiB to 16MiB',
  ],
  [
    'a wrong choice',
    { yaml: 'log: { level: loud }' },
    'log.level (my.yml:1): "loud" is not allowed; must be one of error, warn, info, debug',
  ],
  [
    'secrets are not shown',
    { yaml: 'cluster: { secret: [{ hush: 1 }] }' },
    'cluster.secret (my.yml:1): this value is not',
  ],
  ['a cluster name', { set: ['cluster.name=a b'] }, '"a b" is not allowed; must be 1 to 64 letters'],
  ['a zone', { set: ['node.zone=a b'] }, '"a b" is not allowed; must be 1 to 64 letters'],
  [
    'a secret is not shown',
    { yaml: 'api: { token: [hush] }' },
    'api.token (my.yml:1): this value is not allowed; must be a text',
  ],
  ['--set without value', { set: ['api.port'] }, '--set api.port: must be KEY=VALUE'],
  ['a wrong name', { yaml: 'tenants: { a/b: {} }' }, 'tenants.a/b (my.yml:1): the name "a/b" is not allowed'],
  [
    'a wrong name of a tenant',
    { yaml: 'tenants: { a b: {} }' },
    'tenants.a b: the name is not allowed; must be 1 to 64 letters',
  ],
  ['a name that every object has', { yaml: 'constructor: {}\n' }, 'constructor (my.yml:1): unknown key'],
  ['a dangerous name', { set: ['tenants.__proto__.receiveMaximum=1'] }, 'the name "__proto__" is not allowed'],
  ['broken YAML', { yaml: 'api: {\n' }, 'my.yml:'],
  ['a repeated key', { yaml: 'api: {}\napi: {}\n' }, 'my.yml:2: not valid YAML: Map keys must be unique'],
  ['aliases without end', { yaml: aliases() }, 'my.yml: not valid YAML: Excessive alias count'],
  ['a list as file', { yaml: '- a' }, 'the file (my.yml:1): must hold keys: node, store, cluster'],
]
test.each(mistakes)('%s', (_what, given, line) => {
  const found = problems(given)
  expect(found).toHaveLength(1)
  expect(found[0]).toContain(line)
})

function aliases(): string {
  const lines = ['a: &a [x]']
  for (const [index, name] of [...'bcdefg'].entries()) {
    lines.push(`${name}: &${name} [${Array(9).fill(`*${'abcdef'[index]}`).join(', ')}]`)
  }
  return lines.join('\n')
}

test('a missing file is one line', () => {
  const request = { file: '/nowhere/x.yml', settings: [], environment: {}, machine }
  expect(() => loadConfig(request)).toThrow(
    'Cannot read the configuration file "/nowhere/x.yml": there is no such file',
  )
})

test('all mistakes are told at once', () => {
  const given = { yaml: 'api:\n  port: x\n  prot: 1\n', env: { FLOCKMQ_LOG_LEVEL: 'z' }, set: ['log.format=z', 'x=1'] }
  expect(problems(given).map((line) => line.split(' ')[0])).toEqual([
    'api.port',
    'api.prot',
    'log.level',
    'log.format',
    'x',
  ])
})

const tls = 'mqtt.listeners.s.type=tls'
const cert = ['mqtt.listeners.s.tls.cert=c', 'mqtt.listeners.s.tls.key=k']
const rules: [string, string[], string | null][] = [
  ['tls without certificate', [tls], 'mqtt.listeners.s.tls: a tls listener needs tls.cert and tls.key'],
  ['tls', [tls, ...cert], null],
  ['a disabled listener is not looked at', [tls, 'mqtt.listeners.s.enabled=false'], null],
  [
    'certificates without tls',
    ['mqtt.listeners.tcp.tls.cert=c'],
    'mqtt.listeners.tcp.type: "tcp" takes no certificates',
  ],
  [
    'client certificates without ca',
    [tls, ...cert, 'mqtt.listeners.s.tls.requireClientCert=true'],
    'mqtt.listeners.s.tls.ca: is needed',
  ],
  [
    'tenant from a certificate',
    [tls, ...cert, 'mqtt.listeners.s.tls.tenantFromCert=o'],
    'needs tls.requireClientCert: true',
  ],
  ['unix without path', ['mqtt.listeners.u.type=unix'], 'mqtt.listeners.u.path: is needed with type unix'],
  ['a ws path', ['mqtt.listeners.ws.path=mqtt'], '"mqtt" is not allowed; the path of a ws listener must begin with /'],
  ['a tcp path', ['mqtt.listeners.tcp.path=/x'], 'mqtt.listeners.tcp.path: a tcp listener has no path'],
  [
    'one address twice',
    ['mqtt.listeners.ws.port=1883'],
    'mqtt.listeners.ws: 127.0.0.1:1883 is used by mqtt.listeners.tcp too',
  ],
  ['the address of the api', ['api.port=1883'], 'mqtt.listeners.tcp: 127.0.0.1:1883 is used by api.port too'],
  ['free ports', ['mqtt.listeners.ws.port=0', 'mqtt.listeners.tcp.port=0', 'api.port=0'], null],
  ['an open api', ['api.host=0.0.0.0'], 'api.host: "0.0.0.0" is beyond loopback: set api.token'],
  ['an api with token', ['api.host=0.0.0.0', 'api.token=t'], null],
  ['an api on loopback', ['api.host=::1'], null],
  [
    'everybody from everywhere',
    ['mqtt.listeners.tcp.host=0.0.0.0'],
    'mqtt.listeners.tcp.host: "0.0.0.0" is beyond loopback and plugins.auth is none',
  ],
  ['everybody, as asked', ['mqtt.listeners.tcp.host=0.0.0.0', 'plugins.authNone.beyondLoopback=true'], null],
  ['a module decides', ['mqtt.listeners.tcp.host=0.0.0.0', 'plugins.auth=./auth.js'], null],
  ['a name may be anywhere', ['mqtt.listeners.tcp.host=127.0.0.1.example.org'], 'is beyond loopback'],
  [
    'users from certificates without ca',
    [tls, ...cert, 'mqtt.listeners.s.tls.userFromCert=cn'],
    'mqtt.listeners.s.tls.ca: is needed with tls.userFromCert',
  ],
  [
    'a cluster beyond loopback',
    ['cluster.host=0.0.0.0'],
    'cluster.host: "0.0.0.0" is beyond loopback: set cluster.secret',
  ],
  ['links beyond loopback', ['rpc.host=::'], 'rpc.host: "::" is beyond loopback: set cluster.secret or rpc.tls'],
  ['a cluster with a secret', ['cluster.host=0.0.0.0', 'cluster.secret=s'], null],
  [
    'a cluster with certificates',
    ['cluster.host=::', ...['cert', 'key', 'ca'].map((name) => `rpc.tls.${name}=x`)],
    null,
  ],
  ['a cluster for anybody, as asked', ['cluster.host=0.0.0.0', 'cluster.insecure=true'], null],
  ['a cluster on loopback', ['cluster.host=::1'], null],
  ['half a certificate', ['rpc.tls.cert=x', 'rpc.tls.ca=x'], 'rpc.tls: needs cert, key and ca'],
  ['a seed that is none', ['cluster.seeds=a:1,b:c'], 'cluster.seeds: "b:c" is not allowed; must be host:port'],
  ['seeds', ['cluster.seeds=a:1,[::1]:2,10.0.0.1'], null],
  [
    'an advertised address',
    ['cluster.advertise=:7'],
    'cluster.advertise: ":7" is not allowed; must be host, host:port',
  ],
  [
    'too many secrets',
    [`cluster.secret=${'abcdefghi'.split('').join(',')}`],
    'cluster.secret: must be at most 8 texts',
  ],
  ['gossip where links are', ['rpc.port=7946'], 'rpc.port: 127.0.0.1:7946 is used by cluster.port too'],
  ['clients where gossip is', ['mqtt.listeners.tcp.port=7946'], '127.0.0.1:7946 is used by cluster.port too'],
  ['any port', ['cluster.port=0', 'rpc.port=0'], null],
  ['a file without path', ['plugins.auth=file'], 'plugins.authFile.path: is needed'],
]
test.each(rules)('rule: %s', (_what, set, line) => {
  const found = problems({ set })
  if (line === null) expect(found).toEqual([])
  else expect(found).toEqual([expect.stringContaining(line)])
})

test('config print gives every value with its source, and no secret', () => {
  const loaded = load({ set: ['api.token=hush', 'tenants.acme.receiveMaximum=5'], env: { FLOCKMQ_API_PORT: '1' } })
  const text = printConfig(loaded, 'yaml')
  expect(text).toContain('  port: 1 # env\n')
  expect(text).toContain("  token: '********' # --set\n")
  expect(text).toContain('  acme:\n    receiveMaximum: 5 # --set\n')
  expect(text).not.toContain('hush')
  expect(parse(text).mqtt).toEqual(loaded.config.mqtt)
  const json = JSON.parse(printConfig(loaded, 'json'))
  expect(json.config.api).toEqual({ host: '127.0.0.1', port: 1, token: '********' })
  expect(json.sources['api.port']).toBe('env')
  expect(loaded.config.api.token).toBe('hush')
})

test('what config print prints can be loaded again', () => {
  const { config } = load({ set: ['mqtt.listeners.x.port=4000', 'plugins.events=./a.js', 'tenants.a.queueQos0=true'] })
  expect(load({ yaml: printConfig(load({ yaml: JSON.stringify(config) }), 'yaml') }).config).toEqual(config)
})

test('secrets of a cluster are a ring: in order, and not printed', () => {
  const loaded = load({ env: { FLOCKMQ_CLUSTER_SECRET: 'hush,hash' } })
  expect(loaded.config.cluster.secret).toEqual(['hush', 'hash'])
  expect(load({ yaml: 'cluster: { secret: one }' }).config.cluster.secret).toEqual(['one'])
  expect(printConfig(loaded, 'yaml')).toContain("  secret: [ '********', '********' ] # env\n")
  for (const format of ['yaml', 'json'] as const) expect(printConfig(loaded, format)).not.toMatch(/hush|hash/)
})

test('links listen where gossip does, unless told otherwise', () => {
  const set = ['cluster.host=10.0.0.1', 'cluster.secret=s']
  expect(load({ set }).config.rpc.host).toBe('10.0.0.1')
  expect(load({ set: [...set, 'rpc.host=127.0.0.1'] }).config.rpc.host).toBe('127.0.0.1')
})

test('the files in conf are in step with the schema', () => {
  expect(readFileSync('conf/standalone.yml', 'utf8')).toBe(exampleFile())
  expect(readFileSync('conf/cluster.yml', 'utf8')).toBe(exampleFile('cluster'))
})

test('conf/cluster.yml wants nothing but a secret', () => {
  const yaml = exampleFile('cluster')
  expect(problems({ yaml })).toEqual([
    expect.stringContaining('cluster.host: "0.0.0.0" is beyond loopback: set cluster.secret'),
  ])
  const { config, origins } = load({ yaml, env: { FLOCKMQ_CLUSTER_SECRET: 's' } })
  const seeds = ['node-1:7946', 'node-2:7946', 'node-3:7946']
  expect(config.cluster).toMatchObject({ host: '0.0.0.0', seeds, expect: 3, secret: ['s'] })
  expect([...origins].filter(([, source]) => source === 'file').map(([key]) => key)).toEqual([
    'cluster.host',
    'cluster.seeds',
    'cluster.expect',
  ])
  const rest = load({ set: ['cluster.host=0.0.0.0', `cluster.seeds=${seeds}`, 'cluster.expect=3', 'cluster.secret=s'] })
  expect({ ...config, tenants: {} }).toEqual(rest.config)
})

test('the example file changes nothing, and neither does it with every line taken in', () => {
  const { config } = load()
  expect({ ...load({ yaml: exampleFile() }).config, tenants: {} }).toEqual(config)
  const taken = exampleFile().replaceAll(/^(\s*)#(\w+:)/gm, '$1$2')
  expect(taken).not.toBe(exampleFile())
  const full = load({ yaml: taken })
  expect({ ...full.config, tenants: {} }).toEqual(config)
  expect(full.config.tenants.default).toMatchObject({ mqtt5Enabled: true, maximumQos: 2 })
  expect(full.origins.get('mqtt.limits.turnMsMax')).toBe('file')
})

test('the JSON Schema knows every key, its limits and its sentence', () => {
  // biome-ignore lint/suspicious/noExplicitAny: a JSON document.
  const schema = jsonSchema() as any
  expect(schema.additionalProperties).toBe(false)
  expect(schema.properties.api.properties.port).toMatchObject({
    default: 8091,
    type: ['integer', 'null'],
    maximum: 65_535,
  })
  expect(schema.properties.api.properties.token).toMatchObject({ writeOnly: true })
  expect(schema.properties.cluster.properties.secret).toMatchObject({ writeOnly: true, type: ['array', 'null'] })
  expect(schema.properties.log.properties.level.enum).toContain('warn')
  const size = schema.properties.mqtt.properties.limits.properties.packetBytesMax
  expect(new RegExp(size.anyOf[1].pattern).test('64KiB')).toBe(true)
  const listener = schema.properties.mqtt.properties.listeners.additionalProperties
  expect(listener.properties.tls.properties.cert.description).toContain('PEM')
})
