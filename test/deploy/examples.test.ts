import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { endAll, runCli } from '../node/run-cli.ts'
import {
  configOf,
  type Document,
  type Environment,
  kubernetesFile,
  manifests,
  podEnvironment,
  removeWritten,
  SECRETS,
  seconds,
  textOf,
  writtenAs,
  yamlOf,
} from './examples.ts'

afterEach(endAll)
afterAll(removeWritten)

const FILLED = {
  ...{ 'metadata.name': 'flockmq-0', 'status.podIP': '10.1.2.3', 'cluster-secret': 'gossip', 'api-token': 'token' },
}
const files: [string, () => string, Environment][] = [
  ['docker', () => 'deploy/docker/flockmq.yml', SECRETS],
  ['three-hosts', () => 'deploy/three-hosts/flockmq.yml', SECRETS],
  ['kubernetes', kubernetesFile, podEnvironment(FILLED)],
]

describe.each(files)('the configuration of %s', (_name, fileOf, environment) => {
  const check = async (env: Environment) => runCli(['config', 'check', '-c', fileOf()], { env })

  test('is valid with the secrets that it asks for, and not without', async () => {
    expect(await check(environment)).toMatchObject({ code: 0, stderr: '' })
    const { FLOCKMQ_CLUSTER_SECRET: _, ...without } = environment
    const refused = await check(without)
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('cluster.secret')
  })

  test('is for three nodes that clients reach from elsewhere, with passwords', () => {
    const { cluster, mqtt, api, plugins, dist, inbox, retain } = configOf(fileOf(), environment)
    expect(cluster).toMatchObject({ host: '0.0.0.0', expect: 3, insecure: false, secret: ['gossip'] })
    expect(cluster.seeds.length).toBeGreaterThan(0)
    expect(mqtt.listeners.tcp).toMatchObject({ enabled: true, host: '0.0.0.0' })
    expect(api.token).toBe('token')
    expect(plugins.auth).toBe('file')
    expect([dist.replicas, inbox.replicas, retain.replicas]).toEqual([3, 3, 3])
  })
})

test('what is commented out in the example for three hosts is right as well', () => {
  const text = textOf('three-hosts/flockmq.yml')
  const taken = text.replaceAll(/^(\s+)#(\w+:|\s+\w+:)/gm, '$1$2')
  expect(taken.match(/\n/g)).toHaveLength(text.match(/\n/g)!.length)
  const file = writtenAs('taken.yml', taken)
  const { node, mqtt } = configOf(file, SECRETS)
  expect(node.zone).toBe('rack-1')
  expect(mqtt.listeners.tls).toMatchObject({ type: 'tls', host: '0.0.0.0', port: 8883 })
})

describe('docker', () => {
  const compose = yamlOf('docker/compose.yml')
  const config = configOf('deploy/docker/flockmq.yml', SECRETS)
  const nodes = Object.keys(compose.services).filter((name) => name.startsWith('node-'))

  test('the nodes of compose.yml are the seeds, and the servers of haproxy', () => {
    expect(nodes).toHaveLength(config.cluster.expect!)
    expect(config.cluster.seeds).toEqual(nodes.map((name) => `${name}:${config.cluster.port}`))
    const { tcp, ws } = config.mqtt.listeners
    const servers = [...textOf('docker/haproxy.cfg').matchAll(/^ +server (\S+) (\S+) check$/gm)]
    expect(servers.map(([, name, address]) => [name, address])).toEqual(
      [tcp!, ws!].flatMap(({ port }) => nodes.map((name) => [name, `${name}:${port}`])),
    )
  })

  test('haproxy asks the HTTP port, and sends the header that the listeners ask for', () => {
    const defaults = textOf('docker/haproxy.cfg').match(/^ +default-server .*/gm)!
    expect(defaults).toHaveLength(2)
    for (const line of defaults) expect(line).toMatch(new RegExp(` port ${config.api.port} .*send-proxy-v2`))
    for (const name of ['tcp', 'ws']) expect(config.mqtt.listeners[name]!.proxyProtocol).toBe('required')
    const bound = [...textOf('docker/haproxy.cfg').matchAll(/^ +bind :(\d+)$/gm)].map(([, port]) => `${port}:${port}`)
    expect(compose.services.haproxy.ports).toEqual(bound)
  })

  test('what the nodes get is there, or the README says how it is made', () => {
    const readme = textOf('docker/README.md')
    for (const name of nodes) {
      const { environment, volumes, stop_grace_period: grace, read_only: readOnly } = compose.services[name]
      expect(environment.FLOCKMQ_NODE_NAME).toBe(name)
      for (const variable of Object.keys(SECRETS)) {
        expect(environment[variable]).toContain(`\${${variable}:?`)
        expect(readme).toContain(`${variable}=`)
      }
      expect(seconds(grace)).toBeGreaterThan(config.node.stopSecondsMax)
      expect(readOnly).toBe(true)
      for (const volume of volumes as string[]) {
        const source = volume.split(':')[0]!
        const made = source === './users.yml' ? readme.includes('passwd') : existsSync(join('deploy/docker', source))
        expect([source, made || Object.hasOwn(compose.volumes, source)]).toEqual([source, true])
      }
    }
  })

  test('the image is built from files that are there and let in, and opens the ports in use', () => {
    const dockerfile = textOf('docker/Dockerfile')
    const ignored = readFileSync('.dockerignore', 'utf8').split('\n')
    for (const [, sources] of dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)) {
      for (const source of sources!.split(' ')) {
        expect([source, existsSync(source), ignored.includes(`!${source}`)]).toEqual([source, true, true])
      }
    }
    const exposed = /^EXPOSE (.*)$/m
      .exec(dockerfile)![1]!
      .split(' ')
      .map((port) => Number.parseInt(port, 10))
    expect([...new Set(exposed)].sort()).toEqual(portsOf('deploy/docker/flockmq.yml', SECRETS))
    expect(dockerfile.lastIndexOf('\nUSER 1000:1000\n')).toBeGreaterThan(dockerfile.lastIndexOf('\nFROM '))
    expect(dockerfile).toContain('FLOCKMQ_NODE_DATA=/var/lib/flockmq')
    expect(dockerfile).not.toMatch(/^RUN npm (ci|install)(?! .*--ignore-scripts)/m)
  })
})

