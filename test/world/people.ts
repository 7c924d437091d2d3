import type { QoS } from 'mqtt-packet'
import type { Random } from '../../src/base/clock.ts'
import { Device, type WillPlan } from './device.ts'
import type { Ledger } from './ledger.ts'
import type { Link } from './link.ts'
import type { Machine } from './node.ts'
import { oneOf, type Plan } from './plan.ts'
import type { BrokerWorld } from './world.ts'

/** What a client is there for. */
interface Role {
  tenant: string
  id: string
  persistent: boolean
  /** Keeps its session and these for ever. */
  keeps: readonly [filter: string, qos: QoS][]
  /** Comes and goes with these. */
  tries: readonly string[]
  publishes: readonly string[]
  hasWill: boolean
}

const ROLES: readonly Role[] = [
  role('a', 'k1', {
    persistent: true,
    keeps: [
      ['d/+', 2],
      ['w/+', 2],
    ],
  }),
  role('a', 'k2', {
    persistent: true,
    keeps: [
      ['d/+', 1],
      ['r/+', 1],
    ],
    publishes: ['d', 'r'],
  }),
  role('a', 'k3', {
    persistent: true,
    keeps: [
      ['d/0', 2],
      ['s/+', 2],
      ['w/#', 1],
    ],
    hasWill: true,
  }),
  role('a', 'g1', { persistent: true, keeps: [['$share/g/s/+', 2]] }),
  role('a', 'g2', { persistent: true, keeps: [['$share/g/s/+', 1]], hasWill: true }),
  role('a', 'g3', { tries: ['$share/g/s/+', '$share/h/s/+'] }),
  role('a', 'p1', { persistent: true, publishes: ['d', 's'], tries: ['d/1', 'd/+', 'r/#'], hasWill: true }),
  role('a', 'p2', { persistent: true, publishes: ['d', 'r'], tries: ['d/2', 's/#'], hasWill: true }),
  role('a', 't1', { publishes: ['d', 's', 'r'], keeps: [['d/+', 2]], hasWill: true }),
  role('a', 't2', {
    publishes: ['d'],
    keeps: [
      ['d/#', 1],
      ['r/+', 1],
    ],
  }),
  role('b', 'k1', { persistent: true, keeps: [['#', 2]] }),
  role('b', 'p1', { persistent: true, publishes: ['d', 's', 'r'], keeps: [['d/3', 1]], hasWill: true }),
  role('b', 't1', { publishes: ['d'], tries: ['#', '$share/g/s/+'] }),
]

const TOPICS = 4
/** A CONNECT that is not answered by then is given up. */
const PATIENCE_MS = 4_000

function role(tenant: string, id: string, fields: Partial<Role>): Role {
  return { tenant, id, persistent: false, keeps: [], tries: [], publishes: [], hasWill: false, ...fields }
}

/** One client, and what it does by the seed. */
export class Person {
  readonly role: Role
  readonly device: Device
  readonly #it: BrokerWorld
  readonly #ledger: Ledger
  readonly #random: Random
  readonly #actMs: number
  #connecting: Link | null = null
  #still = false

  constructor(it: BrokerWorld, ledger: Ledger, role: Role, actMs: number) {
    const { random } = it.world
    this.role = role
    this.#it = it
    this.#ledger = ledger
    this.#random = random
    this.#actMs = actMs
    this.device = new Device(it, ledger, {
      ...{ tenant: role.tenant, id: role.id, persistent: role.persistent },
      version: random.below(4) === 0 ? 4 : 5,
      receiveMaximum: oneOf(random, [2, 5, 20]),
      keepAliveSeconds: oneOf(random, [0, 2, 10]),
    })
    this.device.onConnected = (link) => this.#connected(link)
    this.device.onLost = (link) => this.#lost(link)
    this.#next()
  }

  /** It settles: stays connected, keeps what it has, publishes nothing. */
  settle(): void {
    this.#still = true
    this.device.current?.go()
  }

  /** Has all that it keeps, and nothing under way. */
  get settled(): boolean {
    const { device, role } = this
    return device.connected && device.idle && role.keeps.every(([filter]) => device.filters.includes(filter))
  }

