import { beforeAll, describe, expect, test } from 'vitest'
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { routeCoprocessor } from '../../src/dist/index.ts'
import { groupInbox, inboxCoprocessor, inboxStart } from '../../src/inbox/index.ts'
import { decodeGroup, encodeGroup } from '../../src/inbox/store/group-record.ts'
import {
  decodeNumbers,
  decodeTally,
  decodeWill,
  encodeNumbers,
  encodeTally,
  encodeWill,
  type Tally,
} from '../../src/inbox/store/records.ts'
import {
  KIND_GROUP,
  KIND_NUMBERS,
  KIND_PARTS,
  KIND_SESSION,
  KIND_TALLY,
  KIND_WILL,
  PART_ASSIGNED,
  PART_ENTRY,
  PART_FILTER,
  withKind,
} from '../../src/inbox/store/schema.ts'
import { type Engine, FAMILIES, type Family } from '../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { decodeDescriptor, descriptorKey, encodeDescriptor } from '../../src/kv/range/schema.ts'
import { Store } from '../../src/kv/store/store.ts'
import { retainCoprocessor } from '../../src/retain/index.ts'
import { topicKey } from '../../src/retain/store/schema.ts'
import { World } from '../sim/world.ts'
import { damageOf } from './simulated-node.ts'
import { Simulation } from './simulation.ts'

const TENANT = 'default' as TenantId
const SLEEPER = inboxStart(TENANT, 'sleeper' as InboxId)
const GROUP = inboxStart(TENANT, groupInbox({ tenant: TENANT, group: 'g', filter: 'b', ordered: false }))

/** All records of a store, to be damaged. */
class Records {
  readonly #families = new Map<Family, Map<string, Buffer>>()

  static of(engine: Engine): Records {
    const records = new Records()
    for (const family of FAMILIES) {
      const found = new Map<string, Buffer>()
      const cursor = engine.cursor(family, {})
      while (cursor.next()) found.set(name(cursor.key), Buffer.from(cursor.value))
      cursor.close()
      records.#families.set(family, found)
    }
    return records
  }

