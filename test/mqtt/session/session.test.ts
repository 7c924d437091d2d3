import { join } from 'node:path'
import { describe } from 'vitest'
import type { InboxId, TenantId } from '../../../src/base/ids.ts'
import type { Connect, Packet, ProtocolVersion, Subscribe } from '../../../src/mqtt/codec/index.ts'
import type { Effect, FilterRequest } from '../../../src/mqtt/session/effects.ts'
import { Session } from '../../../src/mqtt/session/session.ts'
import { defaultSettings, type Identity } from '../../../src/plugin/index.ts'
import { goldenScripts, parseCommand } from '../../golden.ts'

type Options = Record<string, string | number | true>

describe('session', () => goldenScripts(join(import.meta.dirname, 'scripts'), interpreter))

/** Speaks to one session: `connect version=5 id=c1`, `accept`, `attach`, `subscribe f qos=1`, `tick at=1000`, ... */
function interpreter(): (command: string) => string[] {
  const session = new Session(0, { connectTimeoutMs: 10_000, packetBytesMax: 1_048_576 })
  const settings = defaultSettings()
  let now = 0
  let asked: readonly FilterRequest[] = []
  const step = (input: Parameters<Session['step']>[0]) => {
    const effects = session.step(input, now)
    for (const effect of effects) if (effect.type === 'subscribe') asked = effect.filters
    return effects.length === 0 ? ['nothing'] : effects.map(show)
  }
  return (command) => {
    const { name, options } = parseCommand(command)
    switch (name) {
      case 'setting':
        Object.assign(settings, booleans(options))
        return ['ok']
      case 'connect':
        return step({ type: 'connect', packet: connectOf(options) })
      case 'accept':
        return step({
          type: 'authenticated',
          result: { result: 'accepted', identity: identityOf(options), data: bytes(options.data) },
          settings,
          assignedClientId: 'assigned-1',
        })
      case 'refuse': {
        const result = { result: 'refused', reasonCode: Number(options.code), reason: 'no' } as const
        return step({ type: 'authenticated', result, settings: null, assignedClientId: '' })
      }
      case 'continue': {
        const result = { result: 'continue', data: bytes(options.data) } as const
        return step({ type: 'authenticated', result, settings: null, assignedClientId: '' })
      }
      case 'attach':
        return step({ type: 'attached', attachment: attachmentOf(options) })
      case 'unavailable':
        return step({ type: 'refused', reasonCode: 0x88, reason: 'no quorum' })
      case 'redirect':
        return step({ type: 'refused', reasonCode: 0x9c, reason: 'go there', serverReference: String(options.to) })
      case 'subscribe': {
        const packet = subscribeOf(command, options)
        return step({ type: 'subscribe', packet, allowed: packet.subscriptions.map(() => options.denied !== true) })
      }
      case 'routed': {
        const outcomes = asked.map((request) => ({ request, refusal: request.refusal, fresh: options.known !== true }))
        return step({ type: 'subscribed', packetId: 7, outcomes })
      }
      case 'unsubscribe':
        return step({
          type: 'unsubscribe',
          packet: { type: 'unsubscribe', packetId: 8, filters: ['a', 'b'], properties: {} },
        })
      case 'unrouted':
        return step({ type: 'unsubscribed', packetId: 8, existed: [true, false] })
      case 'auth':
        return step({
          type: 'auth',
          packet: {
            type: 'auth',
            reasonCode: Number(options.code),
            properties: { authenticationMethod: String(options.method) },
          },
        })
      case 'ping':
        return step({ type: 'pingreq' })
      case 'disconnect': {
        const properties = options.expiry === undefined ? {} : { sessionExpiryInterval: Number(options.expiry) }
        return step({
          type: 'disconnect',
          packet: { type: 'disconnect', reasonCode: Number(options.code ?? 0), properties },
        })
      }
      case 'taken-over':
        return step({ type: 'end', reasonCode: 0x8e, reason: 'taken over' })
      case 'lost':
        return step({ type: 'closed' })
      case 'heard':
        session.heardAtMs = Number(options.at)
        return [`deadline ${session.deadlineMs}`]
      case 'tick':
        now = Number(options.at)
        return step({ type: 'tick' })
      default:
        throw new Error(`Unknown command "${command}"`)
    }
  }
}

