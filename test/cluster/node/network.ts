import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'

const BRIDGE = 'fmqb'
const SPACE = 'fmqn'
const SLOW_WAYS = resolve('test/cluster/node/slow-ways.py')

/**
 * Network namespaces on a bridge of this machine, each with one address, which this process reaches too. A cut is
 * silent and goes one way: the cut side sends to a hardware address that nobody has. A slow way leads through a process.
 */
export class Network {
  readonly #run = process.pid % 60_000
  readonly #count: number
  #slowWays: ChildProcess | null = null

  /** Why this machine has no such thing; null: it has. */
  static whyNot(): string | null {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux'
    const network = new Network(1)
    try {
      network.#open()
      return null
    } catch (error) {
      return (error as Error).message
    } finally {
      network.end()
    }
  }

  static open(count: number): Network {
    const network = new Network(count)
    try {
      network.#open()
      return network
    } catch (error) {
      network.end()
      throw error
    }
  }

  private constructor(count: number) {
    this.#count = count
  }

  /** Runs a command line in the namespace. */
  prefix(index: number): string[] {
    return ['ip', 'netns', 'exec', this.#space(index)]
  }

  address(index: number): string {
    return `${this.#subnet}.${index + 1}`
  }

  /** What `from` sends to `to` is lost from now on; not the other way. */
  cut(from: number, to: number): void {
    ip('-n', this.#space(from), 'neigh', 'replace', this.address(to), 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0')
  }

  /** Lets ways be slow from now on; says why not where that cannot be. */
  async openSlowWays(): Promise<string | null> {
    const spaces = Array.from({ length: this.#count }, (_, i) => [this.#space(i), this.address(i)]).flat()
    const child = spawn('python3', [SLOW_WAYS, ...spaces], { stdio: ['pipe', 'pipe', 'pipe'] })
    let said = ''
    child.stderr!.on('data', (chunk) => {
      said += chunk
    })
    child.stdin!.on('error', () => {})
    const opened = once(child.stdout!, 'data').then(() => true)
    const failed = once(child, 'close').then(
      () => false,
      () => false,
    )
    if (!(await Promise.race([opened, failed]))) return said.trim().split('\n').at(-1) || 'python3 does not run'
    this.#slowWays = child
    return null
  }

  /** What `from` sends to `to` is late from now on, and some of it is lost; not the other way. */
  slow(from: number, to: number, delayMs: number, lossPercent: number): void {
    this.#slowWays!.stdin!.write(`${from} ${to} ${delayMs} ${lossPercent}\n`)
    const way = [`${this.address(to)}/32`, 'dev', 'slow0', 'src', this.address(from)]
    ip('-n', this.#space(from), 'route', 'replace', ...way)
  }

  /** Makes one way good. */
  mend(from: number, to: number): void {
    const space = this.#space(from)
    spawnSync('ip', ['-n', space, 'route', 'del', `${this.address(to)}/32`, 'dev', 'slow0'])
    spawnSync('ip', ['-n', space, 'neigh', 'del', this.address(to), 'dev', 'eth0'])
  }

  join(): void {
    for (let index = 0; index < this.#count; index++)
      ip('-n', this.#space(index), 'neigh', 'flush', 'all', 'nud', 'all')
  }

  end(): void {
    this.#slowWays?.stdin?.end()
    for (let index = 0; index < this.#count; index++) {
      spawnSync('ip', ['link', 'del', this.#near(index)])
      spawnSync('ip', ['netns', 'del', this.#space(index)])
    }
    spawnSync('ip', ['link', 'del', this.#bridge])
  }

  /** 10.64.0.0/10 by process: several runs do not meet. */
  get #subnet(): string {
    return `10.${64 + (this.#run >> 10)}.${(this.#run >> 2) & 255}`
  }

  get #bridge(): string {
    return `${BRIDGE}${this.#run}`
  }

  #space(index: number): string {
    return `${SPACE}${this.#run}-${index}`
  }

  #near(index: number): string {
    return `fmqv${this.#run}-${index}`
  }

  #open(): void {
    ip('link', 'add', this.#bridge, 'type', 'bridge')
    ip('addr', 'add', `${this.#subnet}.254/24`, 'dev', this.#bridge)
    ip('link', 'set', this.#bridge, 'up')
    for (let index = 0; index < this.#count; index++) {
      const [space, near] = [this.#space(index), this.#near(index)]
      ip('netns', 'add', space)
      ip('link', 'add', near, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
      ip('link', 'set', near, 'master', this.#bridge)
      ip('link', 'set', near, 'up')
      ip('-n', space, 'addr', 'add', `${this.address(index)}/24`, 'dev', 'eth0')
      ip('-n', space, 'link', 'set', 'eth0', 'up')
      ip('-n', space, 'link', 'set', 'lo', 'up')
    }
  }
}

function ip(...args: string[]): void {
  const { status, stderr, error } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${error?.message ?? stderr.trim()}`)
}
