import { afterEach, describe, expect, test, vi } from 'vitest'
import type { InboxId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
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

type Options = Partial<ChaosOptions<Command, Response, Query, Answer, Effect>>

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
    ...{ crashMs: 600, splitMs: 500, hangMs: 1_500 },
    ...options,
  })
  return { chaos, observer }
}

/** Sessions that come and go, publishers, wills, under chaos; then everything is drained and compared. */
async function run(seed: number, options: Options = {}, rounds = 60): Promise<Fleet> {
  const { chaos, observer } = chaosOf(seed, options)
  const { world, client } = chaos
  const watcher = { target: null as ReturnType<Device['target']> | null }
  const fleet = new Fleet(world, client, observer, () => watcher.target)
  fleet.inbox.start(fleet)
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
async function runGroup(seed: number, ordered: boolean): Promise<GroupFleet> {
  const { chaos, observer } = chaosOf(seed, {})
  const { world, client } = chaos
  const fleet = new Fleet(world, client, observer, () => null)
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
  expect(fleet.inbox.stats()).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
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
