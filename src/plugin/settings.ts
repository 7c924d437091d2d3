import type { BooleanOption, ChoiceOption, IntegerOption } from '../base/option.ts'
import { describeAllowed, parseOption } from '../base/option-value.ts'

/** Values of one tenant; plain, stable shape, replaced as a whole when one changes. */
export interface TenantSettings {
  mqtt31Enabled: boolean
  mqtt311Enabled: boolean
  mqtt5Enabled: boolean
  maximumQos: 0 | 1 | 2
  retainEnabled: boolean
  wildcardSubscriptionEnabled: boolean
  subscriptionIdentifierEnabled: boolean
  sharedSubscriptionEnabled: boolean
  topicLevelsMax: number
  topicLevelBytesMax: number
  topicBytesMax: number
  topicAliasMax: number
  packetBytesMax: number
  receiveMaximum: number
  filtersPerSubscribeMax: number
  filtersPerSessionMax: number
  sessionExpirySecondsMax: number
  keepAliveSecondsMin: number
  keepAliveSecondsMax: number
  /** Server keep-alive announced to MQTT 5 clients; 0 = the client's own. */
  serverKeepAliveSeconds: number
  willBytesMax: number
  payloadFormatValidation: boolean
  forceTransient: boolean
  queueMessagesMax: number
  queueBytesMax: number
  queueDropPolicy: 'oldest' | 'newest'
  queueQos0: boolean
  connectionsMax: number
  retainTopicsMax: number
  retainBytesMax: number
  durability: 'quorum-sync' | 'quorum-mem' | 'none'
}

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

/** The option of a setting, by the type of its value; the default is never null. */
type SettingOption<Value> = Value extends boolean
  ? BooleanOption
  : (number extends Value ? IntegerOption : ChoiceOption) & { readonly default: Value }

/**
 * What a tenant may set, with default, limits and reason. Every one is live: a change needs no restart, and what is
 * announced in CONNACK (MQTT 5.0 3.2.2.3) holds for a client from its next CONNECT on.
 */