  #next(): void {
    this.#it.world.clock.after(this.#random.float() * this.#actMs * 2, () => {
      // It had gone on to another node, which did not take it.
      if (this.device.current?.deaf && this.#connecting === null) this.device.current.end('cut')
      if (!this.device.connected) this.#reconnect()
      else if (!this.#still) this.#act()
      else this.#catchUp()
      this.#next()
    })
  }

  #act(): void {
    const { device } = this
    const dice = this.#random.below(100)
    if (dice < 72) this.#publish()
    else if (dice < 80) this.#change()
    else if (dice < 84) device.current!.end(oneOf(this.#random, ['cut', 'cut', 'silent', 'will']))
    else if (dice < 86) device.current!.end('disconnect')
    else if (dice < 89) this.#moveOn()
    else if (dice < 92) this.#stall()
    else this.#catchUp()
  }

  #publish(): void {
    const { publishes } = this.role
    if (publishes.length === 0) return
    const burst = 1 + this.#random.below(3)
    for (let i = 0; i < burst; i++) {
      const kind = oneOf(this.#random, publishes)
      const qos = oneOf(this.#random, [0, 1, 1, 2, 2] as const)
      this.device.publish({ topic: `${kind}/${this.#random.below(TOPICS)}`, qos, retain: kind === 'r' })
    }
  }

  #change(): void {
    const { tries } = this.role
    if (tries.length === 0 || this.device.changing) return
    const filter = oneOf(this.#random, tries)
    if (this.device.filters.includes(filter)) this.device.unsubscribe(filter)
    // Filters of one session do not overlap: how often a message comes then is the broker's choice.
    else if (this.device.filters.length === 0) this.device.subscribe(filter, oneOf(this.#random, [0, 1, 2]))
  }

  /** Subscribes to what it keeps and does not have. */
  #catchUp(): void {
    if (!this.device.idle) return
    const missing = this.role.keeps.find(([filter]) => !this.device.filters.includes(filter))
    if (missing !== undefined) this.device.subscribe(...missing)
  }

  /** To another node, or another connection to the same; sometimes to two at once. */
  #moveOn(): void {
    const old = this.device.current!
    if (this.#random.below(2) === 0) old.deaf = true
    this.#connect(this.#anyNode())
    if (this.#random.below(3) === 0) this.#connect(this.#anyNode())
  }

  #stall(): void {
    const link = this.device.current!
    link.stop()
    this.#it.world.clock.after(this.#random.below(1_500), () => link.go())
  }

  #reconnect(): void {
    const { world } = this.#it
    if (this.#connecting === null) this.#connect(this.#anyNode())
    else if (world.elapsedMs - this.#connecting.connectedMs > PATIENCE_MS) this.#connecting.end('cut')
  }

  #connect(machine: Machine): void {
    const { role, device } = this
    const gives = role.keeps.length === 0 && this.#random.below(10) === 0 && !this.#still
    const will = role.hasWill && !this.#still && this.#random.below(2) === 0 ? this.#will() : undefined
    this.#connecting = device.connect(machine, { cleanStart: gives, ...(will === undefined ? {} : { will }) })
  }

  #will(): WillPlan {
    const { device } = this
    const qos = oneOf(this.#random, [1, 2] as const)
    const topic = `w/${device.id}`
    const publish = this.#ledger.add({ topic, qos, tenant: device.tenant, publisher: device.name, ...WILL })
    publish.attempts = 1
    return { publish, delaySeconds: device.version === 5 ? oneOf(this.#random, [0, 0, 1, 3]) : 0 }
  }

  #anyNode(): Machine {
    return oneOf(this.#random, this.#it.machines)
  }

  #connected(link: Link): void {
    if (this.#connecting === link) this.#connecting = null
    this.#catchUp()
  }

  #lost(link: Link): void {
    if (this.#connecting === link) this.#connecting = null
  }
}

const WILL = { retain: false, will: true } as const

export function people(it: BrokerWorld, ledger: Ledger, { actMs }: Plan): Person[] {
  return ROLES.map((each) => new Person(it, ledger, each, actMs))
}
