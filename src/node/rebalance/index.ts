import type { ApiRoute } from '../../api/index.ts'
import type { Clock } from '../../base/clock.ts'
import type { Health } from '../../base/health.ts'
import type { Logger } from '../../base/logging.ts'
import type { MqttServer } from '../../mqtt/index.ts'
import type { ClusterNode } from '../cluster/cluster-node.ts'
import { Rebalance, type RebalanceSettings } from './rebalance.ts'
import { rebalanceRoutes } from './routes.ts'

export interface RebalanceParts {
  cluster: ClusterNode
  /** Null: this node serves no clients, and asks those that do. */
  mqtt: MqttServer | null
  health(): Health
  settings: RebalanceSettings
  clock: Clock
  log: Logger
}

/** This node's part in evening out connections: asked over HTTP and by other nodes, or by itself. */
export function startRebalance(parts: RebalanceParts): { routes: ApiRoute[]; stop(): void } {
  const { cluster, mqtt, health, settings, clock, log } = parts
  const rebalance = new Rebalance({
    ...{ control: cluster.control, mover: mqtt?.mover ?? null, health, settings, clock, log },
    members: () => cluster.roster.list().members,
    connections: () => mqtt?.connections ?? 0,
  })
  rebalance.start()
  return { routes: rebalanceRoutes(rebalance), stop: () => rebalance.stop() }
}
