import { setTimeout as delay } from 'node:timers/promises'
import { seededRandom } from '../../src/base/clock.ts'
import { ANY_PORTS, type CliProcess, type Finished, spawnCli } from '../node/run-cli.ts'
import { newHistory } from './checker.ts'
import type { Until } from './fleet.ts'
import { type Dial, dialTcp, type Surroundings } from './peer.ts'
import type { Stage } from './stage.ts'

/** A node in a process of its own, killed and started again on one data folder. */
export class ProcessNode {
  kills = 0
  #process: CliProcess | null = null
  #port = 1
  readonly data: string
  readonly #settings: readonly string[]
  readonly #preload: string | undefined
  #api = ''

  /** @param preload JavaScript that runs in the process, and in its storage thread, before anything else */
  constructor(data: string, settings: readonly string[] = [], preload?: string) {
    this.data = data
    this.#preload = preload
    this.#settings = ['log.level=error', 'tenants.default.queueMessagesMax=1000000', ...settings]
  }

  /** For clients. Nobody listens on the port of a process that is no more. */
  readonly dial: Dial = dialTcp(() => this.#port)

  /** Begins to start; the process may be killed before it is ready. */
  async spawn(flags: readonly string[] = []): Promise<void> {
    const sets = this.#settings.flatMap((setting) => ['--set', setting])
    const args = ['start', '--data', this.data, ...ANY_PORTS, ...sets, ...flags]
    this.#process = await spawnCli(args, this.#preload === undefined ? {} : { preload: this.#preload })
  }

  /** Resolves when the node takes connections. */
  async ready(): Promise<void> {
    const [, port] = await this.#process!.waitFor(/^listening {2}tcp \(tcp\) \S+:(\d+)\n[\s\S]*^ready /m)
    this.#port = Number(port)
    const api = /^listening {2}api \(http\) (\S+)$/m.exec(this.#process!.stdout)
    this.#api = api?.[1] ?? ''
  }

  async start(flags: readonly string[] = []): Promise<void> {
    await this.spawn(flags)
    await this.ready()
  }

  get pid(): number {
    return this.#process!.child.pid!
  }

  /** Resolves when the process has ended by itself. */
  get finished(): Promise<Finished> {
    return this.#process!.finished
  }

  /** What the process has told so far. */
  get output(): string {
    return this.#process!.stdout + this.#process!.stderr
  }

  /** Whether the node says that it is ready, and why not. */
  async readiness(): Promise<{ ready: boolean; text: string }> {
    const answer = await fetch(`${this.#api}/readyz`)
    return { ready: answer.ok, text: await answer.text() }
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.kills++
    this.#process!.kill('SIGKILL')
    const { code, stdout, stderr } = await this.#process!.finished
    if (code !== null) throw new Error(`The node ended by itself with ${code}: ${stdout}${stderr}`)
    this.#errors += stdout.replace(/^(listening|ready) .*\n/gm, '') + stderr
  }

  /** What the processes so far told of errors. */
  get errors(): string {
    return this.#errors
  }
  #errors = ''

  async stop(): Promise<void> {
    this.#process!.kill('SIGTERM')
    const { code, stdout, stderr } = await this.#process!.finished
    if (code !== 0) throw new Error(`The node stopped with ${code}: ${stdout}${stderr}`)
    this.#errors += stdout.replace(/^(listening|ready) .*\n/gm, '') + stderr
  }
}

/** Waits in real time. */
export const untilReal: Until = async (condition, msMax = 30_000) => {
  const endMs = performance.now() + msMax
  while (!condition() && performance.now() < endMs) await delay(2)
  return condition()
}

/** A node in a process of its own, and real time. */
export class ProcessStage implements Stage {
  readonly node: ProcessNode
  readonly surroundings: Surroundings
  readonly until = untilReal

  constructor(data: string, seed: number, settings: readonly string[] = []) {
    this.node = new ProcessNode(data, settings)
    this.surroundings = {
      dial: this.node.dial,
      history: newHistory(),
      random: seededRandom(seed),
      now: () => performance.now(),
      later: (ms, callback) => void setTimeout(callback, ms),
    }
  }

  crash(): Promise<void> {
    return this.node.kill()
  }

  start(): Promise<void> {
    return this.node.start()
  }

  async pause(ms: number): Promise<void> {
    await delay(ms)
  }
}
