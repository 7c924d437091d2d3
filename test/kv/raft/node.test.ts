import { describe, expect, test } from 'vitest'
import { InvariantError } from '../../../src/base/assert.ts'
import { seededRandom } from '../../../src/base/clock.ts'
import {
  type ConfState,
  type Message,
  NO_CONFIG,
  type RaftLimits,
  RaftNode,
  type RaftOptions,
  type ReplicaId,
} from '../../../src/kv/raft/index.ts'
import { Writes } from '../../../src/kv/raft/writes.ts'
import { BEGIN_INDEX, Disk, entry } from './host.ts'
import { optionsOf, RaftWorld } from './simulation.ts'

const CONFIG: ConfState = { ...NO_CONFIG, voters: [1, 2, 3] }

function optionsFor(disk: Disk): RaftOptions {
  const { hardState, app } = disk
  return { id: 1, storage: disk, random: seededRandom(1), hardState, applied: app.index, config: app.config }
}

function follower(): { node: RaftNode; disk: Disk } {
  const disk = new Disk()
  disk.begin(CONFIG, [1, 1])
  return { node: new RaftNode(optionsFor(disk)), disk }
}

function receive(node: RaftNode, message: object): void {
  node.step({ type: 'message', message: { from: 2, to: 1, term: 1, ...message } as Message })
}

describe('options', () => {
  test.each([
    [{ heartbeatTicks: 20 }, 'Heartbeats must be faster'],
    [{ suspectTicksMin: 6 }, 'suspectTicksMin'],
    [{ inflightCountMax: 0 }, 'inflightCountMax'],
    [{ quiesceTicks: -1 }, 'quiesceTicks'],
  ])('%o are refused', (limits, message) => {
    const disk = new Disk()
    disk.begin(CONFIG)
    expect(() => new RaftNode({ ...optionsFor(disk), limits })).toThrow(message)
  })

  test('a log that lacks what was committed stops the process', () => {
    const disk = new Disk()
    disk.begin(CONFIG, [1])
    disk.hardState = { term: 1, vote: null, commit: BEGIN_INDEX + 2 }
    expect(() => new RaftNode(optionsFor(disk))).toThrow(InvariantError)
  })

  test('a group does not begin at index 0', () => {
    const disk = new Disk()
    disk.app = { ...disk.app, config: CONFIG }
    expect(() => new RaftNode(optionsFor(disk))).toThrow('above 0')
  })
})

describe('what is committed and not handed out', () => {
  function behind(limits: Partial<RaftLimits> = {}): { node: RaftNode; disk: Disk } {
    const disk = new Disk()
    disk.begin(CONFIG, [1, 1])
    disk.hardState = { term: 1, vote: null, commit: BEGIN_INDEX + 2 }
    disk.cold = () => true
    return { node: new RaftNode({ ...optionsFor(disk), limits }), disk }
  }

  test('is waited for without a circle where it is not at hand', () => {
    const { node, disk } = behind()
    expect(node.ready()).toMatchObject({ committed: [], more: false })
    disk.cold = () => false
    expect(node.ready().committed).toHaveLength(2)
  })

  test('comes in portions', () => {
    const { node, disk } = behind({ committedBytesMax: 1 })
    disk.cold = () => false
    expect(node.ready()).toMatchObject({ committed: [{ index: BEGIN_INDEX + 1 }], more: true })
    expect(node.ready()).toMatchObject({ committed: [{ index: BEGIN_INDEX + 2 }], more: false })
  })

  test('may change who votes: nobody campaigns before', () => {
    const { node, disk } = behind()
    node.step({ type: 'campaign' })
    expect(node.status().role).toBe('follower')
    disk.cold = () => false
    node.ready()
    node.step({ type: 'campaign' })
    expect(node.status().role).toBe('pre-candidate')
  })
})