function connectOf(options: Options): Connect {
  const version = Number(options.version ?? 5) as ProtocolVersion
  const properties: Connect['properties'] = {}
  if (options.expiry !== undefined) properties.sessionExpiryInterval = Number(options.expiry)
  if (options.receive !== undefined) properties.receiveMaximum = Number(options.receive)
  if (options.method !== undefined) properties.authenticationMethod = String(options.method)
  if (options.response === true) properties.requestResponseInformation = true
  const will = options.will === undefined ? null : willOf(options)
  return {
    type: 'connect',
    version,
    clientId: options.id === undefined ? '' : String(options.id),
    cleanStart: options.clean !== 0,
    keepAliveSeconds: Number(options.keepalive ?? 60),
    username: null,
    password: null,
    will,
    properties,
  }
}

function willOf(options: Options): NonNullable<Connect['will']> {
  return {
    topic: String(options.will),
    payload: Buffer.alloc(Number(options.willbytes ?? 3)),
    qos: Number(options.willqos ?? 0) as 0,
    retain: options.willretain === true,
    properties: {},
    rawProperties: new Uint8Array(0),
  }
}

function identityOf(options: Options): Identity {
  return {
    tenant: String(options.tenant ?? 'default') as TenantId,
    user: 'u',
    attributes: {},
    permissions: { all: true, publish: () => true, subscribe: () => true, receive: () => true },
    responseInformation: options.information === undefined ? null : String(options.information),
  }
}

function attachmentOf(options: Options) {
  const persistent = options.persistent === true
  const owner = { tenant: 'default' as TenantId, inbox: 'c1' as InboxId, incarnation: 1, connection: 'x' }
  return { owner: persistent ? owner : null, persistent, sessionPresent: options.present === true }
}

function subscribeOf(command: string, options: Options): Subscribe {
  const filters = command.split(' ').filter((word, i) => i > 0 && !word.includes('=') && word !== 'denied')
  return {
    type: 'subscribe',
    packetId: 7,
    subscriptions: filters.map((filter) => ({
      filter,
      qos: Number(options.qos ?? 0) as 0,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: Number(options.handling ?? 0),
    })),
    properties: options.identifier === undefined ? {} : { subscriptionIdentifier: Number(options.identifier) },
  }
}

function booleans(options: Options): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [key, value === 'false' ? false : value === 'true' ? true : value]),
  )
}

function bytes(data: unknown): Uint8Array | null {
  return data === undefined ? null : Buffer.from(String(data))
}

function show(effect: Effect): string {
  switch (effect.type) {
    case 'send':
      return `send ${showPacket(effect.packet)}`
    case 'attach':
      return `attach id=${effect.agreement.clientId} expiry=${effect.agreement.expirySeconds} clean=${effect.agreement.cleanStart}`
    case 'authenticate-extended':
      return `authenticate method=${effect.method} again=${effect.reauthentication}`
    case 'subscribe':
      return `subscribe ${effect.filters.map(({ filter, options, refusal }) => `${filter}:qos${options.qos}${refusal ? `:0x${refusal.toString(16)}` : ''}`).join(' ')}`
    case 'unsubscribe':
      return `unsubscribe ${effect.filters.join(' ')}`
    case 'retained':
      return `retained ${effect.filter}`
    case 'close':
      return `close 0x${effect.reasonCode.toString(16)} expiry=${effect.detach.expirySeconds ?? 'kept'} will=${effect.detach.discardWill ? 'discarded' : 'kept'}`
    default:
      return effect.type
  }
}

function showPacket(packet: Packet): string {
  const { type, ...rest } = packet as Packet & { properties?: Record<string, unknown> }
  const properties = Object.entries(rest.properties ?? {}).filter(([key]) => key !== 'reasonString')
  const fields = [...Object.entries(rest).filter(([key]) => key !== 'properties'), ...properties]
  return [type, ...fields.map(([key, value]) => `${key}=${Buffer.isBuffer(value) ? value.toString() : value}`)].join(
    ' ',
  )
}
