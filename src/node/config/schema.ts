import type { GroupOption, OptionTable, OptionValues } from '../../base/option.ts'
import { SETTINGS } from '../../plugin/settings.ts'
import { LIMIT_OPTIONS } from './schema-limits.ts'
import { LISTENER_OPTIONS } from './schema-listener.ts'

/**
 * Every key of the configuration, once. The type {@link Config}, the validation, the JSON Schema, `conf/standalone.yml`
 * and `config print` come from this table.
 */
export const SCHEMA = {
  node: {
    type: 'group',
    sentence: 'This process.',
    options: {
      name: { type: 'string', default: null, absent: "the machine's host name", sentence: 'Name shown to operators.' },
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
    sentence: 'Modules that decide for the broker. A path is taken relative to the working folder.',
    options: {
      auth: {
        type: 'string',
        default: 'none',
        pattern: '^(none|file|\\.{0,2}/.+)$',
        allowed: "'none', 'file' or the path of a module, starting with ./, ../ or /",
        sentence: "Who may connect and do what: 'none' (anybody, everything), 'file' or the path of a module.",
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
        sentence: 'Paths of modules that are told of events: connects, drops, refusals.',
      },
    },
  },
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
export type Config = Omit<Raw, 'mqtt' | 'node'> & {
  node: Omit<Raw['node'], 'name'> & { name: string }
  mqtt: {
    listeners: Record<string, ListenerConfig>
    limits: Omit<Raw['mqtt']['limits'], 'processBytesMax'> & { processBytesMax: number }
  }
}