describe('kubernetes', () => {
  const all = manifests()
  const { spec } = all.get('StatefulSet/flockmq')
  const pod = spec.template.spec
  const container = pod.containers[0]
  const config = configOf(kubernetesFile(), podEnvironment(FILLED))

  test('every selector chooses the pods', () => {
    const { labels } = spec.template.metadata
    const chosen = [
      spec.selector.matchLabels,
      all.get('PodDisruptionBudget/flockmq').spec.selector.matchLabels,
      all.get('NetworkPolicy/flockmq').spec.podSelector.matchLabels,
      all.get('NetworkPolicy/flockmq').spec.ingress[0].from[0].podSelector.matchLabels,
      pod.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchLabels,
      pod.topologySpreadConstraints[0].labelSelector.matchLabels,
      ...services().map((service) => service.spec.selector),
    ]
    for (const selector of chosen) expect(labels).toMatchObject(selector)
    expect(chosen.every((selector) => Object.keys(selector).length > 0)).toBe(true)
  })

  test('the ports of the container are those of the configuration, and services lead to them', () => {
    const ports = container.ports as Document[]
    const numbers = [...new Set(ports.map(({ containerPort }) => containerPort))].sort()
    expect(numbers).toEqual(portsOf(kubernetesFile(), podEnvironment(FILLED)))
    for (const service of services()) {
      for (const { port, targetPort, protocol } of service.spec.ports) {
        const target = ports.find(({ name }) => name === targetPort)
        expect(target).toMatchObject({ containerPort: port, protocol })
      }
    }
    const allowed = all.get('NetworkPolicy/flockmq').spec.ingress.flatMap(({ ports }: Document) => ports)
    const both = ({ port, protocol }: Document) => `${port}/${protocol}`
    const open = ports.map(({ containerPort: port, protocol }) => ({ port, protocol }))
    expect(allowed.map(both).sort()).toEqual(open.map(both).sort())
  })

  test('the nodes find each other by the headless service, before they are ready', () => {
    const headless = all.get(`Service/${spec.serviceName}`)
    expect(headless.spec).toMatchObject({ clusterIP: 'None', publishNotReadyAddresses: true })
    expect(config.cluster.seeds).toEqual([`${spec.serviceName}:${config.cluster.port}`])
    expect(config.cluster.advertise).toBe('10.1.2.3')
    expect(config.cluster.expect).toBe(spec.replicas)
    expect(spec.podManagementPolicy).toBe('Parallel')
  })

  test('what is mounted is there; the data folder is on the volume', () => {
    const claims = (spec.volumeClaimTemplates as Document[]).map(({ metadata }) => metadata.name)
    const volumes = new Map<string, Document>((pod.volumes as Document[]).map((volume) => [volume.name, volume]))
    const mounts = container.volumeMounts as Document[]
    for (const { name } of mounts) expect(claims.includes(name) || volumes.has(name)).toBe(true)
    expect(all.has(`ConfigMap/${volumes.get('config').configMap.name}`)).toBe(true)
    const data = mounts.find(({ name }) => name === 'data').mountPath
    expect(config.node.data.startsWith(`${data}/`)).toBe(true)
    const secret = mounts.find(({ name }) => name === 'secret').mountPath
    const users = volumes.get('secret').secret.items[0]
    expect(config.plugins.authFile.path).toBe(`${secret}/${users.path}`)
    const readme = textOf('kubernetes/README.md')
    expect(readme).toContain(`create secret generic ${volumes.get('secret').secret.secretName}`)
    for (const key of [users.key, ...secretKeys()]) expect(readme).toContain(`${key}=`)
    expect(mounts.find(({ name }) => name === 'config').mountPath).toBe(container.args[2])
  })

  test('a pod that ends has the time that it takes; no variables of services are taken for configuration', () => {
    const before = Number(container.lifecycle.preStop.exec.command[1])
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(before + config.node.stopSecondsMax)
    expect(pod.enableServiceLinks).toBe(false)
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      expect((container.ports as Document[]).map(({ name }) => name)).toContain(container[probe].httpGet.port)
    }
    expect(container.livenessProbe.httpGet.path).toBe('/healthz')
    expect(container.readinessProbe.httpGet.path).toBe('/readyz')
  })

  function services(): Document[] {
    return [...all].filter(([key]) => key.startsWith('Service/')).map(([, service]) => service)
  }

  function secretKeys(): string[] {
    return (container.env as Document[]).flatMap(({ valueFrom }) => valueFrom?.secretKeyRef?.key ?? [])
  }
})

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0

