import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/logging.ts'
import type { RangeTransport } from '../../../src/kv/client/transport.ts'
import { Store } from '../../../src/kv/store/store.ts'
import type { HeldAnswer, WatchedReplica } from '../../../src/kv/store/watch.ts'
import { World } from '../../sim/world.ts'
import { bytes, Toy, type ToyCommand, ToyObserver, type ToyQuery, type ToyResponse } from '../toy.ts'

/** Three stores whose replicas are watched; `log` says by store what was heard. */
function setup(holds = false) {
  const world = new World({ seed: 1, network: { lossPercent: 0, delayMsMin: 0.2, delayMsMax: 2 } })
  const names = ['s1', 's2', 's3']
  const log = new Map<string, string[]>(names.map((name) => [name, []]))
  const replicas = new Map<string, WatchedReplica>()
  const held: { index: number; answer: HeldAnswer }[] = []
  const stores = new Map<string, Store>()
  const transports = new Map<string, RangeTransport<ToyCommand, ToyResponse, ToyQuery, string | null>>()
  for (const name of names) {
    const machine = world.process(name)
    machine.restart()
    const store = new Store({
      ...{ engine: machine.disk('db'), clock: machine.clock(), defer: machine.defer(), random: world.random },
      ...{ storeId: name, log: silentLogger },
      send: (to, packets) => world.network.send(name, to, packets),
    })
    const hear = (line: string) => log.get(name)!.push(line)
    const transport = store.open(new Toy(), new ToyObserver(), {
      ...{ splits: [], stores: names },
      watch: (replica) => {
        replicas.set(`${name} ${replica.id}`, replica)
        hear(`${replica.id} opened at ${replica.range.applied.index}`)
        return {
          ledBy: () => {
            const { leads, established, leaderStore } = replica.group
            hear(`${replica.id} ${leads ? `leads${established ? ', established' : ''}` : `follows ${leaderStore}`}`)
          },
          split: (child) => hear(`${replica.id} split off ${child.id.startsWith('inbox-') ? 'a child' : child.id}`),
          merged: (right) => hear(`${replica.id} took ${right.id.startsWith('inbox-') ? 'its child' : right.id}`),
          applied: (index) => hear(`${replica.id} applied ${index}`),
          ...(holds ? { answers: (index: number, answer: HeldAnswer) => held.push({ index, answer }) } : {}),
          closed: () => hear(`${replica.id} closed`),
        }
      },
    })
    machine.attach((from, packets) => store.receive(from, packets as never))
    stores.set(name, store)
    transports.set(name, transport)
  }
  const leader = () =>
    names.find((name) =>
      stores
        .get(name)!
        .ranges()
        .some(({ leads }) => leads),
    )
  const propose = (key: string, word: string) => {
    const name = leader()!
    const { descriptor } = stores.get(name)!.ranges()[0]!
    const outcome: { error: Error | null; responses: unknown }[] = []
    const commands: ToyCommand[] = [{ type: 'append', key, word }]
    const run = { stream: '', acked: 0, previous: 0, first: 1, count: 1 }
    transports.get(name)!.propose(
      name,
      {
        ...{ range: descriptor.id, epochVersion: descriptor.epoch.version, run: run as never },
        ...{ commands, keys: [bytes(`k${key}`)], bytes: 64 },
      },
      (error, responses) => outcome.push({ error, responses }),
    )
    return outcome
  }
  return { world, stores, log, replicas, held, leader, propose, names }
}

test('who watches hears of leaders, of what is shown, of splits and merges, and of the end', async () => {
  const { world, stores, log, leader, propose, names, replicas } = setup()
  await world.runUntil(() => leader() !== undefined, 30_000)
  const name = leader()!
  const outcome = propose('a', 'x')
  await world.runUntil(() => outcome.length > 0)
  const own = log.get(name)!
  const at = replicas.get(`${name} inbox-1`)!.range.applied.index
  expect(own[0]).toBe('inbox-1 opened at 1')
  expect(own.indexOf('inbox-1 leads')).toBeLessThan(own.indexOf('inbox-1 leads, established'))
  expect(own.at(-1)).toBe(`inbox-1 applied ${at}`)
  for (const other of names.filter((each) => each !== name)) {
    expect(log.get(other)).toContain(`inbox-1 follows ${name}`)
    await world.runUntil(() => log.get(other)!.includes(`inbox-1 applied ${at}`))
  }

  await world.resolve(stores.get(name)!.split('inbox', bytes('km')))
  const child = [...replicas.keys()].find((each) => each.startsWith(`${name} `) && !each.endsWith(' inbox-1'))!
  expect(own.indexOf(`${child.slice(3)} opened at 1`)).toBeLessThan(own.indexOf('inbox-1 split off a child'))
  await world.runUntil(() => [...log.values()].some((lines) => lines.includes(`${child.slice(3)} leads, established`)))
  await world.resolve(stores.get(name)!.merge('inbox-1', child.slice(3)))
  expect(own.indexOf(`${child.slice(3)} closed`)).toBeLessThan(own.indexOf('inbox-1 took its child'))
  stores.get(name)!.abandon()
})

test('an answer that is held back goes out when it is released, or is an error when it is given up', async () => {
  const { world, held, leader, propose, stores, replicas } = setup(true)
  await world.runUntil(() => leader() !== undefined, 30_000)
  const [first, second] = [propose('a', 'x'), propose('a', 'y')]
  await world.runUntil(() => held.length > 0)
  await world.run(5_000)
  expect([first.length, second.length]).toEqual([0, 0])
  const load = () => stores.get(leader()!)!.ranges()[0]!.commands
  expect(load()).toBe(2)
  for (const { answer } of held.splice(0)) answer.release()
  expect([first[0]!.error, second[0]!.error]).toEqual([null, null])
  expect(load()).toBe(0)
  const third = propose('a', 'z')
  await world.runUntil(() => held.length > 0)
  expect(held[0]!.index).toBe(replicas.get(`${leader()} inbox-1`)!.range.applied.index)
  const error = Object.assign(new Error('no more'), { code: 'UNAVAILABLE' })
  held[0]!.answer.giveUp(error as never)
  expect(third).toEqual([{ error, responses: [] }])
})

test('a leader says whether a majority still follows, who is cut off does not', async () => {
  const { world, leader, replicas, names } = setup()
  await world.runUntil(() => leader() !== undefined, 30_000)
  const name = leader()!
  const said: [string, boolean][] = []
  for (const each of names) replicas.get(`${each} inbox-1`)!.confirm((leads) => said.push([each, leads]))
  await world.runUntil(() => said.length === 3)
  expect(said.filter(([, leads]) => leads)).toEqual([[name, true]])
  world.network.partition(
    [name],
    names.filter((each) => each !== name),
  )
  const cut: boolean[] = []
  replicas.get(`${name} inbox-1`)!.confirm((leads) => cut.push(leads))
  await world.runUntil(() => cut.length > 0, 30_000)
  expect(cut).toEqual([false])
})