test('a snapshot is wanted where it brings what the log lacks, and its leader is not of the past', () => {
  const { node } = follower()
  const snapshot = (index: number, term: number) => ({ index, term, config: CONFIG })
  expect(node.wants(snapshot(20, 1), 1)).toBe(true)
  expect(node.wants(snapshot(12, 3), 3)).toBe(true)
  expect(node.wants(snapshot(20, 1), 0)).toBe(false)
  expect(node.wants(snapshot(12, 1), 1)).toBe(false)
  expect(node.wants(snapshot(BEGIN_INDEX, 9), 9)).toBe(false)
})

test('an emptied replica wants nothing older than what it was emptied for', () => {
  const disk = new Disk()
  disk.begin(CONFIG, [1, 1])
  disk.empty({ index: 20, term: 1 })
  const node = new RaftNode({ ...optionsFor(disk), emptiedFor: disk.emptiedFor })
  const snapshot = (index: number) => ({ index, term: 1, config: CONFIG })
  expect(node.wants(snapshot(19), 1)).toBe(false)
  expect(node.wants(snapshot(20), 1)).toBe(true)
  receive(node, { type: 'snapshot', snapshot: snapshot(19) })
  expect(node.ready().snapshot).toBeNull()
  receive(node, { type: 'snapshot', snapshot: snapshot(20) })
  expect(node.ready().snapshot).toEqual(snapshot(20))
})

test('whoever has more than what is committed does not sleep', () => {
  const { node } = follower()
  receive(node, { type: 'heartbeat', commit: 11, round: 0, quiesce: true })
  expect(node.quiescent).toBe(false)
  receive(node, { type: 'heartbeat', commit: 12, round: 0, quiesce: true })
  expect(node.quiescent).toBe(true)
})

test('a term that has a leader has no vote for anybody else', () => {
  const { node } = follower()
  receive(node, { type: 'heartbeat', term: 5, commit: 10, round: 0, quiesce: false })
  const ask = { type: 'vote-request', pre: false, transfer: true, lastIndex: 99, lastTerm: 5, commit: 0, commitTerm: 0 }
  receive(node, { ...ask, from: 3, term: 5 })
  expect(node.ready().afterPersist).toMatchObject([{ type: 'vote-answer', granted: false }])
  receive(node, { ...ask, from: 3, term: 6 })
  expect(node.ready().afterPersist).toMatchObject([{ type: 'vote-answer', granted: true }])
})

test('the oldest write under way is as old as it is, whatever else is finished', () => {
  const writes = new Writes()
  writes.started(1)
  writes.tick()
  writes.started(2)
  writes.started(3)
  for (let tick = 0; tick < 4; tick++) writes.tick()
  expect(writes.oldestTicks).toBe(5)
  writes.finished(1)
  expect(writes.oldestTicks).toBe(4)
  writes.finished(2)
  expect(writes.oldestTicks).toBe(4)
  writes.finished(3)
  expect(writes.oldestTicks).toBe(0)
})

test('the hard state is what was handed out last', () => {
  const { node } = follower()
  receive(node, { type: 'heartbeat', term: 5, commit: 10, round: 0, quiesce: false })
  expect(node.hardState.term).toBe(1)
  node.ready()
  expect(node.hardState).toEqual({ term: 5, vote: null, commit: BEGIN_INDEX })
})

