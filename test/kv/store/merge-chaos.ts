import assert from 'node:assert/strict'
import { bytes } from '../toy.ts'
import { type Held, setup } from './merge-setup.ts'

const ALL = ['s1', 's2', 's3', 's4']
const KEYS = ['a', 'b', 'd', 'e', 'g', 'h', 'k', 'm', 'p', 's', 'v', 'y']
const ignore = (): void => {}

/** What was said and answered: each key's words come once, in the order of each client, and none is lost. */
class Talk {
  readonly problems: string[] = []
  readonly acked = new Map<string, string[]>(KEYS.map((key) => [key, []]))
  reads = 0
  readonly #order = new Map<string, string[]>()
  readonly #held: Held
  readonly #clients

  constructor(held: Held) {
    this.#held = held
    this.#clients = [held.cluster.client(20_000), held.cluster.client(20_000)]
  }

  say(): void {
    const { random } = this.#held.world
    const which = random.below(2)
    const key = KEYS[random.below(KEYS.length)]!
    if (random.below(4) === 0) return this.#read(which, key)
    for (let burst = 1 + random.below(3); burst > 0; burst--) this.#append(which, key)
  }

  check(stores: readonly string[]): void {
    const { observed } = this.#held
    for (const key of KEYS) {
      const words = (observed(stores[0]!).get(`k${key}`) ?? '').split(' ').filter((word) => word !== '')
      assert.equal(new Set(words).size, words.length, `a word of ${key} is there twice`)
      const lost = this.acked.get(key)!.filter((word) => !words.includes(word))
      assert.deepEqual(lost, [], `words of ${key} are lost: ${lost}`)
      for (const which of [0, 1]) {
        const own = words.filter((word) => word.startsWith(`${which}.`))
        const inOrder = (this.#order.get(`${which}${key}`) ?? []).filter((word) => own.includes(word))
        assert.deepEqual(own, inOrder, `words of ${key} are out of order`)
      }
      for (const store of stores) {
        const there = this.#held.cluster
          .store(store)
          .ranges()
          .some(({ descriptor: { start, end } }) => {
            const [from, to] = [start, end].map((bound) =>
              bound === undefined ? undefined : Buffer.from(bound).toString(),
            )
            return (from === undefined || `k${key}` >= from) && (to === undefined || `k${key}` < to)
          })
        if (there)
          assert.equal(observed(store).get(`k${key}`), observed(stores[0]!).get(`k${key}`), `${key} on ${store}`)
      }
    }
  }

  #append(which: number, key: string): void {
    const order = this.#order.get(`${which}${key}`) ?? []
    this.#order.set(`${which}${key}`, order)
    const word = `${which}.${order.length + 1}`
    order.push(word)
    this.#held.append(key, word, this.#clients[which]).then(() => this.acked.get(key)!.push(word), ignore)
  }

  #read(which: number, key: string): void {
    const known = [...this.acked.get(key)!]
    this.reads++
    this.#clients[which]!.query(bytes(`k${key}`), { key }).then((answer) => {
      const words = new Set((answer ?? '').split(' '))
      for (const word of known) if (!words.has(word)) this.problems.push(`a read of ${key} does not show ${word}`)
    }, ignore)
  }
}

export interface ChaosCounts {
  merges: number
  splits: number
  acked: number
}

/** Everything bad at random, with splits and merges at any moment; then calm, and all is as it was said. */
export async function mergeChaos(seed: number, forMs = 40_000): Promise<ChaosCounts> {
  const small = seed % 2 === 0
  const moves = seed % 3 === 0
  const stores = moves ? ALL : ALL.slice(0, 3)
  const held = setup({
    seed,
    splits: ['kd', 'kh', 'kp'],
    stores,
    voters: 3,
    keeps: seed % 5 !== 0,
    ...(small ? { logBytes: 400 } : {}),
  })
  const { world, cluster } = held
  const counts = { merges: 0, splits: 0, acked: 0 }
  world.network.options.lossPercent = 2
  world.network.options.duplicatePercent = 3
  const talk = new Talk(held)
  let calm = false
  const every = (meanMs: number, work: () => void) => {
    world.clock.after(world.random.float() * meanMs * 2, () => {
      if (calm) return
      work()
      every(meanMs, work)
    })
  }
  const pick = <T>(from: readonly T[]): T | undefined => from[world.random.below(Math.max(1, from.length))]
  every(20, () => talk.say())
  every(6_000, () => {
    const store = pick(stores)!
    cluster.crash(store)
    world.clock.after(world.random.float() * 4_000, () => cluster.start(store))
  })
  every(8_000, () => {
    const store = pick(stores)!
    const others = stores.filter((each) => each !== store)
    if (world.random.below(3) === 0) for (const other of others) world.network.cut(store, other)
    else world.network.partition([store], others)
    world.clock.after(world.random.float() * 6_000, () => world.network.heal())
  })
  every(7_000, () => {
    const store = pick(cluster.up)
    if (store === undefined) return
    const engine = cluster.engine(store)
    engine.hang()
    world.clock.after(world.random.float() * 3_000, () => engine.resume())
  })
  every(3_000, () => {
    const key = bytes(`k${pick(KEYS)}`)
    for (const store of cluster.up)
      cluster
        .store(store)
        .split('inbox', key)
        .then(() => counts.splits++, ignore)
  })
  every(800, () => {
    const store = pick(cluster.up)
    const ranges = store === undefined ? [] : cluster.store(store).ranges()
    const left = pick(ranges.filter(({ leads }) => leads))
    const end = left?.descriptor.end
    const right = ranges.find(
      ({ descriptor: { start } }) => start !== undefined && end !== undefined && Buffer.compare(start, end) === 0,
    )
    if (left === undefined || right === undefined) return
    cluster
      .store(store!)
      .merge(left.descriptor.id, right.descriptor.id)
      .then(() => counts.merges++, ignore)
  })
  every(2_500, () => {
    const store = pick(cluster.up)
    if (store === undefined) return
    const range = pick(
      cluster
        .store(store)
        .ranges()
        .filter(({ leads }) => leads),
    )
    const to = pick(range?.descriptor.replicas ?? [])
    if (range !== undefined && to !== undefined)
      cluster.store(store).transfer(range.descriptor.id, to.store).catch(ignore)
  })
  if (moves) every(1_500, () => move(held))
  await world.run(forMs)
  calm = true
  world.network.heal()
  world.network.options.lossPercent = 0
  for (const store of stores) {
    cluster.start(store)
    cluster.engine(store).resume()
  }
  await settled(held)
  assert.deepEqual(talk.problems, [])
  assert.deepEqual(cluster.health(), [])
  if (!moves) talk.check(stores)
  else await checkByReads(held, talk)
  counts.acked = [...talk.acked.values()].flat().length
  assert(counts.acked > 100, `only ${counts.acked} words were answered`)
  return counts
}

