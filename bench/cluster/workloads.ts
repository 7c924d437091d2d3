/** What is measured of a cluster: the scenarios of one broker with clients on several nodes, and what only a cluster has. */
import { randomBytes } from 'node:crypto'
import { encodePublish } from '../generator/codec.ts'
import { Link, setOnLost } from '../generator/link.ts'
import { rssMib } from '../proc.ts'
import { generate, type Line } from '../run.ts'
import type { Result, Spec } from '../spec.ts'
import { Flock, type FlockOptions, until } from './flock.ts'

export type OnLine = (line: Line) => void

export interface LoadOptions extends FlockOptions {
  spec: Spec
  /** At least three ranges a service, led by different nodes. */
  spread: boolean
  /** After so many seconds of the load, counted from its begin, the last node is killed; null: it is not. */
  killAfterSeconds: number | null
}

/** One scenario; what elections, suspicions and links say of it beside. */
export async function load(options: LoadOptions, onLine: OnLine, say: (line: string) => void): Promise<Result> {
  const { spec, spread, killAfterSeconds } = options
  const flock = await Flock.start(options)
  try {
    const run = randomBytes(3).toString('hex')
    if (spread) await flock.spread(run)
    say(`ready: ${(await flock.ranges()).map(({ id, leader }) => `${id} ${leader}`).join(', ')}`)
    const before = await account(flock)
    const rssBefore = memory(flock)
    let killed = false
    const measured = await generate(
      flock,
      spec,
      (line) => {
        onLine(line)
        if (killAfterSeconds === null || killed || line.at < killAfterSeconds) return
        killed = true
        say('kill -9 of the last node')
        void flock.kill(flock.nodes.at(-1)!)
      },
      { run, shared: true },
    )
    const after = await account(flock)
    const rss = memory(flock)
    const extra = { ...measured.extra }
    for (const [name, value] of Object.entries(after)) extra[name] = value - before[name as keyof typeof before]
    return { broker: 'flockmq', spec, ...measured, extra, rssMib: { before: rssBefore, after: rss, peak: rss } }
  } finally {
    await flock.stop()
  }
}

/** From the start of the processes. */
export async function start(options: FlockOptions): Promise<{ readyMs: number; replicatedMs: number }> {
  const flock = await Flock.start(options)
  const { readyMs, replicatedMs } = flock
  await flock.stop()
  return { readyMs, replicatedMs }
}

class Counter extends Link {
  count = 0

  override onPublish(): void {
    this.count++
  }

  publish(topic: string): void {
    const packet = encodePublish({ version: 4, qos: 0, retain: false, topic, payload: Buffer.alloc(64) })
    this.append(packet, 0, packet.length)
    this.flush()
  }
}

const CONNECTS_UNDER_WAY = 128
/** Loopback has 28,000 ports for each pair of addresses. */
const SOURCES = 32

/** Very many subscribers of one filter, on all nodes: routes, and that each of them gets a message. */
export async function subscriptions(
  options: FlockOptions & { count: number },
  say: (line: string) => void,
): Promise<Record<string, number>> {
  const flock = await Flock.start(options)
  // It is told with what the node said.
  setOnLost((error) => {
    say(`${error.message}\n${flock.nodes.map(({ name, child }) => `${name}: ${child.output()}`).join('\n')}`)
    process.exit(1)
  })
  try {
    const routesBefore = await flock.metric('flockmq_dist_routes')
    const rssBefore = memory(flock)
    const links = Array.from({ length: options.count }, (_, i) => {
      const { host, port } = flock.nodes[i % flock.nodes.length]!.target
      const localAddress = `127.0.1.${1 + (i % SOURCES)}`
      return new Counter({ host, port, version: 4, clientId: `many${i}`, localAddress })
    })
    const beganMs = performance.now()
    let next = 0
    const worker = async () => {
      while (next < links.length) {
        const link = links[next++]!
        await link.open()
        await link.subscribe(['bench/one'], 0)
        if (next % 10_000 === 0) say(`${next} subscribed`)
      }
    }
    await Promise.all(Array.from({ length: CONNECTS_UNDER_WAY }, worker))
    const seconds = (performance.now() - beganMs) / 1_000
    const routes = (await flock.metric('flockmq_dist_routes')) - routesBefore
    const rss = memory(flock) - rssBefore
    const publishedMs = performance.now()
    links[0]!.publish('bench/one')
    await until('everybody has the message', async () => links.every(({ count }) => count === 1))
    const fanOutMs = performance.now() - publishedMs
    await Promise.all(links.map((link) => link.close()))
    return {
      routesByNode: routes / flock.nodes.length,
      subscribedPerSecond: options.count / seconds,
      kibBySubscriber: (rss * 1_024) / options.count,
      fanOutMs,
    }
  } finally {
    await flock.stop()
  }
}

/** Of what there should be none, or little. */
async function account(flock: Flock) {
  return {
    terms: await flock.metric('flockmq_range_term'),
    suspicions: await flock.metric('flockmq_cluster_state_changes_total', 'state="suspect"'),
    crossings: await flock.metric('flockmq_deliver_sent_total'),
  }
}

function memory(flock: Flock): number {
  return flock.running.reduce((sum, { target }) => sum + (rssMib(target.pid) ?? 0), 0)
}