describe('systemd', () => {
  const unit = textOf('systemd/flockmq.service')
  const lines = (name: string) => [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value]) => value!)

  test('a stop has the time that it takes', () => {
    const { node } = configOf('deploy/three-hosts/flockmq.yml', SECRETS)
    const waits = Number(/--timeout (\d+)$/.exec(lines('ExecStop')[0]!)![1])
    expect(waits).toBeGreaterThan(node.stopSecondsMax)
    expect(Number(lines('TimeoutStopSec')[0])).toBeGreaterThan(waits)
  })

  test('its command line is one that flockmq knows', async () => {
    const args = lines('ExecStart')[0]!.split('/opt/flockmq/build/main.js ')[1]!.split(' ')
    expect(args).toEqual(['start', '-c', '/etc/flockmq/flockmq.yml'])
    expect(lines('RestartPreventExitStatus')).toEqual(['2'])
    expect(await runCli(['start', '-c', '/nonexistent/flockmq.yml'])).toMatchObject({ code: 2 })
  })

  test.skipIf(!hasSystemd)('systemd finds no mistake in it, and little that it may (skipped without systemd)', () => {
    // Programs must be where they are said to be; this one is here.
    const file = writtenAs('flockmq.service', unit.replaceAll('/usr/bin/node', process.execPath))
    const { status, said } = run('verify', file)
    // Units of this machine have mistakes of their own.
    expect(said.split('\n').filter((line) => line.includes('flockmq'))).toEqual([])
    expect(status).toBe(0)
    expect(run('security', '--offline=true', '--threshold=15', file).status).toBe(0)
    expect(run('security', '--offline=true', '--threshold=5', file).status).not.toBe(0)
  })

  function run(...args: string[]): { status: number | null; said: string } {
    const { status, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
    return { status, said: stderr }
  }
})

/** All that a node listens on. */
function portsOf(file: string, environment: Environment): number[] {
  const { mqtt, api, cluster, rpc } = configOf(file, environment)
  return [...Object.values(mqtt.listeners).map(({ port }) => port), api.port, cluster.port, rpc.port].sort()
}
