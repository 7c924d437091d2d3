import { silentLogger } from '../../src/base/logging.ts'
import { type Message, NO_BYTES, NO_EXPIRY, type QoS } from '../../src/base/message.ts'
import { InboxClient, type OtherInboxes } from '../../src/inbox/client.ts'
import type { InboxRanges } from '../../src/inbox/feed-host.ts'
import type { Dedup, Feed, FeedEntry, InboxLimits, InsertTarget, Owner, WillPublisher } from '../../src/inbox/index.ts'
import type { InboxObserver } from '../../src/inbox/observer.ts'
import type { World } from '../sim/world.ts'
import { TENANT } from './harness.ts'

const LIMITS: InboxLimits = { messagesMax: 100_000, bytesMax: 10 ** 9, dropPolicy: 'oldest', filtersMax: 10 }

/** Clients of one front end under chaos, and what they saw: the model that the promises are checked against. */
export class Fleet implements WillPublisher {
  readonly world: World
  readonly inbox: InboxClient
  readonly devices: Device[] = []
  readonly publishers: Publisher[] = []
  /** What went wrong, as sentences. */
  readonly faults: string[] = []
  /** Payloads of wills, as often as they reached the inbox that watches. */
  readonly willsStored: string[] = []
  willsAnnounced = 0
  connections = 0
  readonly #watcher: () => InsertTarget | null

  constructor(
    world: World,
    ranges: InboxRanges,
    observer: InboxObserver,
    watcher: () => InsertTarget | null,
    others?: OtherInboxes,
  ) {
    this.world = world
    this.#watcher = watcher
    this.inbox = new InboxClient({
      ...{ ranges, observer, clock: world.clock, defer: world.defer, log: silentLogger, node: 'n1' },
      others,
    })
  }

  publishWill(_tenant: string, _client: string, message: Message, dedup: Dedup): Promise<void> {
    this.willsAnnounced++
    return new Promise((resolve, reject) => {
      const targets = [this.#watcher()!]
      this.inbox.insert(TENANT, { message, targets, dedup }, (error, results) => {
        if (error !== null) return reject(error)
        if (results![0] === 'ok') this.willsStored.push(Buffer.from(message.payload).toString())
        // The host dies between publishing and saying so, now and then.
        if (this.world.random.below(4) === 0) reject(new Error('The host died'))
        else resolve()
      })
    })
  }

  sessionEnded(): void {}

  async nodeGone(): Promise<void> {}

  async renewed(): Promise<void> {}

  dropped(key: { inbox: string }, reason: string): void {
    this.faults.push(`${key.inbox} dropped an entry: ${reason}`)
  }

  after(ms: number, callback: () => void): void {
    this.world.clock.after(ms, callback)
  }
}

/** A client with a persistent session, its own state included, that comes and goes. */
export class Device {
  readonly name: string
  readonly fleet: Fleet
  readonly qos: QoS
  /** Payloads as the application got them. */
  readonly delivered: string[] = []
  incarnation = 0
  busy = false
  owner: Owner | null = null
  wills = 0
  readonly willsDue: string[] = []
  readonly willsNever: string[] = []
  #arrivesAt = 0
  /** QoS 2 packet ids received and not released: the client's half of the session. */
  readonly #held = new Set<number>()
  readonly #seen = new Set<number>()
  #outstanding = new Map<number, number>()
  #sentUpTo = 0
  #life = 0

  constructor(fleet: Fleet, name: string, qos: QoS) {
    this.fleet = fleet
    this.name = name
    this.qos = qos
  }

  target(): InsertTarget {
    const { name, incarnation, qos } = this
    return { inbox: name as InsertTarget['inbox'], incarnation, qos, retain: false, subscriptionIds: [] }
  }

