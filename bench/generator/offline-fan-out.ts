/**
 * One publish to very many absent persistent sessions: inserts a second, bytes on disk for each, and how often the
 * payload is in the broker's log. "Received" counts inserts, latency is that of the acks.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Measured } from '../spec.ts'
import { encodePublish, PUBACK } from './codec.ts'
import { type Context, closeAll, forEachBounded, linkOptions, openAll, untilDone } from './context.ts'
import { Ledger } from './ledger.ts'
import { Link } from './link.ts'
import { createAckedPublishers, createSessions, sessionLink } from './offline-acks.ts'
import { oddities } from './steady.ts'
import { OrderedTracker } from './tracker.ts'
import { Flow, Subscriber } from './traffic.ts'

const stallMs = 15_000
/** Sessions that come back at the end, to see that nothing is missing. */
const checkedSessions = 20
const markerBytes = 24

export async function runOfflineFanOut(context: Context): Promise<Measured> {
  const { spec, meter, run } = context
  if (spec.qos === 0) throw new Error('Scenario "offline-fan-out" needs --qos 1 or 2: QoS 0 is not queued')
  const topic = `bench/${run}/all`
  await createSessions(context, spec.sessions, () => topic)
  const log = await countInLog(context, `bench/${run}/all`)

  const flow = createAckedPublishers(context, { topicsOf: () => [topic], limit: spec.messages })
  await openAll(flow.publishers)
  const total = spec.messages * spec.connections
  const acked = () => flow.publishers.reduce((sum, publisher) => sum + publisher.acked, 0)
  const stopProgress = meter.progress(context.report)
  const ledger = new Ledger(context.target)
  await ledger.open()
  meter.open()
  flow.running = true
  for (const publisher of flow.publishers) publisher.pump()
  const done = await untilDone(() => acked() >= total, acked, stallMs)
  const window = meter.close()
  stopProgress()
  if (!done) throw new Error(`The broker acknowledged ${acked()} of ${total} messages, then nothing for 15 s`)
  const inserts = total * spec.sessions
  const cost = await ledger.figures(inserts)
  const used = window.brokerCpuPercent
  const checked = await checkSome(context, total)
  return {
    ...window,
    received: inserts,
    receivedPerSecond: inserts / window.seconds,
    cpuMicrosPerMessage: used === null ? null : (used * window.seconds * 1e4) / inserts,
    sent: total,
    ...checked,
    extra: { publishesPerSecond: total / window.seconds, ...cost, ...log, ...oddities(flow) },
  }
}

/** Publishes one marked message and looks for the mark in what the broker has logged since. */
async function countInLog(context: Context, topic: string): Promise<Record<string, number>> {
  const { folder } = context.target
  if (folder === null) return {}
  const marker = randomBytes(markerBytes)
  const payload = Buffer.concat([marker, Buffer.alloc(Math.max(0, context.spec.payload - markerBytes), 0x62)])
  const probe = new Probe(linkOptions(context, 'probe'))
  await probe.open()
  await probe.publish(encodePublish({ version: context.spec.version, qos: 1, retain: false, topic, payload }))
  await probe.close()
  return { payloadInLog: countMarker(folder, marker) }
}

class Probe extends Link {
  #acked: () => void = () => {}

  publish(packet: Buffer): Promise<void> {
    const body = packet[1]! > 127 ? 3 : 2
    packet.writeUInt16BE(1, body + 2 + packet.readUInt16BE(body))
    this.append(packet, 0, packet.length)
    this.flush()
    return new Promise((resolve) => {
      this.#acked = resolve
    })
  }

  override onAck(type: number): void {
    if (type === PUBACK) this.#acked()
  }
}

/** In the write-ahead logs below a folder: RocksDB names them `<number>.log`. */
function countMarker(folder: string, marker: Buffer): number {
  let found = 0
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!/\d+\.log$/.test(name)) continue
    const bytes = readFileSync(join(folder, name))
    for (let at = bytes.indexOf(marker); at >= 0; at = bytes.indexOf(marker, at + marker.length)) found++
  }
  return found
}

/** Lets some sessions come back: each must have all of the messages, in order. */
async function checkSome(
  context: Context,
  messages: number,
): Promise<Pick<Measured, 'lost' | 'duplicated' | 'outOfOrder'>> {
  const { sessions, connections } = context.spec
  const flow = new Flow(context.meter)
  const step = Math.max(1, Math.floor(sessions / checkedSessions))
  const subscribers: Subscriber[] = []
  for (let i = 0; i < sessions && subscribers.length < checkedSessions; i += step) {
    const trackers = Array.from({ length: connections }, () => new OrderedTracker())
    subscribers.push(new Subscriber(sessionLink(context, i), flow, subscribers.length, trackers))
  }
  const streams = () => subscribers.flatMap(({ trackers }) => trackers)
  const received = () => streams().reduce((sum, tracker) => sum + tracker.received, 0)
  await forEachBounded(subscribers, (subscriber) => subscriber.open({ clean: false }))
  await untilDone(() => received() >= messages * subscribers.length, received, 5_000)
  await closeAll(subscribers)
  return {
    lost: messages * subscribers.length - received(),
    duplicated: streams().reduce((sum, tracker) => sum + tracker.duplicated, 0),
    outOfOrder: streams().reduce((sum, tracker) => sum + tracker.outOfOrder, 0),
  }
}
