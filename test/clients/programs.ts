import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** Longest time that a program may take for one step. */
const STEP_MS_MAX = 10_000

/** True where Debian's mosquitto-clients are installed. */
export const hasMosquitto: boolean = ['mosquitto_pub', 'mosquitto_sub', 'mosquitto_rr', 'stdbuf'].every(
  (name) => spawnSync('which', [name]).status === 0,
)

/** A program under test, and the lines that it wrote. */
export class Program {
  readonly child: ChildProcess
  readonly lines: string[] = []
  #rest = ''
  readonly #closed: Promise<unknown>

  constructor(name: string, args: readonly string[], input = '') {
    // Line by line, although a pipe is no terminal.
    this.child = spawn('stdbuf', ['-oL', name, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#closed = once(this.child, 'close')
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => this.#take(text))
    }
    this.child.stdin!.end(input)
  }

  /** Waits until a line matches. */
  async line(pattern: RegExp): Promise<string> {
    return await this.#until(() => this.lines.find((line) => pattern.test(line)), `a line like ${pattern}`)
  }

  /** Waits until this many lines match. */
  async matching(pattern: RegExp, count: number): Promise<string[]> {
    return await this.#until(() => {
      const found = this.lines.filter((line) => pattern.test(line))
      return found.length >= count ? found : undefined
    }, `${count} lines like ${pattern}`)
  }

  /** Waits for its end; gives the exit code. */
  async end(): Promise<number | null> {
    await withTimeout(this.#closed, () => `the end of ${this.child.spawnargs.join(' ')}: ${this.lines.join('\n')}`)
    return this.child.exitCode
  }

  async #until<Value>(check: () => Value | undefined, what: string): Promise<Value> {
    for (;;) {
      const found = check()
      if (found !== undefined) return found
      if (this.child.exitCode !== null) throw new Error(`No ${what} came before the end:\n${this.lines.join('\n')}`)
      const more = Promise.race([once(this.child.stdout!, 'data'), once(this.child.stderr!, 'data'), this.#closed])
      await withTimeout(more, () => `${what}; until now:\n${this.lines.join('\n')}`)
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop()!
    this.lines.push(...lines)
  }
}

async function withTimeout(promise: Promise<unknown>, what: () => string): Promise<void> {
  let timeout: NodeJS.Timeout | undefined
  const late = new Promise((_, reject) => {
    timeout = setTimeout(() => reject(new Error(`Waited too long for ${what()}`)), STEP_MS_MAX)
  })
  await Promise.race([promise, late]).finally(() => clearTimeout(timeout))
}