  async connect(): Promise<void> {
    this.busy = true
    const life = ++this.#life
    const { fleet, name } = this
    const connection = `n1/${++fleet.connections}`
    const will = `${name}-will-${++this.wills}`
    const attached = await fleet.inbox.attach({
      ...{ tenant: TENANT, inbox: name as Owner['inbox'], connection, node: 'n1', cleanStart: false },
      ...{ expirySeconds: 0xffffffff, client: { user: '', address: '', protocol: 5 }, limits: LIMITS },
      will: { message: toMessage(will, name, 1), delaySeconds: 0 },
    })
    if (this.incarnation !== 0 && attached.owner.incarnation !== this.incarnation) {
      fleet.faults.push(`${name} lost its session`)
    }
    if (this.incarnation !== 0 && !attached.sessionPresent) fleet.faults.push(`${name} found no session`)
    // Whoever was here before was thrown out: its will, without a delay, fires.
    if (this.owner !== null) {
      this.willsDue.push(`${name}-will-${this.wills - 1}`)
      this.#mustConflict(this.owner)
    }
    this.incarnation = attached.owner.incarnation
    this.owner = attached.owner
    this.#outstanding = new Map()
    this.#sentUpTo = 0
    this.#open(attached.owner, life)
    this.busy = false
  }

  /** The connection ends: with DISCONNECT or without, or the broker's side forgets to say so. */
  async disconnect(how: 'disconnect' | 'lost' | 'silent'): Promise<void> {
    const { owner } = this
    this.#life++
    if (owner === null) return
    if (how === 'silent') return
    this.busy = true
    this.owner = null
    const will = `${this.name}-will-${this.wills}`
    if (how === 'lost') this.willsDue.push(will)
    else this.willsNever.push(will)
    const discardWill = how === 'disconnect'
    await this.fleet.inbox.detach({ owner, expirySeconds: null, discardWill, sentUpTo: this.#sentUpTo })
    this.busy = false
  }

  #open(owner: Owner, life: number): void {
    const credit = 1 + this.fleet.world.random.below(40)
    const feed: Feed = this.fleet.inbox.open(
      owner,
      { credit, bytesMax: 100_000 },
      {
        entries: (entries) => {
          for (const entry of entries) if (life === this.#life) this.#got(feed, entry, life, credit)
        },
        lost: () => {
          if (life === this.#life) this.fleet.faults.push(`${this.name} lost its feed`)
        },
      },
    )
  }

  #got(feed: Feed, entry: FeedEntry, life: number, credit: number): void {
    const { sequence, packetId, dup, released } = entry
    const fault = (what: string) => this.fleet.faults.push(`${this.name} ${sequence}: ${what}`)
    if (this.#outstanding.has(packetId)) fault(`packet id ${packetId} is in use twice`)
    if (this.#outstanding.size >= credit) fault('more than its credit')
    if (!dup && this.#seen.has(sequence)) fault('comes again without DUP')
    this.#outstanding.set(packetId, sequence)
    this.#seen.add(sequence)
    this.#sentUpTo = Math.max(this.#sentUpTo, sequence)
    this.#arrive(life, () => {
      if (released) return this.#onPubrel(feed, sequence, packetId, life)
      const payload = Buffer.from(entry.message!.payload).toString()
      if (entry.qos === 1) {
        this.delivered.push(payload)
        this.#later(life, () => this.#finish(feed, sequence, packetId))
        return
      }
      if (!this.#held.has(packetId)) {
        this.#held.add(packetId)
        this.delivered.push(payload)
      }
      this.#later(life, () =>
        feed.received(sequence, packetId, (error) => {
          if (error === null) this.#arrive(life, () => this.#onPubrel(feed, sequence, packetId, life))
        }),
      )
    })
  }

  #onPubrel(feed: Feed, sequence: number, packetId: number, life: number): void {
    this.#held.delete(packetId)
    this.#later(life, () => this.#finish(feed, sequence, packetId))
  }

  #finish(feed: Feed, sequence: number, packetId: number): void {
    this.#outstanding.delete(packetId)
    feed.acknowledge(sequence)
  }