  clone(): Records {
    const copy = new Records()
    for (const [family, found] of this.#families) copy.#families.set(family, new Map(found))
    return copy
  }

  /** The one key that begins with `prefix` and passes; fails where there is none. */
  find(family: Family, prefix: Uint8Array | string, passes: (key: string) => boolean = () => true): Buffer {
    const start = typeof prefix === 'string' ? prefix : name(prefix)
    const key = [...this.#families.get(family)!.keys()].find((each) => each.startsWith(start) && passes(each))
    if (key === undefined) throw new Error(`No key of ${family} begins with ${JSON.stringify(start)}`)
    return Buffer.from(key, 'latin1')
  }

  get(family: Family, key: Uint8Array): Buffer {
    return this.#families.get(family)!.get(name(key))!
  }

  put(family: Family, key: Uint8Array, value: Uint8Array): void {
    this.#families.get(family)!.set(name(key), Buffer.from(value))
  }

  delete(family: Family, key: Uint8Array): void {
    if (!this.#families.get(family)!.delete(name(key))) throw new Error('There is nothing to delete')
  }

  deleteAll(family: Family, prefix: string): void {
    const found = this.#families.get(family)!
    for (const key of [...found.keys()]) if (key.startsWith(prefix)) found.delete(key)
  }

  /** Flips bits of one byte of a value, counted from its end where negative. */
  flip(family: Family, key: Uint8Array, at: number, bits = 0xff): void {
    const value = Buffer.from(this.get(family, key))
    value[at < 0 ? value.length + at : at]! ^= bits
    this.put(family, key, value)
  }

  async engine(): Promise<MemoryEngine> {
    const engine = new MemoryEngine()
    await this.writeTo(engine)
    return engine
  }

  async writeTo(engine: Engine): Promise<void> {
    for (const [family, found] of this.#families) {
      const puts = [...found].map(([key, value]) => ({ type: 'put' as const, key: Buffer.from(key, 'latin1'), value }))
      await engine.write({ writes: puts.map((write) => ({ family, write })), sync: true })
    }
  }
}

function name(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1')
}

/** A key of what goes with the incarnation of an inbox. */
function part(records: Records, start: Uint8Array, kind: number): Buffer {
  const prefix = withKind(start, KIND_PARTS)
  return records.find('inbox', prefix, (key) => key.charCodeAt(prefix.length + 8) === kind)
}

let healthy: Records

/** A node that has something of everything, and is down. */
beforeAll(async () => {
  const simulation = new Simulation(1)
  const { node } = simulation
  node.start()
  const sleeper = simulation.talker()
  const will = { topic: 'w', payload: 'will', qos: 1, properties: { willDelayInterval: 500 } } as const
  await sleeper.connect('sleeper', { will, properties: { sessionExpiryInterval: 1_000 } })
  await sleeper.subscribe('a/#', 2)
  await sleeper.subscribe('$share/g/b', 1)
  sleeper.drop()
  const publisher = simulation.talker()
  await publisher.connect('publisher')
  for (const payload of ['1', '2', '3']) await publisher.publish('a/x', payload)
  await publisher.publish('a/y', '4', { qos: 2 })
  await publisher.publish('b', '5')
  await publisher.publish('r/1', 'retained', { retain: true })
  await publisher.publish('r/2', 'retained', { retain: true, expirySeconds: 1_000 })
  await simulation.world.run(1_000)
  node.crash()
  healthy = Records.of(node.disk)
})

const EMPTY = Buffer.alloc(0)
const index = (kind: number) => (records: Records) =>
  records.find('inbox', Buffer.of(0, 1), (key) => key.charCodeAt(10) === kind)
const expiry = index(0)
const delay = index(1)

const CASES: [string, (records: Records) => void, string | RegExp][] = [
  ['a lost descriptor', (db) => db.delete('meta', descriptorKey('inbox', 'inbox-1')), 'has records and no descriptor'],
  ['a range that begins too late', (db) => cut(db, { start: Buffer.from('m') }), 'No range holds the keys before'],
  ['a range that ends too soon', (db) => cut(db, { end: Buffer.from('m') }), 'No range holds the keys after'],
  [
    'two ranges on the same keys',
    (db) => {
      cut(db, {}, 'dist-9')
      db.put('meta', Buffer.from('dist\0dist-9\0a'), Buffer.of(0, 0, 0))
    },
    'Both "dist-1" and "dist-9" hold keys',
  ],
  ['a lost applied state', (db) => db.delete('meta', Buffer.from('dist\0dist-1\0a')), 'no applied state'],
  ['a lost mark', (db) => db.delete('meta', db.find('meta', 'inbox\0inbox-1\0s')), 'of a stream that has no mark'],
  [
    'a mark that is too low',
    (db) => db.put('meta', db.find('meta', 'inbox\0inbox-1\0s'), Buffer.of(1, 1)),
    /Answers go to \d+, the mark to 1$/,
  ],
  ['answers that are none', (db) => db.flip('meta', db.find('meta', 'inbox\0inbox-1\0w'), 0), /^meta .*: /],
  [
    'a lost log entry',
    (db) =>
      db.delete(
        'raft',
        db.find('raft', 'inbox-1\0e', (key) => key.charCodeAt(16) === 4),
      ),
    'Entry 5 follows on entry 3',
  ],
  [
    'a log that begins too late',
    (db) => db.delete('raft', db.find('raft', 'inbox-1\0e')),
    'begins with entry 3 after 1',
  ],
  ['a cut log entry', (db) => db.put('raft', db.find('raft', 'inbox-1\0e'), Buffer.of(1)), /^raft .*damaged/],
  ['a log without its state', (db) => db.delete('raft', Buffer.from('inbox-1\0s')), 'entries, and no state'],
  [
    'a log of no range',
    (db) => db.put('raft', Buffer.from('inbox-7\0s'), Buffer.of(1, 1, 0, 1, 1, 1)),
    'no such range',
  ],
  ['a lost log', (db) => db.deleteAll('raft', 'dist-1\0'), 'Range "dist-1" has no log'],
  [
    'a log that ends before what was applied',
    (db) => {
      db.deleteAll('raft', 'dist-1\0e')
      db.put('raft', Buffer.from('dist-1\0s'), Buffer.of(1, 9, 0, 1, 1, 1))
    },
    'is beyond the end, 1',
  ],
  [
    'a log of a term to come',
    (db) => db.put('raft', Buffer.from('dist-1\0s'), Buffer.of(1, 1, 0, 1, 1, 1)),
    'the replica is in term 1',
  ],
  [
    'a group without voters',
    (db) => db.put('meta', Buffer.from('dist\0dist-1\0c'), Buffer.of(1, 0, 0, 0, 0, 0, 2)),
    'no voter',
  ],
  ['a record of no service', (db) => db.put('meta', Buffer.from('dost\0d'), EMPTY), 'It names no service'],
  ['a lost route', (db) => db.delete('dist', db.find('dist', 'default\0a/#')), 'The subscription has no route'],
  [
    'a lost route of a group',
    (db) => db.delete('dist', db.find('dist', 'default\0b')),
    'The group of the subscription',
  ],
  ['a route of another time', (db) => db.flip('dist', db.find('dist', 'default\0a/#'), 8, 8), 'The route of the sub'],
  ['a route with other options', (db) => db.flip('dist', db.find('dist', 'default\0a/#'), -1, 4), 'other options'],
  ['a route without a filter', (db) => db.put('dist', Buffer.from('default\0\0\x01n'), EMPTY), 'Cannot read a route'],
  ['a lost queue entry', (db) => db.delete('inbox', part(db, SLEEPER, PART_ENTRY)), 'counts 4 messages, 3 are there'],
  ['a queue entry of QoS 3', (db) => db.flip('inbox', part(db, SLEEPER, PART_ENTRY), 0, 2), 'has flags 3'],
  ['a cut queue entry', (db) => db.put('inbox', part(db, SLEEPER, PART_ENTRY), Buffer.of(1)), 'a stored message'],
  [
    'an entry of an ended session',
    (db) => db.put('inbox', stray(db), Buffer.of(1)),
    'There are remains of incarnation',
  ],
  [
    'a lost session',
    (db) => db.delete('inbox', withKind(SLEEPER, KIND_SESSION)),
    'Of session and tally one is missing',
  ],
  ['a lost tally', (db) => db.delete('inbox', withKind(SLEEPER, KIND_TALLY)), 'Of session and tally one is missing'],
  ['a tally that is cut', (db) => db.put('inbox', withKind(SLEEPER, KIND_TALLY), Buffer.of(1)), 'Cannot read a record'],
  ['a lost subscription', (db) => db.delete('inbox', part(db, SLEEPER, PART_FILTER)), 'counts 2 filters, 1 are there'],
  ['a lost will', (db) => db.flip('inbox', withKind(SLEEPER, KIND_WILL), 0), 'it has version'],
  ['a lost timer of a session', (db) => db.delete('inbox', expiry(db)), 'Its timer "expiry" is not in the time index'],
  ['a lost timer of a will', (db) => db.delete('inbox', delay(db)), 'Its timer "will" is not in the time index'],
  ['a timer with a value', (db) => db.put('inbox', expiry(db), Buffer.of(1)), 'A timer has no value'],
  ['a will on its way of which nobody knows', (db) => db.put('inbox', firing(), will(db)), 'The wills on their way'],
  ['lost numbers', (db) => db.flip('inbox', db.find('inbox', publisherKey(KIND_NUMBERS)), 0), 'it has version'],
  ['a lost group', (db) => db.delete('inbox', withKind(GROUP, KIND_GROUP)), 'Of group and tally one is missing'],
  [
    'a tally of another session',
    (db) => retally(db, SLEEPER, (tally) => tally.incarnation++),
    'Session and tally are of two incarnations',
  ],
  ['a tally of too many bytes', (db) => retally(db, SLEEPER, (tally) => tally.bytes++), /counts \d+ bytes, \d+ are/],
  ['a tally of marks', (db) => retally(db, SLEEPER, (tally) => tally.publishers++), 'counts 2 publishers, 1 are there'],
  [
    'a queue that begins late',
    (db) => retally(db, SLEEPER, (tally) => tally.head++),
    'The queue begins at 2, an entry',
  ],
  ['a queue that ends soon', (db) => retally(db, SLEEPER, (tally) => tally.tail--), 'The queue ends at 3, an entry is'],
  ['a tally with an owner', (db) => retally(db, SLEEPER, (tally) => void (tally.attached = true)), 'one is attached'],
  [
    'a will that waits, of a session with an owner',
    (db) => {
      retally(db, SLEEPER, (tally) => void (tally.attached = true))
      db.flip('inbox', withKind(SLEEPER, KIND_SESSION), 1, 1)
    },
    'The will waits, and the session is attached',
  ],
  [
    'a publish number from the future',
    (db) => {
      const key = publisherKey(KIND_NUMBERS)
      const numbers = decodeNumbers(db.get('inbox', key))
      const received = numbers.received.map((each) => ({ ...each, number: numbers.next }))
      db.put('inbox', key, encodeNumbers({ ...numbers, received }))
    },
    'A publish number is above the next one',
  ],
  ['a group with entries of no member', (db) => db.put('inbox', assigned(db, 'nobody'), EMPTY), 'and is no member'],
  ['a member with more than it knows', (db) => db.put('inbox', assigned(db, 'sleeper'), EMPTY), 'counts 0 entries, 1'],
  [
    'a member with an entry that is gone',
    (db) => {
      db.put('inbox', assigned(db, 'sleeper'), EMPTY)
      db.delete('inbox', part(db, GROUP, PART_ENTRY))
    },
    'has an entry that is not in the queue',
  ],
  [
    'a group that counts what came back',
    (db) => {
      const key = withKind(GROUP, KIND_GROUP)
      db.put('inbox', key, encodeGroup({ ...decodeGroup(db.get('inbox', key)), returned: 1 }))
    },
    'The group counts 1 returned entries, 0 are there',
  ],
  ['an index among inboxes', (db) => db.put('inbox', Buffer.concat([SLEEPER, Buffer.of(0, 1)]), EMPTY), 'at the start'],
  ['a head of the index that is none', (db) => db.flip('inbox', Buffer.of(0, 0), 0), 'it has version'],
  ['a will on a wildcard', (db) => retopic(db, withKind(SLEEPER, KIND_WILL)), 'The topic of the will is not valid'],
  [
    'a will on its way to a wildcard',
    (db) => {
      db.put('inbox', firing(), will(db))
      retopic(db, firing())
    },
    'The topic of the will is not valid',
  ],
  [
    'a will on its way without a number',
    (db) => db.put('inbox', firing().subarray(0, -1), will(db)),
    'on its way is not',
  ],
  [
    'a will without a session',
    (db) => {
      db.delete('inbox', withKind(SLEEPER, KIND_SESSION))
      db.delete('inbox', withKind(SLEEPER, KIND_TALLY))
    },
    'There is a will, and no session',
  ],
  ['a part that is cut', (db) => db.put('inbox', part(db, SLEEPER, PART_ENTRY).subarray(0, -8), EMPTY), 'is cut short'],
  [
    'a queue entry of a short number',
    (db) => db.put('inbox', part(db, SLEEPER, PART_ENTRY).subarray(0, -1), Buffer.of(18)),
    'The key of a queue entry is not one',
  ],
  ['an unknown part of an inbox', (db) => db.put('inbox', unknownPart(db), EMPTY), 'Its part 9 is not known'],
  [
    'a session that is a group as well',
    (db) => db.put('inbox', withKind(SLEEPER, KIND_GROUP), db.get('inbox', withKind(GROUP, KIND_GROUP))),
    'A session is no group',
  ],
  [
    'a group that is a session as well',
    (db) => db.put('inbox', withKind(GROUP, KIND_SESSION), db.get('inbox', withKind(SLEEPER, KIND_SESSION))),
    'A group has no session',
  ],
  ['a record of no inbox', (db) => db.put('inbox', Buffer.from('junk'), EMPTY), 'The key names no inbox'],
  ['an unknown record of an inbox', (db) => db.put('inbox', withKind(SLEEPER, 9), EMPTY), 'Its kind 9 is not known'],
  ['a lost retained message', (db) => db.delete('retain', topicKey(TENANT, 'r/1')), 'The books count 2 messages'],
  ['a lost end of a retained message', (db) => db.delete('retain', timeIndex(db)), 'Its end is not in the time index'],
  ['a slot that is none', (db) => db.flip('retain', topicKey(TENANT, 'r/1'), 0), 'a slot has kind 254'],
  ['a retained message on a wildcard', (db) => db.put('retain', topicKey(TENANT, 'r/+'), EMPTY), 'a slot has kind'],
  ['lost counters of a tenant', (db) => db.delete('retain', db.find('retain', Buffer.of(0, 1))), 'count 0 messages'],
  [
    'counters of a tenant who has nothing',
    (db) => db.put('retain', Buffer.from('\0\x01other\x01'), Buffer.of(1, 9)),
    'count 1 messages of 9 bytes, 0 messages',
  ],
]

function cut(db: Records, bounds: object, id = 'dist-1'): void {
  const descriptor = decodeDescriptor(db.get('meta', descriptorKey('dist', 'dist-1')))
  db.put('meta', descriptorKey('dist', id), encodeDescriptor({ ...descriptor, ...bounds, id }))
}

function retally(db: Records, start: Uint8Array, change: (tally: Tally) => void): void {
  const key = withKind(start, KIND_TALLY)
  const tally = decodeTally(db.get('inbox', key))
  change(tally)
  db.put('inbox', key, encodeTally(tally))
}

/** The first entry of the group's queue as one of a member. */
function assigned(db: Records, member: string): Buffer {
  const key = part(db, GROUP, PART_ENTRY)
  const prefix = Buffer.from(key.subarray(0, GROUP.length + 10))
  prefix[prefix.length - 1] = PART_ASSIGNED
  return Buffer.concat([prefix, Buffer.from(`${member}\0`), key.subarray(-8)])
}

function stray(db: Records): Buffer {
  const key = part(db, SLEEPER, PART_ENTRY)
  key[SLEEPER.length + 8]! ^= 1
  return key
}

function unknownPart(db: Records): Buffer {
  const key = part(db, SLEEPER, PART_ENTRY)
  key[SLEEPER.length + 9] = 9
  return key
}

/** Gives a will a topic that nobody can publish to. */
function retopic(db: Records, key: Uint8Array): void {
  const stored = decodeWill(db.get('inbox', key))
  db.put('inbox', key, encodeWill({ ...stored, message: { ...stored.message, topic: '+' } }))
}

function firing(): Buffer {
  return Buffer.concat([SLEEPER, Buffer.of(6, 0, 0, 0, 0, 0, 0, 0, 9)])
}

function will(db: Records): Buffer {
  return db.get('inbox', withKind(SLEEPER, KIND_WILL))
}

function publisherKey(kind: number): Buffer {
  return withKind(inboxStart(TENANT, 'publisher' as InboxId), kind)
}

function timeIndex(db: Records): Buffer {
  return db.find('retain', Buffer.of(0, 2))
}

test('a store in which nothing is damaged', async () => {
  expect(damageOf(await healthy.engine())).toEqual([])
})

/** A service's logic on a store, without a node around it. */
const SERVICES = {
  dist: [routeCoprocessor, Buffer.from('default\0b')],
  inbox: [inboxCoprocessor, inboxStart(TENANT, 'publisher' as InboxId)],
  retain: [retainCoprocessor, topicKey(TENANT, 'r/1')],
} as const

test.each(Object.keys(SERVICES) as (keyof typeof SERVICES)[])('ranges of %s that are split', async (service) => {
  const world = new World({ seed: 1 })
  const machine = world.process('store')
  const engine = machine.disk('store')
  await world.resolve(healthy.writeTo(engine))
  const [coprocessor, key] = SERVICES[service]
  const store = new Store({
    ...{ engine, clock: machine.clock(), defer: machine.defer(), random: world.random },
    ...{ storeId: 'node', log: silentLogger },
  })
  const observer = { opened() {}, applied() {}, closed() {} }
  store.open(coprocessor as never, observer)
  await world.resolve(store.split(service, key))
  store.abandon()
  machine.crash({})
  // The parts count and index anew when they are served: until then nothing is missing.
  const left = machine.disk('store')
  expect(damageOf(left)).toEqual([])
  const clock = world.process('next').clock()
  const next = new Store({
    ...{ engine: left, clock, defer: world.defer, random: world.random },
    ...{ storeId: 'node', log: silentLogger },
  })
  next.open(coprocessor as never, observer)
  await world.run(10_000)
  expect(damageOf(left)).toEqual([])
  expect(next.ranges().map(({ halted }) => halted)).toEqual([null, null])
  await world.resolve(next.close())
})

describe('damage is named', () => {
  test.each(CASES)('%s', async (_name, damage, reason) => {
    const records = healthy.clone()
    damage(records)
    const found = damageOf(await records.engine())
    expect(found.join('\n')).toMatch(reason)
  })
})
