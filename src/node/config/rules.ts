import { parseEndpoint } from '../../cluster/underlay/shell/addresses.ts'
import { SECRETS_MAX } from '../../cluster/underlay/shell/envelope.ts'
import { isTenantName } from '../../plugin/auth/identity.ts'
import { isLoopback } from '../../plugin/auth/none.ts'
import { isStateful, STATEFUL_ROLES } from '../roles.ts'
import type { Config, ListenerConfig } from './schema.ts'

/** What one option cannot say of itself: options that need or exclude each other. One line for each mistake. */
export function checkRules(config: Config): string[] {
  const problems: string[] = []
  const listeners = Object.entries(config.mqtt.listeners).filter(([, listener]) => {
    return listener.enabled && config.node.roles.includes('mqtt')
  })
  for (const [name, listener] of listeners) problems.push(...checkListener(`mqtt.listeners.${name}`, listener))
  problems.push(...checkAddresses(config, listeners), ...checkExposure(config, listeners))
  problems.push(...checkCluster(config), ...checkRoles(config))
  if (config.plugins.auth === 'file' && config.plugins.authFile.path === null) {
    problems.push("plugins.authFile.path: is needed with plugins.auth: 'file'; write the file with `flockmq passwd`")
  }
  for (const service of ['dist', 'inbox', 'retain'] as const) {
    const { replicas } = config[service]
    if (replicas % 2 === 0) problems.push(`${service}.replicas: ${replicas} is not allowed; must be 1, 3, 5, 7 or 9`)
  }
  for (const name of Object.keys(config.tenants)) {
    if (isTenantName(name)) continue
    problems.push(`tenants.${name}: the name is not allowed; must be 1 to 64 letters, digits and _ . : @ -`)
  }
  return problems
}

function checkListener(key: string, listener: ListenerConfig): string[] {
  const problems: string[] = []
  const { type, tls, path } = listener
  const secure = type === 'tls' || type === 'wss'
  if (secure && (tls.cert === null || tls.key === null)) {
    problems.push(`${key}.tls: a ${type} listener needs tls.cert and tls.key, two PEM files`)
  }
  if (!secure && (tls.cert !== null || tls.key !== null || tls.ca !== null)) {
    problems.push(`${key}.type: "${type}" takes no certificates; must be tls or wss, or leave out the tls options`)
  }
  if (tls.requireClientCert && tls.ca === null) {
    problems.push(`${key}.tls.ca: is needed with tls.requireClientCert: the authorities that sign clients`)
  }
  if (tls.userFromCert !== 'none' && tls.ca === null) {
    problems.push(`${key}.tls.ca: is needed with tls.userFromCert: the authorities that sign clients`)
  }
  if (tls.tenantFromCert !== 'none' && !tls.requireClientCert) {
    problems.push(`${key}.tls.tenantFromCert: needs tls.requireClientCert: true, or a client could leave it out`)
  }
  if (type === 'unix' && path === null) problems.push(`${key}.path: is needed with type unix: the file of the socket`)
  if ((type === 'ws' || type === 'wss') && path !== null && !path.startsWith('/')) {
    problems.push(`${key}.path: "${path}" is not allowed; the path of a ${type} listener must begin with /`)
  }
  if ((type === 'tcp' || type === 'tls') && path !== null) {
    problems.push(`${key}.path: a ${type} listener has no path; leave it out, or use ws, wss or unix`)
  }
  return problems
}

function checkRoles({ node, cluster }: Config): string[] {
  if (node.roles.length === 0) return ['node.roles: is empty; leave it out, and the node does everything']
  if (isStateful(node.roles) || cluster.seeds.length > 0) return []
  return [
    `node.roles: a node without any of ${STATEFUL_ROLES.join(', ')} cannot found a cluster; ` +
      'set cluster.seeds to nodes that have them',
  ]
}

function checkCluster({ cluster, rpc }: Config): string[] {
  const problems: string[] = []
  const { cert, key, ca } = rpc.tls
  const parts = [cert, key, ca].filter((file) => file !== null).length
  if (parts !== 0 && parts !== 3) problems.push('rpc.tls: needs cert, key and ca, three PEM files, or none of them')
  for (const seed of cluster.seeds) {
    if (parseEndpoint(seed, 1) !== null) continue
    problems.push(`cluster.seeds: "${seed}" is not allowed; must be host:port or [ip6]:port`)
  }
  if (cluster.advertise !== null && parseEndpoint(cluster.advertise, 1) === null) {
    problems.push(`cluster.advertise: "${cluster.advertise}" is not allowed; must be host, host:port or [ip6]:port`)
  }
  if (cluster.secret.length > SECRETS_MAX) problems.push(`cluster.secret: must be at most ${SECRETS_MAX} texts`)
  if (cluster.secret.length > 0 || parts === 3 || cluster.insecure) return problems
  for (const name of ['cluster', 'rpc'] as const) {
    const { host } = name === 'cluster' ? cluster : rpc
    if (isLoopback(host) || (name === 'rpc' && host === cluster.host)) continue
    problems.push(
      `${name}.host: "${host}" is beyond loopback: set cluster.secret or rpc.tls, ` +
        'or cluster.insecure: true to let anybody join who reaches it',
    )
  }
  return problems
}

function checkAddresses(config: Config, listeners: [string, ListenerConfig][]): string[] {
  const problems: string[] = []
  const taken = new Map<string, string>()
  for (const name of ['api', 'cluster', 'rpc'] as const) {
    const { host, port } = config[name]
    if (port === 0) continue
    const address = `${host}:${port}`
    const other = taken.get(address)
    if (other) problems.push(`${name}.port: ${address} is used by ${other} too; each needs an address of its own`)
    else taken.set(address, `${name}.port`)
  }
  for (const [name, listener] of listeners) {
    const key = `mqtt.listeners.${name}`
    const address = listener.type === 'unix' ? `unix:${listener.path}` : `${listener.host}:${listener.port}`
    if (listener.type !== 'unix' && listener.port === 0) continue
    const other = taken.get(address)
    if (other) problems.push(`${key}: ${address} is used by ${other} too; each needs an address of its own`)
    else taken.set(address, key)
  }
  return problems
}

function checkExposure(config: Config, listeners: [string, ListenerConfig][]): string[] {
  const problems: string[] = []
  if (config.api.token === null && !isLoopback(config.api.host)) {
    problems.push(`api.host: "${config.api.host}" is beyond loopback: set api.token, or use 127.0.0.1`)
  }
  if (config.plugins.auth !== 'none' || config.plugins.authNone.beyondLoopback) return problems
  for (const [name, listener] of listeners) {
    if (listener.type === 'unix' || isLoopback(listener.host)) continue
    problems.push(
      `mqtt.listeners.${name}.host: "${listener.host}" is beyond loopback and plugins.auth is none: ` +
        'set plugins.auth, or plugins.authNone.beyondLoopback: true to let anybody in',
    )
  }
  return problems
}
