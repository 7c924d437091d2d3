/** One node as a child process: what it prints, whether it serves, its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { NodePlan } from './plan.ts'

/** Seen from build/dev/deploy/local. */
const PROGRAM = fileURLToPath(new URL('../../../main.js', import.meta.url))
const ASK_MS_MAX = 2_000

export interface Ended {
  name: string
  /** Such as `exit code 1`. */
  how: string
  failed: boolean
}

export class NodeProcess {
  readonly plan: NodePlan
  readonly ended: Promise<Ended>
  readonly #child: ChildProcess

  /** @param line is called with each line that the node prints */
  constructor(plan: NodePlan, line: (text: string) => void) {
    this.plan = plan
    // In a process group of its own: Ctrl-C reaches only the caller, which stops the nodes one after the other.
    this.#child = spawn(process.execPath, ['--max-semi-space-size=32', PROGRAM, ...plan.args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) createInterface(stream).on('line', line)
    this.ended = new Promise((resolve) => {
      const end = (how: string, failed: boolean) => resolve({ name: plan.name, how, failed })
      this.#child.once('error', (error) => end(error.message, true))
      this.#child.once('close', (code, signal) => end(signal ?? `exit code ${code}`, code !== 0))
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal)
  }

  /** It serves, and sees that many nodes alive. What does not answer is not ready. */
  async isReady(nodes: number, token: string | null): Promise<boolean> {
    const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` }
    const options = { headers, signal: AbortSignal.timeout(ASK_MS_MAX) }
    try {
      const response = await fetch(`http://127.0.0.1:${this.plan.api}/api/v1/status`, options)
      const { health, cluster } = (await response.json()) as { health: { ready: boolean }; cluster: { alive: number } }
      return health.ready && cluster.alive >= nodes
    } catch {
      return false
    }
  }
}
