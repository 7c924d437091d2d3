/** The brokers under test: each is started on a free port with a data folder of its own, and stopped after the run. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrokerName, Spec, Target } from '../spec.ts'
import { type Child, freePort } from './child.ts'
import { launchFlockmq } from './flockmq.ts'
import { launchMosquitto } from './mosquitto.ts'
import { launchAedes, launchCeiling } from './peer.ts'

export interface BrokerOptions {
  name: BrokerName
  host: string
  /** Of an external broker. */
  port: number
  pid: number
  /** HTTP port of an external FlockMQ; 0 when it has none. */
  apiPort: number
  /** `--set` of FlockMQ. */
  set: string[]
  /** Further lines of mosquitto.conf. */
  mosquittoConf: string[]
  /** FlockMQ on all cores, not on one. Default false. */
  allCores?: boolean
}

export interface Launch {
  allCores: boolean
  port: number
  folder: string
  set: string[]
  mosquittoConf: string[]
}

export interface Launched {
  child: Child
  /** Where /metrics is; 0 without. */
  apiPort: number
}

export interface Broker {
  target: Target
  stop(): Promise<void>
}

export interface RunningBroker extends Broker {
  output(): string
  running(): boolean
}

const launchers: Partial<Record<BrokerName, (launch: Launch) => Promise<Launched>>> = {
  flockmq: launchFlockmq,
  mosquitto: launchMosquitto,
  aedes: launchAedes,
  ceiling: launchCeiling,
}

const folders = new Set<string>()
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})
const listenTimeoutMs = 15_000

/** Why the broker cannot run the spec; null when it can. */
export function unsupported(name: BrokerName, spec: Spec): string | null {
  if (name === 'aedes' && spec.scenario === 'shared') return 'aedes has no shared subscriptions'
  if (name === 'aedes' && spec.version === 5) return 'aedes does not speak MQTT 5.0'
  if (
    name === 'ceiling' &&
    (spec.qos > 0 || !['pairs', 'fan-out', 'latency', 'connect', 'flood'].includes(spec.scenario))
  ) {
    return 'ceiling forwards QoS 0 to exact topics only'
  }
  return null
}

/** Starts the broker without waiting for it. A folder that is given is kept when it stops. */
export async function launch(options: BrokerOptions, kept?: string): Promise<RunningBroker> {
  const launcher = launchers[options.name]
  if (!launcher) {
    const { host, port, pid, apiPort } = options
    const nothing = { stop: () => Promise.resolve(), output: () => '', running: () => true }
    return { target: { host, port, pid, apiPort, folder: null }, ...nothing }
  }
  const folder = kept ?? temporaryFolder(options.name)
  const port = await freePort()
  const { child, apiPort } = await launcher({
    ...{ port, folder, allCores: options.allCores ?? false, set: options.set, mosquittoConf: options.mosquittoConf },
  })
  const stop = async () => {
    await child.stop()
    if (kept === undefined) removeFolder(folder)
  }
  const running = () => child.process.exitCode === null && child.process.signalCode === null && child.pid !== 0
  const target = { host: '127.0.0.1', port, pid: child.pid, apiPort, folder }
  return { target, stop, output: child.output, running }
}

/** Removed when this process ends, at the latest. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `bench-${name}-`))
  folders.add(folder)
  return folder
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
}

/** Starts the broker and waits until it listens. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const broker = await launch(options)
  const deadline = performance.now() + listenTimeoutMs
  while (!(await listens(broker.target))) {
    if (broker.running() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      continue
    }
    await broker.stop()
    throw new Error(`Cannot start broker "${options.name}": it does not listen. It said:\n${broker.output()}`)
  }
  return broker
}

function listens({ host, port }: Target): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const settle = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}