describe('from the wire', () => {
  const append = { type: 'append', previousIndex: 12, previousTerm: 1, commit: 10 }
  test.each([
    ['entries with a gap', { ...append, entries: [entry(13, 1, 'a'), entry(15, 1, 'b')] }],
    ['entries out of place', { ...append, entries: [entry(14, 1, 'a')] }],
    ['entries whose terms go down', { ...append, term: 2, entries: [entry(13, 2, 'a'), entry(14, 1, 'b')] }],
    ['entries of a term to come', { ...append, entries: [entry(13, 9, 'a')] }],
    ['a message for somebody else', { ...append, to: 3, entries: [entry(13, 1, 'a')] }],
    ['a message of an unknown type', { type: 'from-the-future' }],
  ])('%s change nothing', (_, message) => {
    const { node } = follower()
    receive(node, message)
    expect(node.ready()).toMatchObject({ entries: [], afterPersist: [], messages: [] })
    expect(node.status().lastIndex).toBe(12)
  })

  test('an append commits no more than it shows to agree: what is behind may be of a leader that is gone', () => {
    const { node } = follower()
    receive(node, {
      ...append,
      term: 2,
      previousIndex: BEGIN_INDEX,
      commit: 12,
      entries: [entry(11, 1, '1')],
    })
    expect(node.status()).toMatchObject({ commit: 11, lastIndex: 12 })
  })

  test('a heartbeat cannot commit what the log does not have', () => {
    const { node } = follower()
    receive(node, { type: 'heartbeat', commit: 99, round: 0, quiesce: false })
    expect(node.status().commit).toBe(BEGIN_INDEX)
  })

  test('a leader that would replace what is committed breaks a promise of Raft: the process stops', () => {
    const { node } = follower()
    receive(node, { type: 'append', previousIndex: 12, previousTerm: 1, commit: 12, entries: [] })
    node.ready()
    const forged = { type: 'append', term: 2, previousIndex: 10, previousTerm: 1, commit: 12 }
    expect(() => receive(node, { ...forged, previousIndex: 12, entries: [entry(13, 2, 'a')] })).not.toThrow()
    expect(() => receive(node, { ...forged, entries: [entry(11, 2, 'x')] })).not.toThrow()
    expect(node.status()).toMatchObject({ commit: 12, lastIndex: 13 })
  })
})

test('the same seed gives the same run', () => {
  const digest = () => {
    const group = new RaftWorld(optionsOf(8))
    group.run(10_000)
    return `${group.describe()} ${JSON.stringify(group.counts)}`
  }
  expect(digest()).toBe(digest())
})

describe('news of the commit index alone', () => {
  const NEXT = BEGIN_INDEX + 4

  /** Leads term 2; both others follow, and have its first entry. */
  function leading() {
    const { node, disk } = follower()
    const land = () => {
      const { entries, hardState, persisted, messages } = node.ready(true)
      disk.write({ entries, hardState, persisted, install: null, app: disk.app, compactTo: 0, afterPersist: [] })
      if (persisted !== null) node.step(persisted)
      return messages
    }
    const accept = (from: ReplicaId, index: number) => {
      receive(node, { type: 'append-answer', from, term: 2, accepted: true, index, hintIndex: 0, hintTerm: 0 })
    }
    const vote = { type: 'vote-answer', term: 2, granted: true, commit: BEGIN_INDEX, commitTerm: 1 }
    node.step({ type: 'campaign' })
    land()
    receive(node, { ...vote, pre: true })
    land()
    receive(node, { ...vote, pre: false })
    land()
    for (const from of [2, 3]) accept(from, BEGIN_INDEX + 3)
    node.ready()
    node.step({ type: 'propose', data: new Uint8Array(1), context: 1 })
    land()
    accept(2, NEXT)
    return { node, land }
  }

  test('is kept where the host says so, and told when it asks again', () => {
    const { node } = leading()
    expect(node.hasNews).toBe(true)
    expect(node.ready(true)).toMatchObject({ committed: [{ index: NEXT }], messages: [] })
    const told = [2, 3].map((to) => ({ type: 'append', to, commit: NEXT, entries: [] }))
    expect(node.ready().messages).toMatchObject(told)
    expect(node.hasNews).toBe(false)
  })

  test('goes with the next entries', () => {
    const { node, land } = leading()
    node.step({ type: 'propose', data: new Uint8Array(1), context: 2 })
    const told = [2, 3].map((to) => ({ type: 'append', to, commit: NEXT, entries: [{ index: NEXT + 1 }] }))
    expect(land()).toMatchObject(told)
    expect(node.hasNews).toBe(false)
  })
})
