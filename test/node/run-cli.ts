import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { builtMain } from '../build.ts'

export interface Finished {
  code: number | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  env?: Record<string, string>
  cwd?: string
  input?: string
  /** JavaScript that runs in the process before the command line. */
  preload?: string
  /** Another build's command line. */
  program?: string
  /** A command line that runs it, such as `ip netns exec x`. */
  prefix?: readonly string[]
}

/** Ports that are free, whatever else runs on this machine. */
export const ANY_PORTS = [
  'api.port=0',
  'cluster.port=0',
  'rpc.port=0',
  'mqtt.listeners.tcp.port=0',
  'mqtt.listeners.ws.port=0',
].flatMap((set) => ['--set', set])

const live = new Set<CliProcess>()

/** Ends what a test left running: to be called after each. */
export async function endAll(): Promise<void> {
  for (const process of live) {
    process.kill('SIGKILL')
    await process.finished
  }
}

/** A process of the real command line, with nothing of the caller's FLOCKMQ_ variables. */
export async function spawnCli(args: readonly string[], options: RunOptions = {}): Promise<CliProcess> {
  const preload =
    options.preload === undefined ? [] : ['--import', `data:text/javascript,${encodeURIComponent(options.preload)}`]
  return spawnProgram([...preload, options.program ?? (await builtMain()), ...args], options)
}

/** Another program of ours, with the arguments of node. */
export function spawnProgram(args: readonly string[], options: Omit<RunOptions, 'preload'> = {}): CliProcess {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('FLOCKMQ_'))
  const command = [...(options.prefix ?? []), process.execPath, ...args]
  const child = spawn(command[0]!, command.slice(1), {
    env: { ...Object.fromEntries(clean), ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  child.stdin!.on('error', () => {})
  child.stdin!.end(options.input ?? '')
  const started = new CliProcess(child)
  live.add(started)
  void started.finished.then(() => live.delete(started))
  return started
}

/** Runs a command to its end. */
export async function runCli(args: readonly string[], options?: RunOptions): Promise<Finished> {
  return await (await spawnCli(args, options)).finished
}

export class CliProcess {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
  stdout = ''
  stderr = ''

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout!.setEncoding('utf8').on('data', (text) => {
      this.stdout += text
    })
    child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.stderr += text
    })
    this.finished = once(child, 'close').then(([code]) => ({ code, stdout: this.stdout, stderr: this.stderr }))
  }

  /** Waits until standard output holds `pattern`; fails when the process ends before. */
  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stdout)
      if (match) return match
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`The process ended before ${pattern}: ${this.stdout}${this.stderr}`)
      }
      await Promise.race([once(this.child.stdout!, 'data'), this.finished])
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }
}
