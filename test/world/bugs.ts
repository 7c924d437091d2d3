import { DistClient } from '../../src/dist/client.ts'
import type { Command } from '../../src/inbox/store/command.ts'
import { RoutedClient } from '../../src/kv/client/routed-client.ts'
import type { Run } from '../../src/kv/range/entry.ts'
import { Streams } from '../../src/kv/range/streams.ts'
import { Registry } from '../../src/mqtt/connection/registry.ts'
import { Clients } from '../../src/mqtt/registry/clients.ts'
import { Outbound } from '../../src/mqtt/session/outbound.ts'
import { PacketIds } from '../../src/mqtt/session/packet-ids.ts'
import { RetainClient } from '../../src/retain/client.ts'
import type { RunOptions } from './run.ts'

/** A mistake in the broker that ships. `plant` makes it; what that returns takes it back. */
export interface Bug {
  plant(): () => void
  /** The promise that it breaks, by the beginning of what is said. */
  breaks: RegExp
  /** Where it is most often seen; else where nothing is wrong. */
  where?: RunOptions
}

type Client = RoutedClient<never, unknown, never, unknown>
type Done = (error: Error | null, response: unknown) => void
type Of<Type extends Command['type']> = Extract<Command, { type: Type }>

/** Replaces a method of a class. */
function replace<Class extends object>(prototype: Class, name: keyof Class & string, value: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!
  const after = before.get === undefined ? { ...before, value } : { ...before, get: value as () => unknown }
  Object.defineProperty(prototype, name, after)
  return () => Object.defineProperty(prototype, name, before)
}

/** What becomes of a command of `inbox` before it leaves its node: `send` proposes it. */
function onCommand<Type extends Command['type']>(
  type: Type,
  act: (command: Of<Type>, done: Done, send: (command: Command, done: Done) => void) => void,
): () => void {
  const { mutateWith } = RoutedClient.prototype
  return replace(
    RoutedClient.prototype,
    'mutateWith',
    function (this: Client, key: Uint8Array, command: Command, done: Done, ...rest: [never, never]) {
      const send = (other: Command, then: Done) => mutateWith.call(this as never, key, other as never, then, ...rest)
      if (command?.type === type) act(command as Of<Type>, done, send)
      else send(command, done)
    },
  )
}

const ignore = (): void => {}
const BUSY: RunOptions = { nodes: 3, durationMs: 5_000, actMs: 100, meanMs: {} }
const CRASHES: RunOptions = { ...BUSY, meanMs: { crash: 1_500, 'all power lost': 3_000, 'slow disk': 2_000 } }
const CUTS: RunOptions = { ...BUSY, meanMs: { 'symmetric partition': 1_500, transfer: 700, crash: 4_000 } }

export const QUIET = BUSY

