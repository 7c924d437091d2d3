import type { Message, QoS } from '../../src/base/message.ts'
import type { Attached, Feed, FeedEntry, GroupKey, InsertTarget, Owner } from '../../src/inbox/index.ts'
import type { Fleet } from './fleet.ts'
import { message, TENANT } from './harness.ts'

const LIMITS = { messagesMax: 100_000, bytesMax: 10 ** 9, dropPolicy: 'oldest', filtersMax: 10 } as const
const OPTIONS = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const

/** A shared group's members under chaos, and what they got together. */
export class GroupFleet {
  readonly fleet: Fleet
  readonly group: GroupKey
  readonly members: GroupDevice[]
  readonly delivered: { member: string; payload: string }[] = []
  readonly acknowledged: string[] = []
  open = 0
  target: InsertTarget | null = null
  #sent = 0

  constructor(fleet: Fleet, group: GroupKey, names: readonly string[]) {
    this.fleet = fleet
    this.group = group
    this.members = names.map((name) => new GroupDevice(this, name))
  }

  publish(qos: QoS): void {
    const payload = `q${qos} ${this.#sent++}`
    const what: Message = message(payload, { qos, publisher: `p${this.fleet.world.random.below(5)}` })
    this.open++
    this.fleet.inbox.insert(
      TENANT,
      { message: what, targets: [{ ...this.target!, qos }], dedup: null },
      (error, results) => {
        this.open--
        if (error !== null || results![0] !== 'ok') this.fleet.faults.push(`${payload}: ${error ?? results}`)
        else this.acknowledged.push(payload)
      },
    )
  }
}

export class GroupDevice {
  readonly name: string
  busy = false
  owner: Owner | null = null
  readonly #all: GroupFleet
  /** QoS 2 packet ids received and not released: the client's half. */
  readonly #held = new Set<number>()
  #life = 0
  #arrivesAt = 0

  constructor(all: GroupFleet, name: string) {
    this.#all = all
    this.name = name
  }

  async connect(): Promise<void> {
    this.busy = true
    const life = ++this.#life
    const { fleet, group } = this.#all
    const attach = (): Promise<Attached> =>
      fleet.inbox.attach({
        ...{ tenant: TENANT, inbox: this.name as Owner['inbox'], connection: `g/${++fleet.connections}`, node: 'n1' },
        ...{ cleanStart: false, expirySeconds: 0xffffffff, will: null, limits: LIMITS },
        client: { user: '', address: '', protocol: 5 },
      })
    // It is refused soon where its range does not answer: then the client comes again.
    const attached = await attach().catch(attach)
    this.owner = attached.owner
    const joined = await fleet.inbox.joinGroup(group, attached.owner, OPTIONS)
    this.#all.target = {
      inbox: joined.inbox,
      incarnation: joined.incarnation,
      qos: 1,
      retain: false,
      subscriptionIds: [],
    }
    const ids = new Ids()
    const feed: Feed = fleet.inbox.openGroup(
      group,
      attached.owner,
      {
        credit: 1 + fleet.world.random.below(10),
        bytesMax: 100_000,
        packetIds: ids,
      },
      {
        entries: (entries) => {
          for (const entry of entries) {
            const packetId = ids.use(entry.packetId)
            if (life === this.#life) this.#got(feed, entry, packetId, life)
          }
        },
        lost: () => {},
      },
    )
    this.busy = false
  }

  async disconnect(silent: boolean): Promise<void> {
    const { owner } = this
    this.#life++
    if (owner === null || silent) return
    this.busy = true
    this.owner = null
    await this.#all.fleet.inbox.detach({ owner, expirySeconds: null, discardWill: true, sentUpTo: 0 })
    this.busy = false
  }

  #got(feed: Feed, entry: FeedEntry, packetId: number, life: number): void {
    const { sequence, released } = entry
    this.#arrive(life, () => {
      if (released) return this.#finish(feed, sequence, packetId)
      const payload = Buffer.from(entry.message!.payload).toString()
      if (entry.qos === 1 || !this.#held.has(packetId)) this.#all.delivered.push({ member: this.name, payload })
      if (entry.qos === 1) return this.#finish(feed, sequence, packetId)
      this.#held.add(packetId)
      this.#arrive(life, () =>
        feed.received(sequence, packetId, (error) => {
          if (error === null) this.#arrive(life, () => this.#finish(feed, sequence, packetId))
        }),
      )
    })
  }

  #finish(feed: Feed, sequence: number, packetId: number): void {
    this.#held.delete(packetId)
    feed.acknowledge(sequence)
  }

  #arrive(life: number, work: () => void): void {
    const { world } = this.#all.fleet
    this.#arrivesAt = Math.max(this.#arrivesAt, world.elapsedMs + world.random.below(30))
    this.#all.fleet.after(this.#arrivesAt - world.elapsedMs, () => {
      if (life === this.#life) work()
    })
  }
}

/** Packet ids that a connection gives out. */
class Ids {
  readonly #used = new Set<number>()

  take(): number {
    let id = 32_768
    while (this.#used.has(id)) id++
    return this.use(id)
  }

  /** Marks an id that is owed; takes one for 0. */
  use(id: number): number {
    if (id === 0) return this.take()
    this.#used.add(id)
    return id
  }

  free(id: number): void {
    this.#used.delete(id)
  }
}