  /** The connection takes its time, keeps order, and ends at any point. */
  #arrive(life: number, work: () => void): void {
    const { world } = this.fleet
    this.#arrivesAt = Math.max(this.#arrivesAt, world.elapsedMs + world.random.below(30))
    this.fleet.after(this.#arrivesAt - world.elapsedMs, () => {
      if (life === this.#life) work()
    })
  }

  #later(life: number, work: () => void): void {
    this.fleet.after(this.fleet.world.random.below(30), () => {
      if (life === this.#life) work()
    })
  }

  #mustConflict(owner: Owner): void {
    this.fleet.inbox.subscribe(owner, []).then(
      () => this.fleet.faults.push(`${this.name} has two owners`),
      (error: { code?: string }) => {
        if (error.code !== 'CONFLICT') this.fleet.faults.push(`${this.name}: ${String(error)}`)
      },
    )
  }
}

/** Publishes numbered messages to every device; repeats those of QoS 2 whose answer it claims to have missed. */
export class Publisher {
  readonly name: string
  /** Payloads answered, for each device. */
  readonly acknowledged = new Map<string, string[]>()
  readonly fleet: Fleet
  open = 0
  #owner: Owner | null = null
  #sent = 0

  constructor(fleet: Fleet, name: string) {
    this.fleet = fleet
    this.name = name
  }

  async start(): Promise<void> {
    const attached = await this.fleet.inbox.attach({
      ...{ tenant: TENANT, inbox: this.name as Owner['inbox'], connection: this.name, node: 'n1', cleanStart: false },
      ...{ expirySeconds: 3_600, will: null, client: { user: '', address: '', protocol: 5 }, limits: LIMITS },
    })
    this.#owner = attached.owner
  }

  async publish(qos: QoS, devices: readonly Device[]): Promise<void> {
    const payload = `${this.name} ${this.#sent++}`
    const packetId = 1 + (this.#sent % 60_000)
    this.open++
    const message = toMessage(payload, this.name, qos)
    const dedup = qos === 2 ? await this.#number(packetId) : null
    await this.#insert(message, devices, dedup, 'ok')
    // The front end died before it could answer: the client sends it again.
    if (dedup !== null && this.fleet.world.random.below(3) === 0) {
      const again = await this.fleet.inbox.receive(this.#owner!, packetId)
      if (!again.repeated || again.number !== dedup.number) this.fleet.faults.push(`${payload} has two numbers`)
      await this.#insert({ ...message }, devices, { ...dedup, floor: again.floor }, 'repeated')
    }
    for (const { name } of devices) {
      const list = this.acknowledged.get(name)
      if (list === undefined) this.acknowledged.set(name, [payload])
      else list.push(payload)
    }
    if (qos === 2 && !(await this.fleet.inbox.release(this.#owner!, packetId))) {
      this.fleet.faults.push(`${payload} was released before`)
    }
    this.open--
  }

  async #number(packetId: number): Promise<Dedup> {
    const { number, floor } = await this.fleet.inbox.receive(this.#owner!, packetId)
    return { publisher: this.#owner!.inbox, number, floor }
  }

  #insert(message: Message, devices: readonly Device[], dedup: Dedup | null, expected: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const targets = devices.map((device) => device.target())
      this.fleet.inbox.insert(TENANT, { message, targets, dedup }, (error, results) => {
        if (error !== null) return reject(error)
        for (const result of results!) {
          if (result !== expected) this.fleet.faults.push(`An insert was ${result}, not ${expected}`)
        }
        resolve()
      })
    })
  }
}

function toMessage(payload: string, publisher: string, qos: QoS): Message {
  return {
    ...{ topic: 't', payload: Buffer.from(payload), qos, retain: false, properties: NO_BYTES, publisher },
    ...{ expirySeconds: NO_EXPIRY, timestamp: 1 },
  }
}
