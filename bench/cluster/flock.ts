/** Nodes of one cluster, as users start them, on this machine. */
import { type Child, freePort, startPinned } from '../brokers/child.ts'
import { flockmqProgram } from '../brokers/flockmq.ts'
import { removeFolder, temporaryFolder } from '../brokers/index.ts'
import type { Target } from '../spec.ts'

export interface FlockOptions {
  nodes: number
  /** `--set` of all nodes. */
  set: readonly string[]
  /** Of node. */
  nodeOptions: readonly string[]
}

export interface FlockNode {
  name: string
  child: Child
  target: Target
}

export interface Range {
  id: string
  service: string
  voters: number
  /** Of the node that leads; null: nobody is known to. */
  leader: string | null
}

const POLL_MS = 10
const READY_MS_MAX = 60_000
/** At a fixed place in every cluster: what a tenant's keys of sessions begin with. */
const INBOX = (name: string) => Buffer.from(`default\0${name}\0`).toString('hex')
const SERVICES = ['dist', 'inbox', 'retain']

export class Flock {
  readonly nodes: FlockNode[] = []
  /** From the start of the first process until all are ready, ms. */
  readyMs = 0
  /** Until every range has all its voters, ms. */
  replicatedMs = 0

  /** All are started at once; the first one is the seed. */
  static async start(options: FlockOptions): Promise<Flock> {
    const flock = new Flock()
    try {
      await flock.#start(options)
      return flock
    } catch (error) {
      const said = flock.nodes.map(({ name, child }) => `${name}: ${child.output()}`).join('\n')
      await flock.stop()
      throw new Error(`The nodes do not get ready. They said:\n${said}`, { cause: error })
    }
  }

  /** As the generator sees it. */
  get target(): Target {
    const [first, ...others] = this.nodes.map(({ target }) => target)
    return { ...first!, others }
  }

  get running(): FlockNode[] {
    return this.nodes.filter(({ child }) => child.process.exitCode === null && child.process.signalCode === null)
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ child }) => child.stop()))
    for (const { target } of this.nodes) removeFolder(target.folder!)
  }

  async kill(node: FlockNode): Promise<void> {
    node.child.process.kill('SIGKILL')
  }

  /** Every service has this many ranges, led by different nodes; sessions named `${run}s0`, ... share those of inbox. */
  async spread(run: string): Promise<void> {
    for (const name of [`${run}s16`, `${run}s24`]) {
      await this.#split('inbox', INBOX(name))
      for (const service of ['dist', 'retain']) {
        const topic = `bench/${run}/${name === `${run}s16` ? '000085' : '000170'}`
        await this.#split(service, Buffer.from(`default\0${topic}\0`).toString('hex'))
      }
    }
    for (const service of SERVICES) {
      const ranges = (await this.ranges()).filter((range) => range.service === service)
      for (const [i, { id }] of ranges.entries()) await this.#lead(id, this.nodes[i % this.nodes.length]!)
    }
  }

  async ranges(): Promise<Range[]> {
    const { ranges } = (await this.#get(this.running[0]!, '/api/v1/ranges')) as {
      ranges: { id: string; service: string; leader: { node: string } | null; replicas: { kind: string }[] }[]
    }
    return ranges.map(({ id, service, leader, replicas }) => ({
      ...{ id, service, leader: leader?.node ?? null },
      voters: replicas.filter(({ kind }) => kind === 'voter').length,
    }))
  }

  /** The sum over running nodes of a figure, and of those of its labels that hold `labels`. */
  async metric(name: string, labels = ''): Promise<number> {
    const pages = await Promise.all(this.running.map((node) => this.#text(node, '/metrics')))
    let sum = 0
    for (const page of pages) {
      for (const line of page.split('\n')) {
        const isIt = line.startsWith(`${name}{`) || line.startsWith(`${name} `)
        if (isIt && line.includes(labels)) sum += Number(line.split(' ').at(-1))
      }
    }
    return sum
  }

  async #start({ nodes, set, nodeOptions }: FlockOptions): Promise<void> {
    const began = performance.now()
    const seed = await freePort()
    for (let i = 0; i < nodes; i++)
      this.nodes.push(await launch(i, i === 0 ? null : seed, { port: seed, set, nodeOptions }))
    await until('all nodes are ready', async () => {
      const ready = await Promise.all(
        this.nodes.map(({ target }) => fetch(`http://${target.host}:${target.apiPort}/readyz`).catch(() => null)),
      )
      return ready.every((answer) => answer?.ok === true)
    })
    this.readyMs = performance.now() - began
    await until('every range has its voters', async () => {
      const ranges = await this.ranges()
      const all = ranges.every(({ voters, leader }) => voters === Math.min(3, nodes) && leader !== null)
      return all && ranges.length > SERVICES.length
    })
    this.replicatedMs = performance.now() - began
  }

  async #split(service: string, at: string): Promise<void> {
    const { ranges } = (await this.#get(this.nodes[0]!, `/api/v1/ranges?service=${service}`)) as {
      ranges: { id: string; start: string | null; end: string | null }[]
    }
    const range = ranges.find(({ start, end }) => (start ?? '') < at && (end === null || end === '' || at < end))!
    await this.#post(`/api/v1/ranges/${range.id}/split`, { at })
    await until('the range is split', async () => {
      const now = await this.ranges()
      return (
        now.filter((each) => each.service === service).length > ranges.length &&
        now.every(({ leader }) => leader !== null)
      )
    })
  }

  async #lead(id: string, { name }: FlockNode): Promise<void> {
    await until(`${name} leads ${id}`, async () => {
      if ((await this.ranges()).find((range) => range.id === id)?.leader === name) return true
      await this.#post(`/api/v1/ranges/${id}/transfer`, { to: name }).catch(() => {})
      return false
    })
  }

  async #post(path: string, body: object): Promise<void> {
    const { host, apiPort } = this.nodes[0]!.target
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(`http://${host}:${apiPort}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`)
    await answer.arrayBuffer()
  }

  async #get(node: FlockNode, path: string): Promise<unknown> {
    return JSON.parse(await this.#text(node, path))
  }

  async #text({ target }: FlockNode, path: string): Promise<string> {
    return await (await fetch(`http://${target.host}:${target.apiPort}${path}`)).text()
  }
}

async function launch(
  index: number,
  seed: number | null,
  { port: own, set, nodeOptions }: { port: number; set: readonly string[]; nodeOptions: readonly string[] },
): Promise<FlockNode> {
  const name = `n${index + 1}`
  const [port, apiPort] = [await freePort(), await freePort()]
  const folder = temporaryFolder(name)
  const settings = [
    ...[`node.name=${name}`, `cluster.port=${seed === null ? own : 0}`, 'rpc.port=0', `api.port=${apiPort}`],
    ...[`mqtt.listeners.tcp.port=${port}`, 'mqtt.listeners.ws.enabled=false', 'log.level=warn'],
    ...set,
  ]
  const args = [
    ...['--max-semi-space-size=32', ...nodeOptions, flockmqProgram(), 'start', '--data', folder],
    ...settings.flatMap((setting) => ['--set', setting]),
    ...(seed === null ? [] : ['--seed', `127.0.0.1:${seed}`]),
  ]
  // All nodes have both cores.
  const child = startPinned(null, process.execPath, args)
  return { name, child, target: { host: '127.0.0.1', port, pid: child.pid, apiPort, folder } }
}

export async function until(what: string, condition: () => Promise<boolean>, msMax = READY_MS_MAX): Promise<void> {
  const endMs = performance.now() + msMax
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`Waited for nothing: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
