import type { TenantId } from '../../../src/base/ids.ts'
import type { Message } from '../../../src/base/message.ts'
import type { Connect, Subscription, Will } from '../../../src/mqtt/codec/index.ts'
import { defaultSettings, type Identity, type TenantSettings } from '../../../src/plugin/index.ts'

/** Makers of values: what a test does not name has a plain value. */

export function connectOf(fields: Partial<Connect> = {}): Connect {
  return {
    type: 'connect',
    version: 5,
    clientId: 'c1',
    cleanStart: true,
    keepAliveSeconds: 60,
    username: null,
    password: null,
    will: null,
    properties: {},
    ...fields,
  }
}

export function willOf(fields: Partial<Will> = {}): Will {
  const payload = Buffer.from('gone')
  return { topic: 'w', payload, qos: 0, retain: false, properties: {}, rawProperties: new Uint8Array(0), ...fields }
}

export function settingsOf(fields: Partial<TenantSettings> = {}): TenantSettings {
  return { ...defaultSettings(), ...fields }
}

export function subscriptionOf(filter: string, fields: Partial<Subscription> = {}): Subscription {
  return { filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, ...fields }
}

export function identityOf(fields: Partial<Identity> = {}): Identity {
  return {
    tenant: 'default' as TenantId,
    user: 'u',
    attributes: {},
    permissions: { all: true, publish: () => true, subscribe: () => true, receive: () => true },
    ...fields,
  }
}

export function messageOf(fields: Partial<Omit<Message, 'payload'>> & { payload?: string | Uint8Array } = {}): Message {
  const { payload = 'hello', ...rest } = fields
  return {
    topic: 't/1',
    qos: 0,
    retain: false,
    properties: new Uint8Array(0),
    expirySeconds: -1,
    timestamp: 0,
    publisher: 'p',
    ...rest,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
  }
}
