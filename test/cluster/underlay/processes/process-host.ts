import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { builtMain } from '../../../build.ts'

const CHILD = resolve('test/cluster/underlay/processes/child.js')

interface View {
  notice: string
  cluster: string | null
  address: string
  members: { [id: string]: string }
}

/** Options of a host that can be written as JSON. */
export type ProcessOptions = { [option: string]: unknown }

/** Hosts in processes of their own, where `prefix` of a command line puts them. */
export class ProcessCluster {
  readonly hosts: ProcessHost[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'flockmq-processes-'))
  readonly #build: string

  private constructor(build: string) {
    this.#build = build
  }

  static async create(): Promise<ProcessCluster> {
    return new ProcessCluster(dirname(await builtMain()))
  }

  add(options: ProcessOptions, prefix: readonly string[] = []): ProcessHost {
    const id = `h${this.hosts.length}`
    const all = { hostId: id, statePath: join(this.#folder, `${id}.json`), ...options }
    const host = new ProcessHost(id, [...prefix, process.execPath, CHILD, this.#build, JSON.stringify(all)])
    this.hosts.push(host)
    return host
  }

  get whole(): boolean {
    const up = this.hosts.filter((host) => host.up)
    const ids = new Set(up.map((host) => host.view.cluster ?? `none of ${host.id}`))
    return ids.size === 1 && up.every((host) => up.every((other) => other === host || host.sees(other) === 'alive'))
  }

  async end(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.kill()))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export class ProcessHost {
  readonly id: string
  up = false
  view: View = { notice: '', cluster: null, address: '', members: {} }
  readonly notices: string[] = []
  readonly #command: string[]
  #child: ChildProcess | null = null
  #closed: Promise<unknown> = Promise.resolve()

  constructor(id: string, command: string[]) {
    this.id = id
    this.#command = command
  }

  start(): void {
    const child = spawn(this.#command[0]!, this.#command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    this.#closed = once(child, 'close')
    this.up = true
    let rest = ''
    child.stdout!.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        this.view = JSON.parse(line)
        this.notices.push(this.view.notice)
      }
    })
  }

  sees(other: ProcessHost): string {
    return this.view.members[other.id] ?? 'unknown'
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async kill(): Promise<void> {
    if (!this.up) return
    this.up = false
    this.signal('SIGKILL')
    this.signal('SIGCONT')
    await this.#closed
    this.view = { notice: '', cluster: null, address: '', members: {} }
  }
}
