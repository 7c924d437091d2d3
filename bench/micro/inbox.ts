/**
 * What the inbox service costs on ranges in memory: inserts, and a feed from insert to sink. CPU time of the whole
 * process, so that what neighbours take of the cores does not count.
 *
 *   npx tsc -p bench/tsconfig.json; node build/dev/bench/micro/inbox.js
 */
import { systemClock, systemRandom } from '../../src/base/clock.ts'
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { type Message, NO_BYTES, NO_EXPIRY } from '../../src/base/message.ts'
import { createInbox, type Feed, type InsertTarget, type Owner } from '../../src/inbox/index.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { Store } from '../../src/kv/store/store.ts'

const TENANT = 'bench' as TenantId
const SESSIONS = 10_000
const ROUNDS = 3

const defer = (callback: () => void) => void setImmediate(callback)
const common = { clock: systemClock, random: systemRandom, defer, log: silentLogger }
const store = new Store({ ...common, engine: new MemoryEngine(), storeId: 'n1' })
const inbox = createInbox({
  ...{ ...common, node: 'n1', incarnations: { next: () => 1 } },
  serve: (coprocessor, observer) => store.serve(coprocessor, observer),
})
const nobody = { nodeGone: async () => {}, renewed: async () => {} }
inbox.start({ ...nobody, publishWill: async () => {}, sessionEnded: () => {}, dropped: () => {} })

let connections = 0
async function attach(name: string): Promise<Owner> {
  const attached = await inbox.attach({
    ...{ tenant: TENANT, inbox: name as InboxId, connection: `n1/${++connections}`, node: 'n1', cleanStart: true },
    ...{ expirySeconds: 3_600, will: null, client: { user: '', address: '', protocol: 5 } },
    limits: { messagesMax: 1_000_000, bytesMax: 10 ** 9, dropPolicy: 'oldest', filtersMax: 10 },
  })
  return attached.owner
}

function target({ inbox, incarnation }: Owner): InsertTarget {
  return { inbox, incarnation, qos: 1, retain: false, subscriptionIds: [] }
}

function message(bytes: number): Message {
  return {
    ...{ topic: 'bench/pairs/0042/value', payload: Buffer.alloc(bytes), qos: 1, retain: false, properties: NO_BYTES },
    ...{ expirySeconds: NO_EXPIRY, timestamp: systemClock.now() * 1024, publisher: 'publisher-0042' },
  }
}

/** Inserts `count` messages, so many of them unanswered at a time. */
function insert(count: number, inFlight: number, targets: readonly InsertTarget[], bytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let sent = 0
    let done = 0
    const next = () => {
      sent++
      inbox.insert(TENANT, { message: message(bytes), targets, dedup: null }, (error) => {
        if (error !== null) return reject(error)
        if (++done === count) resolve()
        else if (sent < count) next()
      })
    }
    for (let i = 0; i < inFlight; i++) next()
  })
}

async function measure(name: string, count: number, work: () => Promise<void>): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = performance.now()
    const before = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(before)
    const perSecond = Math.round((count / (performance.now() - startMs)) * 1_000)
    console.log(`${name}: ${((user + system) / count).toFixed(2)} us CPU, ${perSecond.toLocaleString('en')}/s`)
  }
}

const offline = await attach('offline')
await inbox.detach({ owner: offline, expirySeconds: null, discardWill: true, sentUpTo: 0 })
await measure('insert, 1 to 1 offline, 64 bytes', 100_000, () => insert(100_000, 1_024, [target(offline)], 64))
await inbox.remove(offline)

const owners = await Promise.all(Array.from({ length: SESSIONS }, (_, i) => attach(`s${i}`)))
await Promise.all(owners.map((owner) => inbox.detach({ owner, expirySeconds: null, discardWill: true, sentUpTo: 0 })))
const all = owners.map(target)
await measure('insert, 1 to 10,000 offline, 1 KiB', SESSIONS * 10, () => insert(10, 1, all, 1_024))

const online = await attach('online')
let got = 0
let expected = 0
let reached: (() => void) | null = null
const feed: Feed = inbox.open(
  online,
  { credit: 1_000, bytesMax: 10 ** 7 },
  {
    entries(entries) {
      for (const { sequence } of entries) feed.acknowledge(sequence)
      got += entries.length
      if (got === expected) reached?.()
    },
    lost: (reason) => console.log(`The feed was lost: ${reason}`),
  },
)
for (const inFlight of [1_024, 64]) {
  await measure(`insert to sink and trim, ${inFlight} in flight`, 100_000, async () => {
    expected += 100_000
    const whole = new Promise<void>((resolve) => {
      reached = resolve
    })
    await insert(100_000, inFlight, [target(online)], 64)
    if (got < expected) await whole
  })
}
await inbox.close()
await store.close()
