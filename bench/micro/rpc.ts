/**
 * Links between two processes over loopback, and calls within one: messages a second and CPU microseconds each.
 *
 *     npx tsc -p bench/tsconfig.json && node build/dev/bench/micro/rpc.js [seconds]
 *
 * Started with `serve` it is the other process.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { systemClock, systemRandom } from '../../src/base/clock.ts'
import type { HostId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import {
  bytesCodec,
  type LinkKind,
  type MessageChannel,
  type Peers,
  type RequestChannel,
  startRpc,
} from '../../src/rpc/index.ts'

const A = 'a' as HostId
const B = 'b' as HostId
const bytes = Buffer.alloc(100, 'x')
const channels = (kind: LinkKind): MessageChannel<Uint8Array> => ({
  type: 'message',
  number: kind === 'raft' ? 101 : 100,
  name: kind,
  kind,
  message: bytesCodec,
})
const deliveries = channels('deliveries')
const raft = channels('raft')
const echo: RequestChannel<Uint8Array, Uint8Array> = {
  type: 'request',
  number: 102,
  name: 'echo',
  kind: 'deliveries',
  request: bytesCodec,
  answer: bytesCodec,
}
const start = (node: HostId) =>
  startRpc({
    cluster: 'bench',
    node,
    incarnation: Date.now(),
    host: '127.0.0.1',
    port: 0,
    secrets: ['bench'],
    tls: null,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  })
const cpuUs = () => {
  const { user, system } = process.cpuUsage()
  return user + system
}

if (process.argv[2] === 'serve') await serve()
else await measure(Number(process.argv[2] ?? 3) * 1_000)

async function serve(): Promise<void> {
  const rpc = await start(B)
  let messages = 0
  const received = { received: () => void messages++ }
  rpc.peers.handleMessages(deliveries, received)
  rpc.peers.handleMessages(raft, received)
  rpc.peers.handleRequests(echo, (request, call) => call.answer(request))
  process.on('message', (question) => {
    if (question === 'figures') process.send!({ messages, cpuUs: cpuUs() })
  })
  process.send!({ port: rpc.port })
}

interface Figures {
  messages: number
  cpuUs: number
}

function ask(child: ChildProcess): Promise<Figures> {
  return new Promise((resolve) => {
    child.once('message', (figures) => resolve(figures as Figures))
    child.send('figures')
  })
}

async function measure(ms: number): Promise<void> {
  const child = fork(process.argv[1]!, ['serve'])
  const { port } = await new Promise<{ port: number }>((resolve) => {
    child.once('message', (hello) => resolve(hello as { port: number }))
  })
  const rpc = await start(A)
  const { peers } = rpc
  peers.join({ node: B, address: `127.0.0.1:${port}` })
  for (const perTurn of [1, 10, 100, 630]) {
    await report(child, `${perTurn} messages of 100 bytes a turn`, () => flood(peers, deliveries, bytes, perTurn, ms))
  }
  const frame = Buffer.alloc(1024 * 1024)
  await report(child, 'raft messages of 1 MiB', () => flood(peers, raft, frame, 1, ms))
  for (const inFlight of [1, 64, 512]) {
    await report(child, `requests, ${inFlight} in flight`, () => roundTrips(peers, B, inFlight, ms))
  }
  peers.handleRequests(echo, (request, call) => call.answer(request))
  await report(child, 'requests within the process, 64 in flight', () => roundTrips(peers, A, 64, ms))
  child.kill()
  rpc.close()
}

/** Prints what one run costs on both sides. `run` gives how many there were. */
async function report(child: ChildProcess, what: string, run: () => Promise<number>): Promise<void> {
  const before = await ask(child)
  const startUs = cpuUs()
  const startMs = performance.now()
  const count = await run()
  const seconds = (performance.now() - startMs) / 1_000
  const ownUs = (cpuUs() - startUs) / count
  const peerUs = ((await ask(child)).cpuUs - before.cpuUs) / count
  const rate = Math.round(count / seconds).toLocaleString('en')
  console.log(`${what.padEnd(44)} ${rate.padStart(10)}/s  ${ownUs.toFixed(2)} + ${peerUs.toFixed(2)} us CPU each`)
}

/** As many as the link takes; counted when acknowledged. */
async function flood(
  peers: Peers,
  channel: MessageChannel<Uint8Array>,
  message: Uint8Array,
  perTurn: number,
  ms: number,
): Promise<number> {
  const endMs = performance.now() + ms
  let sent = 0
  while (performance.now() < endMs) {
    if (peers.bufferedBytes(B, channel.kind) < 4 * 1024 * 1024) {
      for (let i = 0; i < perTurn; i++) if (peers.send(B, channel, message) === 'accepted') sent++
      await new Promise((resolve) => setImmediate(resolve))
      // Waiting must not cost CPU: it would count as the messages'.
    } else await new Promise((resolve) => setTimeout(resolve, 1))
  }
  while (peers.bufferedBytes(B, channel.kind) > 0) await new Promise((resolve) => setTimeout(resolve, 1))
  return sent
}

async function roundTrips(peers: Peers, to: HostId, inFlight: number, ms: number): Promise<number> {
  const endMs = performance.now() + ms
  let done = 0
  let open = 0
  await new Promise<void>((resolve) => {
    const next = () => {
      open++
      peers.request(to, echo, bytes, { deadlineMs: 10_000 }, (error) => {
        if (error) throw error
        done++
        open--
        if (performance.now() < endMs) next()
        else if (open === 0) resolve()
      })
    }
    for (let i = 0; i < inFlight; i++) next()
  })
  return done
}
