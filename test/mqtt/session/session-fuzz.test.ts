import { ok } from 'node:assert/strict'
import { describe, test } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import type { TenantId } from '../../../src/base/ids.ts'
import type { ProtocolVersion } from '../../../src/mqtt/codec/index.ts'
import type { Effect, Input } from '../../../src/mqtt/session/effects.ts'
import { Session } from '../../../src/mqtt/session/session.ts'
import { seeds } from '../../sim/seeds.ts'
import { connectOf, identityOf, settingsOf, subscriptionOf } from './values.ts'

const KINDS = [
  'connect',
  'result',
  'result',
  'attached',
  'subscribe',
  'answer',
  'auth',
  'auth',
  'packet',
  'end',
  'tick',
]
const TOO_LONG = Buffer.alloc(65_536)
const TALKATIVE = '😀'.repeat(2000)
const METHODS = ['A', 'A', 'A', undefined, 'B']

/** Any input at any time: what a hostile client, a slow plugin and a dying transport can bring together. */
function anyInput(random: Random): Input {
  const pick = <Item>(items: readonly Item[]): Item => items[random.below(items.length)]!
  const method = pick(METHODS)
  const authentication = method === undefined ? {} : { authenticationMethod: method }
  switch (pick(KINDS)) {
    case 'connect':
      return {
        type: 'connect',
        packet: connectOf({ version: pick([3, 4, 5] as ProtocolVersion[]), properties: authentication }),
      }
    case 'result': {
      const identity = identityOf({ tenant: pick(['a', 'a', 'a', 'b']) as TenantId })
      const data = pick([null, Buffer.from('x'), TOO_LONG])
      const result = pick([
        { result: 'accepted', identity, data },
        { result: 'accepted', identity, data: null },
        { result: 'continue', data },
        { result: 'refused', reasonCode: 0x80 + random.below(128), reason: pick(['no', TALKATIVE]) },
      ] as const)
      return { type: 'authenticated', result, settings: settingsOf(), assignedClientId: 'm' }
    }
    case 'attached':
      return { type: 'attached', attachment: { owner: null, persistent: false, sessionPresent: false } }
    case 'subscribe':
      return {
        type: 'subscribe',
        packet: { type: 'subscribe', packetId: 1, subscriptions: [subscriptionOf('f')], properties: {} },
        allowed: [true],
      }
    case 'answer':
      return pick([
        { type: 'subscribed', packetId: 1, outcomes: [] },
        { type: 'unsubscribed', packetId: 1, existed: [true] },
      ] as Input[])
    case 'auth': {
      const packet = { type: 'auth', reasonCode: pick([0x18, 0x19]), properties: authentication } as const
      return { type: 'auth', packet }
    }
    case 'packet':
      return pick([
        { type: 'pingreq' },
        { type: 'unsubscribe', packet: { type: 'unsubscribe', packetId: 1, filters: ['f'], properties: {} } },
        { type: 'disconnect', packet: { type: 'disconnect', reasonCode: 0, properties: {} } },
        {
          type: 'disconnect',
          packet: { type: 'disconnect', reasonCode: 4, properties: { sessionExpiryInterval: 5 } },
        },
      ] as Input[])
    case 'end':
      return pick([
        { type: 'end', reasonCode: 0x8e, reason: 'x', serverReference: pick(['here', TALKATIVE]) },
        { type: 'closed' },
      ] as Input[])
    default:
      return { type: 'tick' }
  }
}

class Rules {
  #sent: string[] = []
  #closed = false
  #opened = false

  check(effects: readonly Effect[]): void {
    ok(!this.#closed || effects.length === 0, 'a closed session has no effects any more')
    for (const effect of effects) {
      ok(!this.#closed, 'nothing comes after close')
      if (effect.type === 'send') this.#checkSend(effect.packet.type)
      if (effect.type === 'open') this.#opened = true
      if (effect.type === 'subscribe' || effect.type === 'unsubscribe' || effect.type === 'retained') {
        ok(this.#opened, `${effect.type} needs an open session`)
      }
      if (effect.type === 'close') this.#closed = true
    }
  }

  #checkSend(type: string): void {
    ok(this.#sent.at(-1) !== 'disconnect', 'DISCONNECT is the last packet')
    if (type === 'connack') ok(!this.#sent.includes('connack'), 'there is one CONNACK')
    else if (type !== 'auth') ok(this.#sent.includes('connack'), `${type} comes after CONNACK [MQTT-3.2.0-1]`)
    this.#sent.push(type)
  }
}

describe('a session holds its rules', () => {
  for (const seed of seeds(4)) {
    test(`whatever comes in whatever order, seed=${seed}`, () => {
      const random = seededRandom(seed)
      const ends = { opened: 0, reauthenticated: 0, closed: 0 }
      for (let life = 0; life < 3000; life++) {
        const session = new Session(0, { connectTimeoutMs: 100, packetBytesMax: 1000 })
        const rules = new Rules()
        // Half of the lives begin well, so that enough of them get far.
        const begin: Input[] = life % 2 === 0 ? [] : opening(random)
        for (let i = 0; i < 25; i++) {
          const effects = session.step(begin[i] ?? anyInput(random), i * 2)
          rules.check(effects)
          for (const { type } of effects) {
            if (type === 'open') ends.opened++
            if (type === 'reauthenticated') ends.reauthenticated++
            if (type === 'close') ends.closed++
          }
        }
      }
      ok(ends.opened > 1000 && ends.reauthenticated > 5 && ends.closed > 2000, JSON.stringify(ends))
    })
  }
})

function opening(random: Random): Input[] {
  const properties = random.below(2) === 0 ? {} : { authenticationMethod: 'A' }
  const identity = identityOf({ tenant: 'a' as TenantId })
  const result = { result: 'accepted', identity, data: null } as const
  const inputs: Input[] = [
    { type: 'connect', packet: connectOf({ properties }) },
    { type: 'authenticated', result, settings: settingsOf(), assignedClientId: 'm' },
    { type: 'attached', attachment: { owner: null, persistent: false, sessionPresent: false } },
  ]
  if ('authenticationMethod' in properties) {
    inputs.push({ type: 'auth', packet: { type: 'auth', reasonCode: 0x19, properties } })
  }
  return inputs
}
