import { mkdtempSync, rmSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { silentLogger } from '../../src/base/logging.ts'
import { loadConfig } from '../../src/node/config/index.ts'
import type { ListenerInfo } from '../../src/node/contract.ts'
import { openDataFolder } from '../../src/node/folder/data-folder.ts'
import { startNode } from '../../src/node/index.ts'
import { ANY_PORTS, type CliProcess, spawnCli } from '../node/run-cli.ts'

/** The auth plugin of `auth.js`, for `set`. */
export const TEST_AUTH = `plugins.auth=${resolve('test/support/auth.js')}`

export interface BrokerOptions {
  /** As `--set` takes them: `tenants.default.maximumQos=1`. */
  set?: readonly string[]
  /** True = a process of build/main.js; otherwise the node runs inside this process. */
  process?: boolean
}

/** A broker on free ports, with a data folder of its own. */
export interface TestBroker {
  /** Port of the tcp listener. */
  readonly port: number
  readonly wsPort: number
  /** `http://127.0.0.1:...` */
  readonly api: string
  readonly listeners: readonly ListenerInfo[]
  stop(): Promise<void>
}

const FREE_PORTS = ANY_PORTS.filter((argument) => argument !== '--set')

export async function startBroker(options: BrokerOptions = {}): Promise<TestBroker> {
  const folder = mkdtempSync('/tmp/flockmq-broker-')
  const data = `node.data=${join(folder, 'data')}`
  const settings = [data, ...FREE_PORTS, 'log.level=warn', ...(options.set ?? [])]
  const started = options.process ? await startProcess(settings) : await startInside(settings)
  return {
    ...started,
    port: portOf(started.listeners, 'tcp'),
    wsPort: portOf(started.listeners, 'ws'),
    api: started.listeners.find(({ name }) => name === 'api')!.address,
    stop: async () => {
      await started.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

interface Started {
  listeners: readonly ListenerInfo[]
  stop(): Promise<void>
}

async function startInside(settings: readonly string[]): Promise<Started> {
  const machine = { hostName: 'test', memoryBytes: totalmem() }
  const { config } = loadConfig({ file: null, settings, environment: {}, machine })
  const folder = openDataFolder(config.node.data)
  const context = { log: silentLogger, hostId: folder.hostId, dataPath: folder.path, version: 'test' }
  const node = await startNode(config, context)
  return {
    listeners: node.listeners,
    stop: async () => {
      await node.stop()
      folder.lock.release()
    },
  }
}

async function startProcess(settings: readonly string[]): Promise<Started> {
  const cli: CliProcess = await spawnCli(['start', ...settings.flatMap((setting) => ['--set', setting])])
  await cli.waitFor(/^ready /m)
  const lines = cli.stdout.matchAll(/^listening {2}(\S+) \((\S+)\) (\S+)$/gm)
  const listeners = [...lines].map(([, name, type, address]) => ({ name: name!, type: type!, address: address! }))
  return {
    listeners,
    stop: async () => {
      cli.kill('SIGTERM')
      await cli.finished
    },
  }
}

function portOf(listeners: readonly ListenerInfo[], name: string): number {
  const listener = listeners.find((candidate) => candidate.name === name)
  return listener === undefined ? 0 : Number(/:(\d+)/.exec(listener.address.replace(/^\w+:\/\//, ''))![1])
}