export const SETTINGS = {
  mqtt31Enabled: { type: 'boolean', default: true, live: true, sentence: 'Accepts MQTT 3.1 clients.' },
  mqtt311Enabled: { type: 'boolean', default: true, live: true, sentence: 'Accepts MQTT 3.1.1 clients.' },
  mqtt5Enabled: { type: 'boolean', default: true, live: true, sentence: 'Accepts MQTT 5.0 clients.' },
  maximumQos: {
    type: 'choice',
    default: 2,
    choices: [0, 1, 2],
    live: true,
    sentence: 'Highest QoS of a PUBLISH, and the highest that a subscription is granted.',
  },
  retainEnabled: {
    type: 'boolean',
    default: true,
    live: true,
    sentence: 'Keeps retained messages; every match of a subscription is sent, however many there are.',
  },
  wildcardSubscriptionEnabled: {
    type: 'boolean',
    default: true,
    live: true,
    sentence: 'Allows + and # in topic filters.',
  },
  subscriptionIdentifierEnabled: {
    type: 'boolean',
    default: true,
    live: true,
    sentence: 'Allows subscription identifiers.',
  },
  sharedSubscriptionEnabled: {
    type: 'boolean',
    default: true,
    live: true,
    sentence: 'Allows shared subscriptions ($share and $oshare).',
  },
  topicLevelsMax: {
    type: 'integer',
    default: 128,
    min: 1,
    max: 1_000,
    unit: 'count',
    live: true,
    sentence: 'Levels of a topic or filter; bounds the depth of the tree of filters, far above what names need.',
  },
  topicLevelBytesMax: {
    type: 'integer',
    default: 65_535,
    min: 1,
    max: 65_535,
    unit: 'bytes',
    live: true,
    sentence: 'Length of one level of a topic or filter; by default only the protocol bounds it.',
  },
  topicBytesMax: {
    type: 'integer',
    default: 65_535,
    min: 1,
    max: 65_535,
    unit: 'bytes',
    live: true,
    sentence: 'Length of a topic or filter; by default only the protocol bounds it.',
  },
  topicAliasMax: {
    type: 'integer',
    default: 16,
    min: 0,
    max: 65_535,
    unit: 'count',
    live: true,
    sentence: 'Topic aliases per connection and direction; each keeps a topic in memory; 0 = none.',
  },
  packetBytesMax: {
    type: 'integer',
    default: MIB,
    min: KIB,
    max: 16 * MIB,
    unit: 'bytes',
    live: true,
    sentence: 'Largest packet taken from a client; the bound of the node counts too, the smaller one is announced.',
  },
  receiveMaximum: {
    type: 'integer',
    default: 128,
    min: 1,
    max: 65_535,
    unit: 'count',
    live: true,
    sentence:
      'QoS 1 and 2 messages of a client that may await their acknowledgement; fills a link of 5 ms at 25,000 messages a second.',
  },
  filtersPerSubscribeMax: {
    type: 'integer',
    default: 1_000,
    min: 1,
    max: 65_535,
    unit: 'count',
    live: true,
    sentence: 'Filters in one SUBSCRIBE or UNSUBSCRIBE; home automation sends up to 500.',
  },
  filtersPerSessionMax: {
    type: 'integer',
    default: 20_000,
    min: 1,
    max: 1_000_000,
    unit: 'count',
    live: true,
    sentence: 'Subscriptions of one session; bounds the memory that one client can take.',
  },
  sessionExpirySecondsMax: {
    type: 'integer',
    default: 7 * 86_400,
    min: 0,
    max: 0xffff_ffff,
    unit: 'seconds',
    live: true,
    sentence:
      'Life of a session without connection, and the one of 3.x sessions with clean session 0: a device may be away for a week; 4294967295 = for ever.',
  },
  keepAliveSecondsMin: {
    type: 'integer',
    default: 0,
    min: 0,
    max: 65_535,
    unit: 'seconds',
    live: true,
    sentence:
      'Shortest keep-alive of MQTT 5 clients: one with a shorter one is told to use this, none (0) stays none; 0 = as the client says.',
  },
  keepAliveSecondsMax: {
    type: 'integer',
    default: 0,
    min: 0,
    max: 65_535,
    unit: 'seconds',
    live: true,
    sentence:
      'Longest keep-alive of MQTT 5 clients: one with a longer one or none is told to use this; 0 = as the client says.',
  },
  serverKeepAliveSeconds: {
    type: 'integer',
    default: 0,
    min: 0,
    max: 65_535,
    unit: 'seconds',
    live: true,
    sentence: "Keep-alive that MQTT 5 clients are told to use instead of their own; 0 = the client's own.",
  },
  willBytesMax: {
    type: 'integer',
    default: 65_535,
    min: 0,
    max: 65_535,
    unit: 'bytes',
    live: true,
    sentence: 'Payload of a will; by default only the protocol bounds it.',
  },
  payloadFormatValidation: {
    type: 'boolean',
    default: true,
    live: true,
    sentence: 'Refuses a payload that claims to be UTF-8 and is not; costs nothing where a message makes no claim.',
  },
  forceTransient: {
    type: 'boolean',
    default: false,
    live: true,
    sentence: 'Treats every session as one that ends with its connection.',
  },
  queueMessagesMax: {
    type: 'integer',
    default: 10_000,
    min: 1,
    max: 10_000_000,
    unit: 'count',
    live: true,
    sentence: 'Messages waiting for one session: three hours of one a second.',
  },
  queueBytesMax: {
    type: 'integer',
    default: 64 * MIB,
    min: 64 * KIB,
    max: 64 * GIB,
    unit: 'bytes',
    live: true,
    sentence: 'Bytes waiting for one session; holds every queue of messages up to 6 KiB each.',
  },
  queueDropPolicy: {
    type: 'choice',
    default: 'oldest',
    choices: ['oldest', 'newest'],
    live: true,
    sentence: 'What a full queue gives up; who comes back late mostly wants the latest. Never a message in flight.',
  },
  queueQos0: {
    type: 'boolean',
    default: false,
    live: true,
    sentence: 'Keeps QoS 0 messages for a session without connection too.',
  },
  connectionsMax: {
    type: 'integer',
    default: 1_000_000,
    min: 0,
    max: 10_000_000,
    unit: 'count',
    live: true,
    sentence: "Connections of the tenant at a time; the default is a cluster's whole capacity.",
  },
  retainTopicsMax: {
    type: 'integer',
    default: 2_000_000,
    min: 0,
    max: 100_000_000,
    unit: 'count',
    live: true,
    sentence: 'Topics with a retained message.',
  },
  retainBytesMax: {
    type: 'integer',
    default: GIB,
    min: 0,
    max: 1024 * GIB,
    unit: 'bytes',
    live: true,
    sentence: 'Bytes of all retained messages, topics included.',
  },
  durability: {
    type: 'choice',
    default: 'quorum-sync',
    choices: ['quorum-sync', 'quorum-mem', 'none'],
    live: true,
    sentence:
      'When a publisher is answered: on the disks of a majority (quorum-sync), in its memory (quorum-mem), or handed to the leader (none).',
  },
} as const satisfies { readonly [Name in keyof TenantSettings]: SettingOption<TenantSettings[Name]> }

const NAMES = Object.keys(SETTINGS) as (keyof TenantSettings)[]

/** The defaults of {@link SETTINGS}, in their order: every settings object has this shape. */
export function defaultSettings(): TenantSettings {
  const entries = NAMES.map((name) => [name, SETTINGS[name].default])
  return Object.fromEntries(entries) as unknown as TenantSettings
}

/** What is wrong with overrides of settings: one sentence for each; empty where all are valid. */
export function validateSettings(overrides: Readonly<Record<string, unknown>>): string[] {
  return parseSettings(overrides).errors
}

/**
 * Reads overrides as a file, a plugin or the API gives them: text stands for any type, units are understood.
 * Invalid ones are left out and named in `errors`; undefined ones are absent.
 */
export function parseSettings(overrides: Readonly<Record<string, unknown>>): {
  settings: Partial<TenantSettings>
  errors: string[]
} {
  const errors: string[] = []
  const settings: Record<string, unknown> = {}
  for (const [name, raw] of Object.entries(overrides)) {
    if (raw === undefined) continue
    if (!Object.hasOwn(SETTINGS, name)) {
      errors.push(`Unknown setting ${JSON.stringify(name)}: expected one of ${NAMES.join(', ')}`)
      continue
    }
    const option = SETTINGS[name as keyof TenantSettings]
    const parsed = parseOption(option, raw)
    if (parsed.ok) settings[name] = parsed.value
    else errors.push(`Setting "${name}" must be ${describeAllowed(option)}, not ${JSON.stringify(raw)}`)
  }
  return { settings: settings as Partial<TenantSettings>, errors }
}

/** True when both hold the same values. */
export function sameSettings(a: TenantSettings, b: TenantSettings): boolean {
  return NAMES.every((name) => a[name] === b[name])
}
