import type { Health } from '../base/health.ts'
import type { HostId } from '../base/ids.ts'
import type { Logger } from '../base/logging.ts'
import type { MetricSource } from '../base/metrics.ts'

/** In the data folder: what a node knows of its cluster. */
export const CLUSTER_FILE = 'cluster.json'

/** What the command line hands to the composition root. */
export interface NodeContext {
  log: Logger
  /** Of the data folder: the same at every start. */
  hostId: HostId
  /** Absolute path of the data folder, which this process holds alone. */
  dataPath: string
  version: string
}

/** One running node. */
export interface RunningNode {
  /** What is open, with the addresses in use: a port 0 is replaced by the one that was free. */
  listeners: ListenerInfo[]
  health(): Health
  /** All figures of this node, as /metrics shows them. */
  metrics: MetricSource[]
  /** Resolves when this node was decommissioned: it is to be stopped, and never started again. */
  left: Promise<void>
  /** Closes everything in order. Called once; the caller bounds it in time. */
  stop(): Promise<void>
}

export interface ListenerInfo {
  /** As in the configuration; `api` for the HTTP side. */
  name: string
  type: string
  /** `127.0.0.1:1883`, or the path of a unix socket; `http://127.0.0.1:8091` for the HTTP side. */
  address: string
}