export const BUGS: Record<string, Bug> = {
  'a publish is answered before it is committed': {
    plant: () =>
      onCommand('insert', (command, done, send) => {
        send(command, ignore)
        queueMicrotask(() => done(null, 'ok'))
      }),
    breaks: /M1|M6|M7/,
    where: CRASHES,
  },
  'PUBREC leaves before the number of the publish is committed': {
    plant: () => {
      let number = 0
      return onCommand('receive', (_command, done) => {
        queueMicrotask(() => done(null, { type: 'number', number: ++number, repeated: false, floor: 0 }))
      })
    },
    breaks: /M2/,
  },
  'PUBREL leaves before the PUBREC is committed': {
    plant: () => onCommand('received', (_command, done) => queueMicrotask(() => done(null, 'done'))),
    breaks: /M2|M9/,
  },
  'what is tried again has no number': {
    plant: () => {
      const { admit } = Streams.prototype
      return replace(Streams.prototype, 'admit', function (this: Streams, run: Run, ...rest: [number, never[]]) {
        const admission = admit.call(this, run, ...rest)
        return admission.error === null ? { ...admission, repeated: 0 } : admission
      })
    },
    breaks: /M2|M9/,
    where: CUTS,
  },
  'a later connection does not end the older one': {
    plant: () => {
      const undo = [
        replace(Registry.prototype, 'claim', () => null),
        replace(Clients.prototype, 'claim', () => Promise.resolve(true)),
      ]
      return () => {
        for (const each of undo) each()
      }
    },
    breaks: /M4/,
  },
  'a goodbye does not take the will along': {
    plant: () => onCommand('detach', (command, done, send) => send({ ...command, discardWill: false }, done)),
    breaks: /M6/,
  },
  'a node is given up while it has its connections': {
    plant: () =>
      onCommand('attach', (command, done, send) =>
        send(command, (error, response) => {
          done(error, response)
          if (error !== null || command.will === null) return
          const { key, connection } = command
          const { incarnation } = response as { incarnation: number }
          const fence = { key, incarnation, connection, expirySeconds: null }
          send({ type: 'detach', ...fence, discardWill: false, sentUpTo: 0 }, ignore)
        }),
      ),
    breaks: /M6/,
  },
  'what was sent counts as acknowledged when the session resumes': {
    plant: () => {
      const { query } = RoutedClient.prototype
      return replace(
        RoutedClient.prototype,
        'query',
        async function (this: Client, ...asked: Parameters<typeof query>) {
          const answer = (await query.apply(this as never, asked)) as Record<string, unknown> | null
          if (answer?.type !== 'feed') return answer
          return { ...answer, head: Math.max(answer.head as number, (answer.sentUpTo as number) + 1) }
        },
      )
    },
    breaks: /M1|M7|not settled/,
  },
  'what is sent again has no DUP': {
    plant: () => {
      const { deliverEntries } = Outbound.prototype
      return replace(
        Outbound.prototype,
        'deliverEntries',
        function (this: Outbound, ...[feed, entries]: Parameters<typeof deliverEntries>) {
          const plain = entries.map((entry) => ({ ...entry, dup: false }))
          deliverEntries.call(this, feed, plain)
        },
      )
    },
    breaks: /M9/,
  },
  'a packet id is given twice': {
    plant: () => {
      const { take } = PacketIds.prototype
      const last = new WeakMap<PacketIds, number>()
      return replace(PacketIds.prototype, 'take', function (this: PacketIds, state: number) {
        const before = last.get(this)
        const id = take.call(this, state)
        last.set(this, id)
        return before !== undefined && this.state(before) !== 0 ? before : id
      })
    },
    breaks: /M9/,
  },
  'a SUBACK leaves without its route': {
    plant: () => {
      const { change } = DistClient.prototype
      let routes = 0
      return replace(DistClient.prototype, 'change', function (this: DistClient, ...given: Parameters<typeof change>) {
        const lost = given[0].op === 'add' && ++routes % 3 === 0
        return lost ? Promise.resolve() : change.apply(this, given)
      })
    },
    breaks: /M1|M6|M7/,
  },
  'what a member has confirmed goes back to its group': {
    plant: () => onCommand('member-trim', (_command, done) => queueMicrotask(() => done(null, 'done'))),
    breaks: /M7/,
  },
  'a retained message is answered and not kept': {
    plant: () => {
      const { set } = RetainClient.prototype
      let messages = 0
      return replace(RetainClient.prototype, 'set', function (this: RetainClient, ...given: Parameters<typeof set>) {
        return ++messages % 3 === 0 ? Promise.resolve('kept') : set.apply(this, given)
      })
    },
    breaks: /M5/,
  },
  'matches are not of the tenant': {
    plant: () => {
      const { match } = DistClient.prototype
      return replace(DistClient.prototype, 'match', function (this: DistClient, _tenant: never, topic: string) {
        return match.call(this, 'a' as never, topic)
      })
    },
    breaks: /M1|M8/,
  },
}
