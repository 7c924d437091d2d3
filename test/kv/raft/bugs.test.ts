import { describe, expect, test } from 'vitest'
import type { Message, Persisted } from '../../../src/kv/raft/index.ts'
import { Membership, RaftNode } from '../../../src/kv/raft/index.ts'
import { Leader } from '../../../src/kv/raft/leader.ts'
import { RaftLog } from '../../../src/kv/raft/log.ts'
import { Outbox } from '../../../src/kv/raft/outbox.ts'
import { Inflights } from '../../../src/kv/raft/progress.ts'
import { Replication } from '../../../src/kv/raft/replication.ts'
import { Disk, type WriteRecord } from './host.ts'
import { optionsOf, RaftWorld } from './simulation.ts'

/** Replaces a method, or a getter, of a class; the returned function puts it back. */
function plant<Class extends object>(
  prototype: Class,
  name: keyof Class & string,
  bug: PropertyDescriptor,
): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!
  Object.defineProperty(prototype, name, { ...before, ...bug })
  return () => Object.defineProperty(prototype, name, before)
}

/** Messages that should wait for the disk, and do not. */
function atOnce(type: string): () => void {
  const { promise } = Outbox.prototype
  return plant(Outbox.prototype, 'promise', {
    value(this: Outbox, message: Parameters<typeof promise>[0]) {
      if (message.type === type) this.send(message)
      else promise.call(this, message)
    },
  })
}

/** What each bug breaks; the simulation must see it. */
const BUGS: Record<string, () => () => void> = {
  'a vote is not written': () => {
    const { write } = Disk.prototype
    return plant(Disk.prototype, 'write', {
      value(this: Disk, record: WriteRecord) {
        const { hardState } = record
        write.call(this, { ...record, hardState: hardState === null ? null : { ...hardState, vote: null } })
      },
    })
  },
  'a vote is given before it is on disk': () => atOnce('vote-answer'),
  'appends are answered before they are on disk': () => atOnce('append-answer'),
  'the leader counts its own write before it is on disk': () => {
    const { match } = Replication.prototype
    return plant(Replication.prototype, 'match', {
      value(this: Replication, id: number) {
        return this.peers.has(id) ? match.call(this, id) : Number.MAX_SAFE_INTEGER
      },
    })
  },
  'an entry of an older term is committed by count': () => plant(Leader.prototype, 'mayCommit', { value: () => true }),
  'reads are granted before the term has committed anything': () =>
    plant(Leader.prototype, 'knowsCommit', { value: () => true }),
  'votes go to logs that lack entries': () => plant(RaftLog.prototype, 'isUpToDate', { value: () => true }),
  'reads are granted without asking a majority': () =>
    plant(Replication.prototype, 'agreedRound', { value: (own: number) => own }),
  'several voters change at once': () => {
    const { after } = Membership.prototype
    return plant(Membership.prototype, 'after', {
      value(this: Membership, change: Parameters<typeof after>[0]) {
        const next = after.call(this, change)
        return next.joint ? next.after({ members: [], leave: 'auto' }) : next
      },
    })
  },
  'reports of replaced writes are believed': () =>
    plant(RaftLog.prototype, 'isCurrent', {
      value(this: RaftLog, report: Persisted) {
        return report.index <= this.lastIndex
      },
    }),
  'an emptied replica forgets its vote': () => {
    const { empty } = Disk.prototype
    return plant(Disk.prototype, 'empty', {
      value(this: Disk, snapshot: Parameters<typeof empty>[0]) {
        empty.call(this, snapshot)
        this.hardState = { term: 0, vote: null, commit: 0 }
      },
    })
  },
  'whoever has more is emptied for a snapshot': () => plant(RaftNode.prototype, 'wants', { value: () => true }),
  'the commit index is not written': () => {
    const { write } = Disk.prototype
    return plant(Disk.prototype, 'write', {
      value(this: Disk, record: WriteRecord) {
        const { hardState, install } = record
        const commit = install?.index ?? this.hardState.commit
        write.call(this, { ...record, hardState: hardState === null ? null : { ...hardState, commit } })
      },
    })
  },
  'what is under way is not bounded': () => plant(Inflights.prototype, 'isFull', { value: () => false }),
  'votes do not tell what is committed': () => {
    const undo = (['send', 'promise'] as const).map((name) => {
      const original = Outbox.prototype[name]
      return plant(Outbox.prototype, name, {
        value(this: Outbox, message: Message) {
          original.call(this, 'commitTerm' in message ? { ...message, commit: 0 } : message)
        },
      })
    })
    return () => {
      for (const each of undo) each()
    }
  },
}

/** The weather in which each is most often seen; else any. See {@link optionsOf}. */
const WEATHER: Record<string, number> = {
  'a vote is not written': 2,
  'a vote is given before it is on disk': 8,
  'reads are granted before the term has committed anything': 9,
  'an entry of an older term is committed by count': 1,
  'several voters change at once': 3,
  'an emptied replica forgets its vote': 7,
  'whoever has more is emptied for a snapshot': 7,
  'votes do not tell what is committed': 3,
  'the commit index is not written': 5,
}
/** Seeds within which each is caught; rare ones have more. */
const TRIES_MAX = 100
const TRIES_MAX_OF_WEATHER: Record<number, number> = { 5: 300, 7: 500, 8: 900 }

describe('a planted bug is caught', () => {
  test.each(Object.entries(BUGS))('%s', (name, bug) => {
    const undo = bug()
    try {
      expect(firstViolation(WEATHER[name] ?? 0)).toBeInstanceOf(Error)
    } finally {
      undo()
    }
  })

  test('a stale read is seen in what clients see alone', () => {
    const undo = BUGS['reads are granted without asking a majority']!()
    try {
      expect(`${firstViolation(0, true)}`).toContain('Linearizability')
    } finally {
      undo()
    }
  })
})

function firstViolation(weather: number, blind = false): unknown {
  for (let tries = 0; tries < (TRIES_MAX_OF_WEATHER[weather] ?? TRIES_MAX); tries++) {
    try {
      const group = new RaftWorld({ ...optionsOf(weather + 10 * tries), blind })
      group.run(15_000)
      group.calm(group.minority())
      group.converge(30_000)
    } catch (error) {
      return error
    }
  }
  return null
}
