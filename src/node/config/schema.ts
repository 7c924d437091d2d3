import type { GroupOption, OptionTable, OptionValues } from '../../base/option.ts'
import { FLAPPING_OPTIONS } from '../../plugin/flapping.ts'
import { SETTINGS } from '../../plugin/settings.ts'
import { ROLES } from '../roles.ts'
import { CLUSTER_OPTIONS, RPC_OPTIONS } from './schema-cluster.ts'
import { LIMIT_OPTIONS } from './schema-limits.ts'
import { LISTENER_OPTIONS } from './schema-listener.ts'
import { RANGE_OPTIONS } from './schema-ranges.ts'
import { REBALANCE_OPTIONS } from './schema-rebalance.ts'
import { STORE_OPTIONS } from './schema-store.ts'

const module = <Absent extends string, Sentence extends string>(absent: Absent, sentence: Sentence) =>
  ({ type: 'string', default: null, absent, sentence }) as const

/**
 * Every key of the configuration, once. The type {@link Config}, the validation, the JSON Schema, `conf/standalone.yml`
 * and `config print` come from this table.
 */
export const SCHEMA = {
  node: {
    type: 'group',
    sentence: 'This process.',
    options: {
      name: {
        type: 'string',
        default: null,
        absent: "the machine's host name",
        pattern: '^\\P{Cc}{1,64}$',
        allowed: '1 to 64 characters on one line',
        sentence: 'Name shown to operators.',
      },
      zone: {
        type: 'string',
        default: null,
        absent: 'all nodes are in one place',
        pattern: '^[\\w.:/-]{1,64}$',
        allowed: '1 to 64 letters, digits and _ . : / -',
        sentence: 'What fails together, such as a rack or an availability zone; told to the other nodes.',
      },
      roles: {
        type: 'list',
        default: ROLES,
        choices: ROLES,
        sentence:
          'What the node does: clients (mqtt), ranges of subscriptions, sessions and retained messages (dist, inbox, retain), /api/v1 (api).',
      },
      data: { type: 'string', default: './data', sentence: 'Folder for everything that the node keeps.' },
      stopSecondsMax: {
        type: 'integer',
        default: 10,
        min: 1,
        max: 600,
        unit: 'seconds',
        sentence: 'How long a graceful stop may take before the process ends anyway.',
      },
    },
  },
  store: { type: 'group', sentence: 'Where state is kept, below the folder `node.data`.', options: STORE_OPTIONS },
  cluster: { type: 'group', sentence: 'How nodes find and watch each other.', options: CLUSTER_OPTIONS },
  rpc: { type: 'group', sentence: 'How nodes work together.', options: RPC_OPTIONS },
  mqtt: {
    type: 'group',
    sentence: 'The MQTT front end.',
    options: {
      listeners: {
        type: 'map',
        entryName: 'listener',
        sentence: 'Where clients connect, by a name of your choice; `enabled: false` turns a default one off.',
        default: { tcp: { type: 'tcp', port: 1883 }, ws: { type: 'ws', port: 8083 } },
        entries: LISTENER_OPTIONS,
      },
      limits: {
        type: 'group',
        sentence: 'Bounds of this node; what a tenant may use is set under `tenants`.',
        options: LIMIT_OPTIONS,
      },
      flapping: {
        type: 'group',
        sentence: 'Clients that connect and break off again and again.',
        options: FLAPPING_OPTIONS,
      },
      rebalance: {
        type: 'group',
        sentence: 'Sends clients of a node that has too many to the others; `flockmq rebalance` asks for it.',
        options: REBALANCE_OPTIONS,
      },
    },
  },
  api: {
    type: 'group',
    sentence: 'The HTTP side: /healthz, /readyz, /metrics, /api/v1.',
    options: {
      host: { type: 'string', default: '127.0.0.1', sentence: 'Address to listen on; beyond loopback needs a token.' },
      port: { type: 'integer', default: 8091, min: 0, max: 65_535, sentence: 'TCP port; 0 takes any free one.' },
      token: {
        type: 'secret',
        default: null,
        absent: 'no token is asked for',
        sentence: 'Bearer token that everything but /healthz and /readyz asks for.',
      },
    },
  },
  plugins: {
    type: 'group',
    sentence: 'What decides for the broker. A module is a package name, or a path (./my.js) from the working folder.',
    options: {
      auth: {
        type: 'string',
        default: 'none',
        sentence: "Who may connect and do what: 'none' (anybody, everything), 'file', or a module.",
      },
      authNone: {
        type: 'group',
        sentence: "Options of `auth: 'none'`.",
        options: {
          beyondLoopback: {
            type: 'boolean',
            default: false,
            sentence: 'Lets a broker without authentication listen beyond loopback: anybody who reaches it may do all.',
          },
        },
      },
      authFile: {
        type: 'group',
        sentence: "Options of `auth: 'file'`.",
        options: {
          path: {
            type: 'string',
            default: null,
            absent: 'nobody can log in',
            sentence: 'File of user names and password hashes, written by `flockmq passwd`.',
          },
          acl: {
            type: 'string',
            default: null,
            absent: 'who is logged in may do everything in the own tenant',
            sentence: 'File of permissions by topic pattern.',
          },
        },
      },
      events: {
        type: 'list',
        default: [],
        sentence: 'Modules that are told of events: connects, drops, refusals.',
      },
      settings: module('settings of tenants come from the configuration', 'Module that gives settings of tenants.'),
      throttle: module('only the quotas in the settings count', 'Module that says whether a tenant may use more.'),
      balancer: module('every client stays here', 'Module that sends clients to other servers (MQTT 5 0x9C, 0x9D).'),
      deadlineMs: {
        type: 'integer',
        default: 5_000,
        min: 10,
        max: 60_000,
        unit: 'ms',
        sentence: 'How long a module may take for an answer; then the broker answers without it, and refuses in doubt.',
      },
    },
  },
  dist: { type: 'group', sentence: 'Subscriptions.', options: RANGE_OPTIONS },
  inbox: { type: 'group', sentence: 'Persistent sessions and their queues.', options: RANGE_OPTIONS },
  retain: { type: 'group', sentence: 'Retained messages.', options: RANGE_OPTIONS },
  tenants: {
    type: 'map',
    entryName: 'tenant',
    sparse: true,
    sentence: 'Settings by tenant; clients that name no tenant belong to `default`.',
    default: {},
    entries: SETTINGS,
  },
  log: {
    type: 'group',
    sentence: 'What the process tells, on standard output.',
    options: {
      level: {
        type: 'choice',
        default: 'info',
        choices: ['error', 'warn', 'info', 'debug'],
        sentence: 'The least important lines that are still written.',
      },
      format: {
        type: 'choice',
        default: 'pretty',
        choices: ['pretty', 'json'],
        sentence: 'Lines for people or for machines.',
      },
    },
  },
} as const satisfies OptionTable

/** The schema as one group, for code that walks it. */
export const ROOT: GroupOption = { type: 'group', sentence: 'FlockMQ.', options: SCHEMA }

type Raw = OptionValues<typeof SCHEMA>
type RawListener = Raw['mqtt']['listeners'][string]

/** A listener with its port filled in by type; a unix one has 0. */
export type ListenerConfig = Omit<RawListener, 'port'> & { port: number }

/** The configuration of one node: complete, validated, with every default filled in. */
export type Config = Omit<Raw, 'mqtt' | 'node' | 'rpc'> & {
  node: Omit<Raw['node'], 'name'> & { name: string }
  rpc: Omit<Raw['rpc'], 'host'> & { host: string }
  mqtt: {
    listeners: Record<string, ListenerConfig>
    limits: Omit<Raw['mqtt']['limits'], 'processBytesMax' | 'heldBytesMax'> & {
      processBytesMax: number
      heldBytesMax: number
    }
    flapping: Raw['mqtt']['flapping']
    rebalance: Raw['mqtt']['rebalance']
  }
}