/** A learner comes, becomes a voter in another one's place, and goes. */
function move({ world, cluster }: Held): void {
  const store = cluster.up[world.random.below(Math.max(1, cluster.up.length))]
  if (store === undefined) return
  const led = cluster
    .store(store)
    .ranges()
    .filter(({ leads }) => leads)
  const range = led[world.random.below(Math.max(1, led.length))]
  if (range === undefined) return
  const { id, replicas } = range.descriptor
  const missing = ALL.find((each) => !replicas.some((replica) => replica.store === each))
  const learner = replicas.find(({ role }) => role === 'learner')
  const voters = replicas.filter(({ role }) => role === 'voter')
  try {
    if (learner !== undefined) {
      const out = voters[world.random.below(voters.length)]!
      const changes = [
        { store: learner.store, role: 'voter' as const },
        ...(voters.length >= 3 ? [{ store: out.store, role: 'none' as const }] : []),
      ]
      cluster.store(store).change(id, changes).catch(ignore)
    } else if (missing !== undefined) {
      cluster
        .store(store)
        .change(id, [{ store: missing, role: 'learner' }])
        .catch(ignore)
    }
  } catch {}
}

/** No merge is under way, each key has one owner, and the replicas of each range are the same. */
async function settled(held: Held): Promise<void> {
  const { world, cluster } = held
  const problem = () => {
    const all = cluster.up.flatMap((name) =>
      cluster
        .store(name)
        .ranges()
        .map((stats) => ({ name, ...stats })),
    )
    const newest = new Map<string, (typeof all)[number]>()
    for (const each of all) {
      const known = newest.get(each.descriptor.id)
      if (known === undefined || known.index < each.index) newest.set(each.descriptor.id, each)
    }
    for (const [id, { descriptor, index, hash }] of newest) {
      const shape = JSON.stringify([descriptor.epoch, index, hash])
      // Who was removed, and sleeps, may never hear of it.
      for (const { store } of descriptor.replicas) {
        const there = all.find((each) => each.name === store && each.descriptor.id === id)
        if (there === undefined) return `${store} lacks ${id}`
        if (JSON.stringify([there.descriptor.epoch, there.index, there.hash]) !== shape)
          return `${id} differs on ${store}`
      }
      if (!descriptor.replicas.some(({ store }) => cluster.leader(id) === store)) return `${id} has no leader`
    }
    return null
  }
  for (let waited = 0; problem() !== null; waited++) {
    if (waited > 240) throw new Error(`It does not come to rest: ${problem()}\n${describeAll(held)}`)
    await world.run(500)
  }
}

async function checkByReads(held: Held, talk: Talk): Promise<void> {
  for (const key of KEYS) {
    const words = ((await held.world.resolve(held.read(key), 60_000)) ?? '').split(' ')
    assert.equal(new Set(words).size, words.length, `a word of ${key} is there twice`)
    const lost = talk.acked.get(key)!.filter((word) => !words.includes(word))
    assert.deepEqual(lost, [], `words of ${key} are lost: ${lost}`)
  }
}

function describeAll({ cluster }: Held): string {
  return cluster.up
    .flatMap((name) =>
      cluster
        .store(name)
        .ranges()
        .map(({ descriptor: { id, epoch, start, end, replicas }, index, hash, leads, term, halted }) => {
          const [from, to] = [start, end].map((bound) => (bound === undefined ? '' : Buffer.from(bound).toString()))
          const members = replicas.map(
            ({ store, replica, role }) => `${store}/${replica}${role === 'learner' ? 'L' : ''}`,
          )
          const place = `${id} v${epoch.version}.${epoch.confVersion} [${from}, ${to})`
          return `${name} ${place} ${members} at ${index} ${hash} ${leads ? 'leads' : ''} t${term} ${halted ?? ''}`
        }),
    )
    .sort((a, b) => (a.slice(3) < b.slice(3) ? -1 : 1))
    .join('\n')
}
