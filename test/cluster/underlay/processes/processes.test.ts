import { expect, test } from 'vitest'
import { at, freePorts, until } from '../shell/real-cluster.ts'
import { ProcessCluster, type ProcessHost } from './process-host.ts'

/** MEASURE=20 repeats what is timed so often, and prints it: not for every run. */
const REPEAT = Number(process.env.MEASURE ?? 1)
const report = (text: string) => process.env.MEASURE !== undefined && process.stdout.write(`${text}\n`)

async function using(run: (cluster: ProcessCluster) => Promise<void>): Promise<void> {
  const cluster = await ProcessCluster.create()
  try {
    await run(cluster)
  } finally {
    await cluster.end()
  }
}

async function star(cluster: ProcessCluster, count: number): Promise<void> {
  const [seed] = await freePorts(1)
  cluster.add({ port: seed })
  for (let i = 1; i < count; i++) cluster.add({ seeds: [at(seed!)] })
  for (const host of cluster.hosts) host.start()
}

test('nine processes from one seed; one is killed; one stands still; one pauses and comes back', {
  timeout: 90_000,
}, async () => {
  await using(async (cluster) => {
    const begin = performance.now()
    await star(cluster, 9)
    await until(() => cluster.whole, 'nine in one cluster')
    report(`nine processes: ${Math.round(performance.now() - begin)} ms from the first spawn`)
    const [first, still, killed, paused] = cluster.hosts as [ProcessHost, ProcessHost, ProcessHost, ProcessHost]
    still.signal('SIGUSR2')
    await killed.kill()
    const others = () => cluster.hosts.filter((host) => host.up)
    report(
      `killed: ${Math.round(await until(() => others().every((host) => host.sees(killed) === 'dead'), 'known dead'))} ms`,
    )
    // It stood still for 3 s in all that, and declares nobody dead but the killed one.
    expect(still.notices).toContain('stalled')
    const blamed = still.notices.filter((notice) => notice.startsWith('dead') && notice.endsWith(`by ${still.id}`))
    expect(blamed.filter((notice) => !notice.startsWith(`dead ${killed.id} `))).toEqual([])
    paused.signal('SIGTERM')
    await until(() => others().every((host) => host === paused || host.sees(paused) === 'dead'), 'it pauses')
    // A view shows more than the notice that came with it: that one may follow.
    await until(() => first.notices.includes(`dead ${paused.id} by ${paused.id}`), 'it has said so itself')
    await paused.kill()
    paused.start()
    await until(() => cluster.whole, 'it is back')
  })
})

test.runIf(REPEAT > 1)('a process killed among 5', { timeout: 900_000 }, async () => {
  await using(async (cluster) => {
    await star(cluster, 5)
    const times: number[] = []
    for (let i = 0; i < REPEAT; i++) {
      await until(() => cluster.whole, 'all five')
      await new Promise((resolve) => setTimeout(resolve, 3_000 + Math.random() * 1_000))
      const killed = cluster.hosts[1 + (i % 4)]!
      await killed.kill()
      const others = cluster.hosts.filter((host) => host !== killed)
      times.push(Math.round(await until(() => others.every((host) => host.sees(killed) === 'dead'), 'known dead')))
      killed.start()
    }
    times.sort((a, b) => a - b)
    report(`killed among 5: median ${times[times.length >> 1]}, worst ${times.at(-1)} of ${times.length}`)
  })
})
