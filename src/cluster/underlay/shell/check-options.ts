import { BrokerError } from '../../../base/errors.ts'
import type { UnderlayHostOptions } from '../contract.ts'
import { METADATA_BYTES_MAX, metadataBytes } from '../core/index.ts'
import { type Endpoint, isLoopback, parseEndpoint } from './addresses.ts'
import { SECRETS_MAX } from './envelope.ts'
import type { SavedState } from './state-file.ts'

/** Of a seed that names none, where ours is any. */
const DEFAULT_PORT = 7_946
const NAME = /^[!-~]{1,64}$/

/** What is wrong with the configuration stops the start, and says what to do. Gives the seeds, read. */
export function checkOptions(options: UnderlayHostOptions): Endpoint[] {
  const { clusterName, port, seeds, secrets, metadata } = options
  if (!NAME.test(clusterName))
    throw invalid(`cluster.name "${clusterName}" must be 1 to 64 letters, digits or signs, without spaces`)
  checkSecrets(secrets)
  const bytes = metadataBytes(metadata)
  if (bytes > METADATA_BYTES_MAX)
    throw invalid(`node.roles and node.zone are too long: what a host tells of itself takes ${bytes} of 512 bytes`)
  return seeds.map((seed) => {
    const endpoint = parseEndpoint(seed, port === 0 ? DEFAULT_PORT : port)
    if (endpoint === null) throw invalid(`cluster.seeds "${seed}" must be host:port or [ip6]:port`)
    return endpoint
  })
}

export function checkSecrets(secrets: readonly string[]): void {
  if (secrets.length > SECRETS_MAX) throw invalid(`cluster.secret must have at most ${SECRETS_MAX} entries`)
  if (secrets.includes('')) throw invalid('cluster.secret must not be empty')
}

/** Whoever reaches the port of a host without authentication is a member of its cluster. */
export function checkExposure(ip: string, options: UnderlayHostOptions): void {
  const { host, secrets, mutualTls, insecure } = options
  if (isLoopback(ip) || secrets.length > 0 || mutualTls || insecure) return
  throw invalid(
    `cluster.host: "${host}" is beyond loopback: set cluster.secret, use mTLS (rpc.tls), or set cluster.insecure: true ` +
      'to let anybody in who reaches it',
  )
}

function invalid(message: string): BrokerError {
  return new BrokerError('CONFIG_INVALID', message)
}

/** What the disk holds, where this host may go on with it. Null on the disk: a host that never ran. */
export function checkState(saved: SavedState | null, { clusterName, statePath }: UnderlayHostOptions): SavedState {
  if (saved === null) return { clusterName, incarnation: 0, cluster: null, peers: [], left: false }
  if (saved.left)
    throw new BrokerError(
      'CONFLICT',
      `Cannot start: this host left cluster "${saved.clusterName}" for ever; start with an empty data folder`,
    )
  if (saved.clusterName === clusterName) return saved
  if (saved.cluster === null) return { ...saved, clusterName, peers: [] }
  throw new BrokerError(
    'CONFIG_INVALID',
    `Cannot start: "${statePath}" belongs to cluster "${saved.clusterName}", and cluster.name is "${clusterName}"; ` +
      'correct the name, or use another data folder',
  )
}
