import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { Acceptor } from '../../../src/rpc/link/core/acceptor.ts'
import type { Authenticator } from '../../../src/rpc/link/core/handshake.ts'
import { transcript } from '../../../src/rpc/link/core/handshake.ts'
import { Initiator } from '../../../src/rpc/link/core/initiator.ts'
import { LinkMeters } from '../../../src/rpc/link/core/meters.ts'
import { decodePacket, FRAME_HEADER_BYTES } from '../../../src/rpc/link/core/packet.ts'
import { World } from '../../sim/world.ts'
import { SMALL, secretOf } from './sim-links.ts'

const world = new World({ seed: 1 })
const honest = secretOf(world, 'secret')

function initiator(authenticator: Authenticator = honest, incarnation = 1): Initiator {
  return new Initiator({
    ...SMALL,
    cluster: 'c',
    node: 'a' as HostId,
    incarnation,
    peer: 'b' as HostId,
    kind: 'bulk',
    random: world.random,
    authenticator,
    meters: new LinkMeters(),
  })
}

function acceptor(authenticator: Authenticator = honest, incarnation = 1): Acceptor {
  const meters = new LinkMeters()
  return new Acceptor({
    links: { raft: SMALL, deliveries: SMALL, bulk: SMALL },
    meters: { raft: meters, deliveries: meters, bulk: meters },
    cluster: 'c',
    node: 'b' as HostId,
    incarnation,
    authenticator,
    admits: () => true,
    strangersMax: 10,
    sessionsMax: 10,
  })
}

const frame = () => ({ packet: Buffer.alloc(FRAME_HEADER_BYTES + 1), messages: 1, queuedMs: 0 })

/** Lets the two talk until both are silent; gives what the initiator said and did. */
function talk(a: Initiator, b: Acceptor, connection = 1) {
  const said: Buffer[] = []
  const lost: string[] = []
  let bodies = 0
  let dialled = 0
  const drain = () => {
    const ready = a.ready()
    if (ready.lost !== null) lost.push(ready.lost.reason)
    if (ready.dial !== null) dialled = ready.dial
    return ready.writes.map((bytes) => Buffer.from(bytes))
  }
  a.step({ type: 'frame', frame: frame() }, 0)
  a.step({ type: 'hint' }, 0)
  drain()
  a.step({ type: 'connected', connection: dialled }, 0)
  b.step({ type: 'accepted', connection }, 0)
  let out = drain()
  while (out.length > 0) {
    const back: Buffer[] = []
    for (const bytes of out) {
      said.push(bytes)
      b.step({ type: 'packet', connection, bytes }, 0)
      const ready = b.ready()
      bodies += ready.bodies.length
      back.push(...ready.writes.map((write) => Buffer.from(write.bytes)))
    }
    for (const bytes of back) a.step({ type: 'packet', connection: dialled, bytes }, 0)
    out = drain()
  }
  return { said, bodies, lost, dialled }
}

describe('a handshake', () => {
  test('opens, and carries frames', () => {
    const a = initiator()
    expect(talk(a, acceptor()).bodies).toBe(1)
    expect(a.state).toBe('open')
  })

  test('cannot be replayed', () => {
    const b = acceptor()
    const { said } = talk(initiator(), b)
    b.step({ type: 'accepted', connection: 2 }, 0)
    b.ready()
    const answers: string[] = []
    for (const bytes of said) {
      b.step({ type: 'packet', connection: 2, bytes }, 0)
      const ready = b.ready()
      expect(ready.bodies).toEqual([])
      for (const write of ready.writes) {
        const packet = decodePacket(Buffer.from(write.bytes))
        answers.push(packet?.type === 'refusal' ? packet.reason : packet!.type)
      }
    }
    expect(answers).toEqual(['challenge', 'not-authenticated'])
  })

  test('proves the acceptor, too', () => {
    const liar = { nonce: honest.nonce, prove: () => Buffer.alloc(32), verify: () => true }
    const a = initiator()
    expect(talk(a, acceptor(liar)).bodies).toBe(0)
    expect(a.state).toBe('refused')
  })

  test('a liar with a new incarnation makes nobody give anything up', () => {
    const a = initiator()
    const next = (b: Acceptor) => {
      const result = talk(a, b)
      a.step({ type: 'closed', connection: result.dialled }, 0)
      return { ...result, state: a.state }
    }
    const liar = { nonce: honest.nonce, prove: () => Buffer.alloc(32), verify: () => true }
    expect(next(acceptor()).bodies).toBe(1)
    expect(next(acceptor(liar, 2))).toMatchObject({ lost: [], bodies: 0, state: 'refused' })
    expect(next(acceptor(honest, 2)).lost).toEqual(['incarnation-gone'])
    // The older life is not spoken to any more.
    expect(next(acceptor(honest, 1))).toMatchObject({ lost: [], bodies: 0, state: 'refused' })
  })

  test('what is proven covers role, hello, challenge and terms', () => {
    const [x, y, z, other] = ['x', 'y', 'z', 'other'].map((text) => Buffer.from(text)) as [
      Buffer,
      Buffer,
      Buffer,
      Buffer,
    ]
    const all = [
      transcript('initiator', x, y, z),
      transcript('acceptor', x, y, z),
      transcript('initiator', other, y, z),
      transcript('initiator', x, other, z),
      transcript('initiator', x, y, other),
      transcript('initiator', Buffer.concat([x, y]), Buffer.alloc(0), z),
    ].map((bytes) => bytes.toString('hex'))
    expect(new Set(all).size).toBe(all.length)
  })
})
