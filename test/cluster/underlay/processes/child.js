// One host in a process of its own: `node child.js BUILD OPTIONS`. Prints its view, as JSON on a line, at each change.
import { pathToFileURL } from 'node:url'

const [build, options] = process.argv.slice(2)
const load = (path) => import(pathToFileURL(`${build}/${path}`).href)
const [{ UnderlayHost }, { systemClock, systemRandom }, { silentLogger }] = await Promise.all([
  load('cluster/underlay/index.js'),
  load('base/clock.js'),
  load('base/logging.js'),
])

const host = new UnderlayHost({
  ...{ clusterName: 'test', host: '127.0.0.1', port: 0, advertise: null, seeds: [], expect: 0, secrets: [] },
  ...{ insecure: false, mutualTls: false, metadata: new Map(), userData: false, dissolve: async () => true },
  ...{ fatal: (error) => fail(error), log: silentLogger, clock: systemClock, random: systemRandom },
  ...JSON.parse(options),
})
const keepAlive = setInterval(() => {}, 60_000)
let notice = 'start'
function show() {
  const members = Object.fromEntries(host.members().map(({ id, state }) => [id, state]))
  const view = { notice, cluster: host.cluster?.id ?? null, address: host.self.address, members }
  process.stdout.write(`${JSON.stringify(view)}\n`)
}
function fail(error) {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
}
host.on((heard) => {
  notice = [heard.type, heard.host?.id, heard.by === undefined ? '' : `by ${heard.by}`].filter(Boolean).join(' ')
  show()
})
process.on('SIGTERM', async () => {
  await host.stop()
  clearInterval(keepAlive)
})
// Stands still, as a blocked event loop does.
process.on('SIGUSR2', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000))
await host.start().catch(fail)
show()
