import { readFileSync } from 'node:fs'
import { BrokerError } from '../../base/errors.ts'
import type { UnderlayNotice, UnderlayPort } from '../../cluster/underlay/index.ts'
import { type Peers, type Rpc, type RpcOptions, startRpc, type TlsOptions } from '../../rpc/index.ts'
import type { Config } from '../config/index.ts'
import { rpcAddressOf } from './identity.ts'

type RpcParts = Omit<RpcOptions, 'cluster' | 'host' | 'port' | 'secrets' | 'tls'>

/** Opens the rpc port as the configuration says. */
export async function openRpc(config: Config, parts: RpcParts): Promise<Rpc> {
  const { cluster, rpc } = config
  const { host, port } = rpc
  const tls = readTls(rpc.tls)
  try {
    return await startRpc({ ...parts, cluster: cluster.name, host, port, secrets: cluster.secret, tls })
  } catch (error) {
    throw listenFailure(host, port, error)
  }
}

/** News of hosts become peers; a link that breaks makes the underlay look after the host. The returned function ends it. */
export function joinPeers(underlay: UnderlayPort, peers: Peers): () => void {
  for (const host of underlay.members()) learn(peers, { type: 'joined', host })
  const ends = [
    underlay.on((notice) => learn(peers, notice)),
    peers.watchLinks((node, _kind, state) => {
      if (state === 'waiting') underlay.doubt(node)
    }),
  ]
  return () => {
    for (const end of ends) end()
  }
}

function learn(peers: Peers, notice: UnderlayNotice): void {
  switch (notice.type) {
    case 'joined':
    case 'alive':
    case 'restarted':
    case 'changed': {
      const { id: node, state } = notice.host
      const address = rpcAddressOf(notice.host)
      if (state === 'left') return
      if (address !== null) peers.join({ node, address })
      if (state === 'alive') peers.alive(node)
      return
    }
    case 'left':
    case 'forgotten':
      peers.forget(notice.host.id)
  }
}

function readTls({ cert, key, ca }: Config['rpc']['tls']): TlsOptions | null {
  if (cert === null || key === null || ca === null) return null
  return { certificate: readPem('cert', cert), key: readPem('key', key), authority: readPem('ca', ca) }
}

function readPem(name: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new BrokerError('CONFIG_INVALID', `Cannot read rpc.tls.${name} "${path}": ${(cause as Error).message}`, {
      cause,
    })
  }
}

function listenFailure(host: string, port: number, error: unknown): unknown {
  const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException
  if (code !== 'EADDRINUSE') return error
  const message = `Cannot listen on ${host}:${port} (rpc): another process uses it; change rpc.host or rpc.port`
  return new BrokerError('UNAVAILABLE', message, { cause: error })
}
