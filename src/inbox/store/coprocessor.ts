import { unreachable } from '../../base/assert.ts'
import type { Coprocessor, MutateContext, Mutation, Reader } from '../../kv/range/coprocessor.ts'
import { decodeCommands, encodeCommands } from './codec.ts'
import type { Answer, Command, Effect, Query, Response } from './command.ts'
import { Draft } from './draft.ts'
import { bind, closeMember, join, leave, openMember, trimMember } from './group.ts'
import { enter, exit, fence, routed } from './nodes.ts'
import { receive, release } from './qos2.ts'
import { query } from './query.ts'
import { insert, received, trim } from './queue.ts'
import { startOf } from './schema.ts'
import { attach, detach, due, remove } from './session.ts'
import { confirm, subscribe, unsubscribe } from './subscriptions.ts'
import { sweep } from './sweep.ts'
import { dueCommands, indexSlice, mergeIndexes, nextDue } from './timers.ts'
import { fired } from './will.ts'

export type InboxCoprocessor = Coprocessor<Command, Response, Query, Answer, Effect>

/** The logic of `inbox` in a range: sessions, each with a queue, each fenced by incarnation and owner. */
export const inboxCoprocessor: InboxCoprocessor = {
  service: 'inbox',
  version: 1,
  encode: encodeCommands,
  decode: decodeCommands,
  // Attaching and acknowledging stay possible with little space: they are what drains queues.
  grows: ({ type }) => type === 'insert' || type === 'subscribe' || type === 'join',
  cutNear: startOf,
  mutate,
  query,
  due: dueCommands,
  nextDueMs: nextDue,
  merge: mergeIndexes,
}

function mutate(commands: readonly Command[], reader: Reader, context: MutateContext): Mutation<Response, Effect> {
  const draft = new Draft(reader, context)
  const responses: Response[] = []
  for (const command of commands) responses.push(apply(draft, command))
  return { responses, ...draft.finish() }
}

function apply(draft: Draft, command: Command): Response {
  switch (command.type) {
    case 'insert':
      return insert(draft, command)
    case 'trim':
      return trim(draft, command)
    case 'received':
      return received(draft, command)
    case 'receive':
      return receive(draft, command)
    case 'release':
      return release(draft, command)
    case 'attach':
      return attach(draft, command)
    case 'detach':
      return detach(draft, command)
    case 'remove':
      return remove(draft, command)
    case 'subscribe':
      return subscribe(draft, command)
    case 'confirm':
      return confirm(draft, command)
    case 'unsubscribe':
      return unsubscribe(draft, command)
    case 'fired':
      return fired(draft, draft.box(command.key), command.number)
    case 'join':
      return join(draft, command)
    case 'leave':
      return leave(draft, command)
    case 'member-open':
      return openMember(draft, command)
    case 'member-close':
      return closeMember(draft, command)
    case 'member-trim':
      return trimMember(draft, command)
    case 'member-bind':
      return bind(draft, command)
    case 'due':
      return due(draft, command)
    case 'index':
      return indexSlice(draft)
    case 'enter':
      return enter(draft, command)
    case 'fence':
      return fence(draft, command)
    case 'exit':
      return exit(draft, command)
    case 'routed':
      return routed(draft, command)
    case 'sweep':
      return sweep(draft)
    default:
      return unreachable(command)
  }
}
