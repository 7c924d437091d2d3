/** Connections: how fast they come (`connect`), what one costs while idle (`idle`). Latency: connect() to CONNACK. */
import { rssMib } from '../proc.ts'
import type { Measured } from '../spec.ts'
import { disconnectPacket } from './codec.ts'
import { type Context, closeAll, linkOptions, noMessages, sleep } from './context.ts'
import { clockMicros } from './latency.ts'
import { Link } from './link.ts'

/** Loopback has 28,000 ports per source address, and a closed one rests for a minute. */
const sourceAddresses = 200

/** Connects, waits for CONNACK, disconnects, over and over, `inFlight` clients at a time. */
export async function runConnect(context: Context): Promise<Measured> {
  const { spec, meter } = context
  let running = true
  let next = 0
  const client = async () => {
    while (running) {
      const link = newLink(context, next++)
      await timedOpen(context, link)
      await link.close(disconnectPacket)
    }
  }
  const clients = Array.from({ length: spec.inFlight }, client)
  const stopProgress = meter.progress(context.report)
  await sleep(spec.warmup * 1000)
  meter.open()
  await sleep(spec.seconds * 1000)
  const window = meter.close()
  running = false
  stopProgress()
  await Promise.all(clients)
  return { ...window, ...noMessages, extra: {} }
}

/** Clients that come and go before memory is read, so that lazily compiled code is not charged to the idle ones. */
const warmUpClients = 200

/** Opens `connections` clients, `inFlight` at a time, and keeps them for `seconds`. */
export async function runIdle(context: Context): Promise<Measured> {
  const { spec, meter } = context
  const warm = Array.from({ length: warmUpClients }, (_, i) => newLink(context, i))
  await openBounded(context, warm)
  await closeAll(warm, disconnectPacket)
  await sleep(spec.warmup * 1000)

  const links = Array.from({ length: spec.connections }, (_, i) => newLink(context, i))
  const before = rssMib(context.target.pid)
  const stopProgress = meter.progress(context.report)
  meter.open()
  await openBounded(context, links)
  const window = meter.close()
  await sleep(spec.seconds * 1000)
  const after = rssMib(context.target.pid)
  stopProgress()
  await closeAll(links, disconnectPacket)
  const memory =
    before === null || after === null
      ? {}
      : { emptyMib: before, heldMib: after, kibPerConnection: ((after - before) * 1024) / links.length }
  return { ...window, ...noMessages, extra: memory }
}

async function openBounded(context: Context, links: readonly Link[]): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < links.length) await timedOpen(context, links[next++]!)
  }
  await Promise.all(Array.from({ length: context.spec.inFlight }, worker))
}

async function timedOpen(context: Context, link: Link): Promise<void> {
  const began = clockMicros()
  await link.open()
  context.meter.received++
  context.meter.latency.record(began, clockMicros())
}

function newLink(context: Context, i: number): Link {
  const { will } = context.spec
  const { host } = context.target
  const local = host.startsWith('127.') ? { localAddress: `127.0.1.${1 + (i % sourceAddresses)}` } : {}
  return new Link({ ...linkOptions(context, `c${i}`), will, ...local })
}
