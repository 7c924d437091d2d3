import { startApi } from '../api/index.ts'
import { systemClock, systemRandom } from '../base/clock.ts'
import type { Health } from '../base/health.ts'
import type { Logger } from '../base/logging.ts'
import type { MetricSource } from '../base/metrics.ts'
import { MqttServer } from '../mqtt/index.ts'
import { startPlugins } from '../plugin/host.ts'
import { ClusterNode, endWithoutCluster } from './cluster/cluster-node.ts'
import type { Config } from './config/index.ts'
import type { ListenerInfo, NodeContext, RunningNode } from './contract.ts'
import { endAfterDiskFailure, openServedEngine } from './engine.ts'
import { StoredIncarnations } from './folder/incarnations.ts'
import { mqttOptions } from './options.ts'
import { openDesk } from './ranges/desk.ts'
import { RangeNode } from './ranges/range-node.ts'
import { rangeRoutes } from './ranges/routes.ts'
import type { Replication } from './ranges/rules.ts'
import { startRebalance } from './rebalance/index.ts'
import { matches } from './roles.ts'
import { startServices } from './services.ts'
import { hasStoredData } from './user-data.ts'

/** For others to take over what this node leads, when it stops. */
const DRAIN_MS_MAX = 3_000

/**
 * Builds and starts the modules of one node: plugins, the engine, the cluster, then the services on their ranges, then the
 * front end, last the HTTP side, and others are told. Stopping goes the other way round, so that nothing loses what it stands on.
 */
export async function startNode(config: Config, context: NodeContext): Promise<RunningNode> {
  const stops: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const stopOne of stops.reverse()) await stopOne()
    stops.length = 0
  }
  try {
    return await build(config, context, stops, stop)
  } catch (error) {
    await stop()
    throw error
  }
}

async function build(
  config: Config,
  context: NodeContext,
  stops: (() => Promise<void>)[],
  stop: () => Promise<void>,
): Promise<RunningNode> {
  const { log, hostId } = context
  const clock = systemClock
  const plugins = await loadPlugins(config, log)
  stops.push(() => plugins.stop())

  const { engine, lossy, settled } = await openServedEngine(config.store, context)
  stops.push(() => engine.close())

  let connections = () => 0
  let open: (ranges: RangeNode) => void = () => {}
  const opened = new Promise<RangeNode>((resolve) => {
    open = resolve
  })
  const cluster = await ClusterNode.start({
    ...{ config, context, clock, random: systemRandom },
    hasUserData: () => connections() > 0 || hasStoredData(engine),
    dissolve: async () => (await opened).dissolve(),
  })
  stops.push(() => cluster.stop())

  const fatal = (error: Error) => endAfterDiskFailure(error, context)
  const ranges = new RangeNode({
    ...{ cluster, engine, lossy, clock, random: systemRandom, log, fatal, hangMs: config.store.hangMs },
    banned: (error) => endWithoutCluster(error, context),
    clusterName: config.cluster.name,
    replication: replicationOf(config),
  })
  const services = startServices({
    ...{ clock, random: systemRandom, log: cluster.naming(log), node: hostId, plugins, ranges },
    matches: matches(config.node.roles),
    incarnations: new StoredIncarnations(context.dataPath),
    leases: ranges.leasePorts('inbox'),
    others: {
      peers: cluster.peers,
      incarnation: cluster.incarnation,
      watchAlive: (listener) => cluster.watchAlive('mqtt', listener),
      led: () => ranges.led('inbox'),
      hasClients: config.node.roles.includes('mqtt'),
    },
  })
  stops.push(() => services.stop())
  ranges.start()
  // The first batch that is synced holds what was given up.
  if (lossy) void ranges.store.flushed().then(settled)
  open(ranges)

  const { roles } = config.node
  const mqtt = roles.includes('mqtt')
    ? new MqttServer({ ...services.parts, ...plugins, clock, log, node: hostId }, mqttOptions(config))
    : null
  connections = () => mqtt?.connections ?? 0
  const listening = (await mqtt?.start()) ?? []
  stops.push(async () => mqtt?.stop())

  const { gossip, rpc } = cluster.addresses
  const listeners: ListenerInfo[] = [
    ...listening.map(({ name, type, address }) => ({ name, type, address })),
    { name: 'cluster', type: 'udp+tcp', address: gossip },
    { name: 'rpc', type: 'grpc', address: rpc },
  ]
  const metrics: MetricSource[] = [...(mqtt === null ? [] : [mqtt]), services, plugins, ...cluster.sources]
  const health = (): Health => {
    const { ready, reasons } = services.health()
    const waiting = cluster.health()
    return { ready: ready && waiting.length === 0, reasons: [...waiting, ...reasons] }
  }
  const status = () => ({
    ...{ name: config.node.name, hostId, version: context.version, connections: connections() },
    ...{ cluster: cluster.summary(), listeners, health: health() },
  })
  cluster.control.serve(status)
  let depart = () => {}
  const left = new Promise<void>((resolve) => {
    depart = () => {
      cluster.leave()
      resolve()
    }
  })
  const desk = openDesk(cluster, ranges, { clock, log, depart: () => depart() })
  const rebalance = startRebalance({ cluster, mqtt, health, settings: config.mqtt.rebalance, clock, log })
  const routes = [...rangeRoutes(desk), ...rebalance.routes]
  const probesOnly = !roles.includes('api')
  const api = await startApi({ ...config.api, probesOnly, log, health, status, ...cluster.views, routes, metrics })
  stops.push(() => api.stop())
  listeners.push({ name: 'api', type: 'http', address: api.address })
  cluster.announce(false)
  desk.departure.start()
  stops.push(async () => {
    desk.departure.stop()
    rebalance.stop()
    cluster.announce(true)
    await ranges.drain(DRAIN_MS_MAX)
  })
  return { listeners, health, metrics, left, stop }
}

function replicationOf({ dist, inbox, retain }: Config): Replication {
  return { dist: dist.replicas, inbox: inbox.replicas, retain: retain.replicas }
}

function loadPlugins(config: Config, log: Logger): ReturnType<typeof startPlugins> {
  const certificates = (name: string) => config.mqtt.listeners[name]!.tls
  return startPlugins({
    ...config.plugins,
    tenants: config.tenants,
    folder: process.cwd(),
    certificates: (name) => ({
      tenantFrom: certificates(name).tenantFromCert,
      userFrom: certificates(name).userFromCert,
    }),
    hashesMax: config.mqtt.limits.passwordHashesMax,
    logLevel: config.log.level === 'debug' ? 'debug' : 'info',
    clock: systemClock,
    logger: log,
  })
}
