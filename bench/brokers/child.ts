/** Child processes on a core of their own, and free ports for them. */
import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'

export const brokerCore = 0
export const generatorCore = 1

const pinned = availableParallelism() >= 2 && spawnSync('taskset', ['-V']).status === 0
/** Thousands of connections need more descriptors than a shell's usual 1,024. */
const raiseFiles = 'ulimit -n "$(ulimit -Hn)"; exec "$@"'
const alive = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL')
})
const outputBytesMax = 8192
const stopTimeoutMs = 5000

export interface Child {
  process: ChildProcess
  pid: number
  /** The last 8 KiB that it printed, for error messages. */
  output(): string
  /** Asks it to stop, insists after 5 s; resolves when it is gone. */
  stop(): Promise<void>
}

/**
 * sh and taskset replace themselves by the command, so that the pid is the command's. `core` null: on all of them; without
 * taskset nothing is pinned.
 */
export function startPinned(core: number | null, command: string, args: readonly string[], ipc = false): Child {
  const pin = pinned && core !== null ? ['taskset', '-c', String(core)] : []
  const stdio: StdioOptions = ipc ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe']
  const child = spawn('sh', ['-c', raiseFiles, 'sh', ...pin, command, ...args], { stdio })
  alive.add(child)
  let output = ''
  const keep = (data: Buffer) => {
    output = (output + data.toString()).slice(-outputBytesMax)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => {
      alive.delete(child)
      resolve()
    })
    child.once('error', (error) => {
      output += error.message
      resolve()
    })
  })
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
    await gone
    clearTimeout(timer)
  }
  return { process: child, pid: child.pid ?? 0, output: () => output, stop }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
