import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Member, MemberList } from '../../../src/node/cluster/roster.ts'
import { ANY_PORTS, type CliProcess, type Finished, runCli, spawnCli } from '../../node/run-cli.ts'

const POLL_MS = 50

/** Nodes in processes of their own, as users start them, each with a data folder of its own. */
export class Fleet {
  readonly nodes: NodeProcess[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'flockmq-fleet-'))
  readonly #token: string | null

  /** `token`: the nodes' api.token. */
  constructor(token: string | null = null) {
    this.#token = token
  }

  /** `prefix`: a command line that runs it, such as `ip netns exec x`. */
  add(args: readonly string[] = [], prefix: readonly string[] = []): NodeProcess {
    const name = `n${this.nodes.length + 1}`
    const node = new NodeProcess(name, { data: join(this.#folder, name), args, prefix, token: this.#token })
    this.nodes.push(node)
    return node
  }

  /** A first node, and others that have it as their only seed. */
  async star(count: number, args: readonly string[] = []): Promise<NodeProcess[]> {
    const first = this.add(args)
    await first.start()
    const others = Array.from({ length: count - 1 }, () => this.add(['--seed', first.address, ...args]))
    await Promise.all(others.map((node) => node.start()))
    return this.nodes
  }

  /** All that run are in one cluster and see each other alive; gives what each of them sees. */
  async whole(): Promise<MemberList[]> {
    const up = this.nodes.filter((node) => node.up)
    let lists: MemberList[] = []
    await eventually(async () => {
      lists = await Promise.all(up.map((node) => node.members()))
      const ids = new Set(lists.map(({ cluster }) => cluster.id))
      const seen = lists.every(({ members }) => up.every((node) => stateOf(members, node) === 'alive'))
      return ids.size === 1 && !ids.has(null) && seen
    }, `one cluster of ${up.length}`)
    return lists
  }

  /** The same, and what they see is the same. */
  async agreed(): Promise<MemberList[]> {
    let lists: MemberList[] = []
    await eventually(async () => {
      lists = await this.whole()
      return new Set(lists.map((list) => JSON.stringify(facts(list)))).size === 1
    }, 'all see the same')
    return lists
  }

  /** Every range is kept by a majority of `voters`, and every node knows. */
  async replicated(voters: number): Promise<void> {
    const up = this.nodes.filter((node) => node.up)
    await eventually(async () => {
      const counts = await Promise.all(
        up.flatMap((node) => RANGES.map((range) => node.metric('flockmq_range_voters', `"${range}"`))),
      )
      return counts.every((count) => count === voters)
    }, `${voters} voters of each range`)
  }

  async end(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** What a cluster begins with. */
const RANGES = ['cluster-1', 'dist-1', 'inbox-1', 'retain-1']

interface NodeOptions {
  data: string
  args: readonly string[]
  prefix: readonly string[]
  token: string | null
}

export class NodeProcess {
  readonly name: string
  readonly data: string
  readonly #options: NodeOptions
  /** Of the next start. */
  args: readonly string[]
  #cli: CliProcess | null = null
  /** What the processes before this one have told. */
  #said = ''
  api = ''
  /** Of gossip. */
  address = ''

  constructor(name: string, options: NodeOptions) {
    this.name = name
    this.data = options.data
    this.#options = options
    this.args = options.args
  }

  get up(): boolean {
    return this.#cli !== null
  }

  get output(): string {
    return this.#cli?.stdout ?? ''
  }

  get pid(): number {
    return this.#cli!.child.pid!
  }

  /** Resolves when the process that runs now has ended. */
  get ended(): Promise<Finished> {
    return this.#cli!.finished
  }

  /** What all processes on this folder have told. */
  get said(): string {
    return this.#said + this.output + (this.#cli?.stderr ?? '')
  }

  /** `program`: another build than that of these sources. */
  async start(program?: string): Promise<void> {
    this.#cli = await this.#spawn(program)
    await this.#cli.waitFor(/^(ready|started) /m)
    this.api = this.listener('api')
    this.address = this.listener('cluster')
  }

  /** Starts, although it will end by itself; gives what it said. */
  async ends(): Promise<Finished> {
    return await (await this.#spawn()).finished
  }

  /** Its address. */
  listener(name: string): string {
    return new RegExp(`^listening {2}${name} \\(\\S+\\) (\\S+)$`, 'm').exec(this.output)![1]!
  }

  signal(signal: NodeJS.Signals): void {
    this.#cli!.kill(signal)
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Finished | null> {
    const cli = this.#cli
    if (cli === null) return null
    this.#cli = null
    cli.kill(signal)
    cli.kill('SIGCONT')
    const finished = await cli.finished
    this.#said += finished.stdout + finished.stderr
    return finished
  }

  /** What the command line says of this node. */
  run(...args: string[]): Promise<Finished> {
    return runCli([...args, '--data', this.data], { prefix: this.#options.prefix })
  }

  async members(): Promise<MemberList> {
    return (await this.get('/api/v1/members')) as MemberList
  }

  async get(path: string): Promise<unknown> {
    return await (await this.#fetch(path)).json()
  }

  async sees(other: NodeProcess): Promise<Member | undefined> {
    return (await this.members()).members.find(({ name }) => name === other.name)
  }

  /** The sum of all figures of this name whose labels hold `labels`. */
  async metric(name: string, labels = ''): Promise<number> {
    const text = await (await this.#fetch('/metrics')).text()
    const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    return lines.filter((line) => line.includes(labels)).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }

  #spawn(program?: string): Promise<CliProcess> {
    const { prefix } = this.#options
    const own = ['--data', this.data, '--set', `node.name=${this.name}`, '--set', 'store.engine=memory']
    const options = program === undefined ? { prefix } : { prefix, program }
    return spawnCli(['start', ...own, ...ANY_PORTS, ...this.args], options)
  }

  #fetch(path: string): Promise<Response> {
    const { token } = this.#options
    return fetch(this.api + path, token === null ? {} : { headers: { authorization: `Bearer ${token}` } })
  }
}

/** What all must agree on. */
export function facts({ cluster, members }: MemberList): object {
  return { cluster, members: members.map(({ since: _since, self: _self, ...rest }) => rest) }
}

function stateOf(members: readonly Member[], node: NodeProcess): string | undefined {
  return members.find(({ name }) => name === node.name)?.state
}

/** Asks again and again until it holds. Gives how long that took, in ms. */
export async function eventually(condition: () => Promise<boolean>, what: string, maxMs = 40_000): Promise<number> {
  const begin = performance.now()
  while (!(await condition())) {
    if (performance.now() - begin > maxMs) throw new Error(`Not within ${maxMs} ms: ${what}`)
    await delay(POLL_MS)
  }
  return performance.now() - begin
}

export async function using(run: (fleet: Fleet) => Promise<void>): Promise<void> {
  const fleet = new Fleet()
  try {
    await run(fleet)
  } finally {
    await fleet.end()
  }
}
