import { startApi } from '../api/index.ts'
import type { Config } from './config/index.ts'
import type { ListenerInfo, NodeContext, RunningNode } from './contract.ts'

/** Builds and starts the modules of one node. */
export async function startNode(config: Config, context: NodeContext): Promise<RunningNode> {
  const listeners: ListenerInfo[] = []
  const health = () => ({ ready: true, reasons: [] })
  const api = await startApi({
    ...config.api,
    log: context.log,
    health,
    status: () => ({ name: config.node.name, hostId: context.hostId, version: context.version, listeners }),
    metrics: [],
  })
  listeners.push({ name: 'api', type: 'http', address: api.address })
  return { listeners, health, metrics: [], stop: () => api.stop() }
}
