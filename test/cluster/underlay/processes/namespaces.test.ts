import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { until } from '../shell/real-cluster.ts'
import { ProcessCluster } from './process-host.ts'

/**
 * NETNS=1 as root: real processes in network namespaces of their own, whose network is a process that loses, delays
 * and cuts. Minutes long, so not for every run; what it shows, the simulation shows too.
 */
const RUN = process.env.NETNS !== undefined
const FORWARDER = resolve('test/cluster/underlay/processes/forwarder.py')
const SPACES = 3
const HOSTS = 6

class Network {
  readonly name: string
  readonly #child: ChildProcess
  #answers = 0

  private constructor(name: string) {
    this.name = name
    this.#child = spawn('python3', [FORWARDER, name, String(SPACES)], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child.stdout!.on('data', (chunk: Buffer) => {
      this.#answers += chunk.toString().split('\n').length - 1
    })
  }

  static async create(): Promise<Network> {
    const network = new Network(`fmq${process.pid}`)
    await until(() => network.#answers === 1, 'the network is there')
    return network
  }

  async change(line: string): Promise<void> {
    const before = this.#answers
    this.#child.stdin!.write(`${line}\n`)
    await until(() => this.#answers > before, line)
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.stdin!.end()
    await ended
  }
}

test.runIf(RUN).each([
  ['a quiet network', []],
  ['20 percent loss', ['loss 20']],
  ['100 ms delay', ['delay 100']],
])(
  'three namespaces, cut apart and joined again, with %s: whole within 15 s',
  { timeout: 300_000 },
  async (what, lines) => {
    const network = await Network.create()
    const cluster = await ProcessCluster.create()
    try {
      for (const line of lines) await network.change(line)
      for (let i = 0; i < HOSTS; i++) {
        const space = i % SPACES
        const port = 7_946 + Math.floor(i / SPACES)
        const options = { host: `10.77.0.${space + 1}`, port, seeds: i === 0 ? [] : ['10.77.0.1:7946'], secrets: ['s'] }
        cluster.add(options, ['ip', 'netns', 'exec', `${network.name}${space}`]).start()
      }
      await until(() => cluster.whole, 'one cluster', 60_000)
      const heals: number[] = []
      for (const cut of ['cut 0 1,2', 'cut 0,1 2']) {
        await network.change(cut)
        const [left, right] = cut
          .split(' ')
          .slice(1)
          .map((group) => group.split(',').map(Number)) as [number[], number[]]
        const inSpace = (spaces: number[]) => cluster.hosts.filter((_, i) => spaces.includes(i % SPACES))
        const apart = () =>
          inSpace(left).every((host) =>
            inSpace(right).every((other) => host.sees(other) === 'dead' && other.sees(host) === 'dead'),
          )
        await until(apart, 'both sides are dead to each other', 90_000)
        await network.change('join')
        heals.push(Math.round(await until(() => cluster.whole, 'whole again', 60_000)))
      }
      process.stdout.write(`${what}: whole ${heals.join(' and ')} ms after the joint\n`)
      for (const ms of heals) expect(ms).toBeLessThan(15_000)
    } finally {
      await cluster.end()
      await network.end()
    }
  },
)
