import { afterEach, describe, expect, test, vi } from 'vitest'
import type { InboxId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { InboxClient } from '../../src/inbox/client.ts'
import { InboxObserver } from '../../src/inbox/observer.ts'
import type { Answer, Command, Effect, Query, Response } from '../../src/inbox/store/command.ts'
import { inboxCoprocessor } from '../../src/inbox/store/coprocessor.ts'
import { inboxStart } from '../../src/inbox/store/schema.ts'
import { SimulatedEngine } from '../../src/kv/engine/memory/simulated.ts'
import { type ChaosOptions, chaosWorld } from '../sim/chaos.ts'
import { seeds } from '../sim/seeds.ts'
import { Device, Fleet, Publisher } from './fleet.ts'
import { GroupFleet } from './fleet-group.ts'
import { TENANT } from './harness.ts'
import { SimLinks } from './remote/links.ts'

type Options = Partial<ChaosOptions<Command, Response, Query, Answer, Effect>>

/** Links break for so long; a run of 60 rounds takes about 3 s. */
const CUTS_MS = 4_000
const NAMES = ['a', 'c', 'j', 'k', 'q', 's', 'x']
const startOf = (name: string) => inboxStart(TENANT, name as InboxId)

function chaosOf(seed: number, options: Options) {
  const observer = new InboxObserver(silentLogger, (callback) => callback())
  const chaos = chaosWorld<Command, Response, Query, Answer, Effect>({
    seed,
    coprocessor: () => ({ ...inboxCoprocessor }),
    makeObserver: () => observer,
    splits: [startOf('h'), startOf('p')],
    splitKey: (world) => startOf(NAMES[world.random.below(NAMES.length)]!),
    ...{ crashMs: 600, splitMs: 500, hangMs: 1_500, gatherMs: 0 },
    ...options,
  })
  return { chaos, observer }
}

type Watcher = () => ReturnType<Device['target']> | null
type Setup = (made: ReturnType<typeof chaosOf>, watcher: Watcher) => Fleet

/** The front end is where the ranges are. */
const together: Setup = ({ chaos: { world, client }, observer }, watcher) => {
  const fleet = new Fleet(world, client, observer, watcher)
  fleet.inbox.start(fleet)
  return fleet
}

/** It is on a node without a replica, behind a link that breaks now and then. */
const apart: Setup = ({ chaos, observer }, watcher) => {
  const { world, client } = chaos
  const { defer, clock, random } = world
  const links = new SimLinks({
    defer,
    after: (ms, callback) => clock.after(ms, callback),
    delayMs: () => random.below(4),
  })
  const led = () => (chaos.store?.ranges() ?? []).filter(({ leads }) => leads).map(({ descriptor }) => descriptor)
  const others = (name: string) => ({ peers: links.node(name).peers, led })
  const back = new InboxClient({
    ...{ ranges: client, observer, clock, defer, log: silentLogger, node: 'store', others: others('store') },
  })
  const front = new InboxObserver(silentLogger, defer)
  const fleet = new Fleet(world, client, front, watcher, { ...others('n1'), led: () => [] })
  back.start(fleet)
  fleet.inbox.start(fleet)
  const cut = () => {
    if (world.elapsedMs > CUTS_MS) return
    links.cut()
    clock.after(random.below(800), cut)
  }
  clock.after(random.below(800), cut)
  return fleet
}

/** Sessions that come and go, publishers, wills, under chaos; then everything is drained and compared. */
async function run(seed: number, options: Options = {}, rounds = 60, setup = together): Promise<Fleet> {
  const made = chaosOf(seed, options)
  const { chaos } = made
  const { world } = chaos
  const watcher = { target: null as ReturnType<Device['target']> | null }
  const fleet = setup(made, () => watcher.target)
  const watching = new Device(fleet, 'will-watcher', 1)
  await world.resolve(watching.connect())
  watcher.target = watching.target()
  const devices = NAMES.map((name, i) => new Device(fleet, name, i % 2 === 0 ? 1 : 2))
  const publishers = [new Publisher(fleet, 'p1'), new Publisher(fleet, 'p2')]
  await world.resolve(
    Promise.all([...devices.map((each) => each.connect()), ...publishers.map((each) => each.start())]),
  )
  const fail = (error: unknown) => world.fail(error)
  for (let round = 0; round < rounds; round++) {
    for (const publisher of publishers) {
      for (let burst = world.random.below(6); burst > 0; burst--) {
        const qos = world.random.below(2) === 0 ? 1 : 2
        publisher
          .publish(
            qos,
            devices.filter((device) => device.qos === qos),
          )
          .catch(fail)
      }
    }
    const device = devices[world.random.below(devices.length)]!
    if (!device.busy) {
      const how = (['disconnect', 'lost', 'silent'] as const)[world.random.below(3)]!
      device
        .disconnect(how)
        .then(() => device.connect())
        .catch(fail)
    }
    await world.run(world.random.float() * 100)
  }
  chaos.calm()
  await world.runUntil(() => publishers.every(({ open }) => open === 0) && devices.every(({ busy }) => !busy), 120_000)
  await world.runUntil(() => drained(devices, publishers), 120_000)
  // Wills that were not confirmed are announced again after 30 s.
  await world.run(200_000)
  check(fleet, devices, publishers)
  for (const device of devices) {
    const head = await world.resolve(fleet.inbox.head(device.owner!))
    expect(head, device.name).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
  }
  expect(chaos.health()).toEqual([])
  return fleet
}

/** A group whose members come and go, under chaos; then everything is drained and compared. */
async function runGroup(seed: number, ordered: boolean, setup = together): Promise<GroupFleet> {
  const made = chaosOf(seed, {})
  const { chaos, observer } = made
  const { world } = chaos
  const fleet = setup(made, () => null)
  const group = new GroupFleet(fleet, { tenant: TENANT, group: 'g', filter: 'f', ordered }, ['a', 'k', 's'])
  const fail = (error: unknown) => world.fail(error)
  await world.resolve(Promise.all(group.members.map((member) => member.connect())))
  for (let round = 0; round < 60; round++) {
    for (let burst = world.random.below(6); burst > 0; burst--) group.publish(world.random.below(2) === 0 ? 1 : 2)
    const member = group.members[world.random.below(3)]!
    if (!member.busy && world.random.below(2) === 0) {
      member
        .disconnect(world.random.below(2) === 0)
        .then(() => member.connect())
        .catch(fail)
    }
    await world.run(world.random.float() * 100)
  }
  chaos.calm()
  const done = () => group.open === 0 && group.members.every(({ busy }) => !busy)
  await world.runUntil(done, 120_000)
  const all = () => {
    const delivered = new Set(group.delivered.map(({ payload }) => payload))
    return group.acknowledged.every((payload) => delivered.has(payload))
  }
  await world.runUntil(all, 120_000)
  await world.run(10_000)
  expect(fleet.faults).toEqual([])
  expect(observer.stats()).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
  expect(chaos.health()).toEqual([])
  return group
}

function drained(devices: readonly Device[], publishers: readonly Publisher[]): boolean {
  return devices.every((device) => {
    const delivered = new Set(device.delivered)
    return publishers.every(({ acknowledged }) =>
      (acknowledged.get(device.name) ?? []).every((each) => delivered.has(each)),
    )
  })
}

function check(fleet: Fleet, devices: readonly Device[], publishers: readonly Publisher[]): void {
  expect(fleet.faults).toEqual([])
  for (const device of devices) {
    for (const { name } of publishers) {
      const own = device.delivered.filter((payload) => payload.startsWith(`${name} `))
      // QoS 2 comes once; of QoS 1 the first of each counts.
      if (device.qos === 2) expect(new Set(own).size, `${device.name} got something twice`).toBe(own.length)
      const numbers = [...new Set(own)].map((payload) => Number(payload.split(' ')[1]))
      expect(numbers, `${device.name} got ${name} out of order`).toEqual(numbers.toSorted((a, b) => a - b))
    }
  }
  const due = devices.flatMap(({ willsDue }) => willsDue)
  expect(fleet.willsStored.toSorted(), 'wills fire once').toEqual(due.toSorted())
}

describe('sessions under chaos', () => {
  afterEach(() => vi.restoreAllMocks())

  test.each(seeds(6))('nothing is lost, doubled or out of order, and wills fire once, seed %i', async (seed) => {
    const fleet = await run(seed)
    expect(fleet.willsAnnounced).toBeGreaterThan(0)
  })

  test.each(seeds(6))(
    'each message of a group goes to one member, QoS 2 never to a second one, seed %i',
    async (seed) => {
      const { delivered, acknowledged } = await runGroup(seed, seed % 2 === 0)
      expect(acknowledged.length).toBeGreaterThan(50)
      const exactly = delivered.map(({ payload }) => payload).filter((payload) => payload.startsWith('q2'))
      expect(exactly.toSorted()).toEqual(acknowledged.filter((payload) => payload.startsWith('q2')).toSorted())
    },
  )

  test.each(seeds(6))('the same at a node without a replica, seed %i', async (seed) => {
    const fleet = await run(seed, {}, 60, apart)
    expect(fleet.willsAnnounced).toBeGreaterThan(0)
    const { acknowledged, delivered } = await runGroup(seed, seed % 2 === 0, apart)
    const exactly = delivered.map(({ payload }) => payload).filter((payload) => payload.startsWith('q2'))
    expect(exactly.toSorted()).toEqual(acknowledged.filter((payload) => payload.startsWith('q2')).toSorted())
  })

  test('answers before the sync are caught', async () => {
    const { write } = SimulatedEngine.prototype
    vi.spyOn(SimulatedEngine.prototype, 'write').mockImplementation(function (this: SimulatedEngine, batch) {
      return write.call(this, { ...batch, sync: false })
    })
    let caught = 0
    for (const seed of [1, 2, 3]) await run(seed, { crashMs: 300 }, 40).catch(() => caught++)
    expect(caught).toBe(3)
  })
})
