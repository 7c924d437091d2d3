import type { OptionTable } from '../../base/option.ts'

/** The options of one listener. */
export const LISTENER_OPTIONS = {
  enabled: { type: 'boolean', default: true, sentence: 'Whether it is opened.' },
  type: {
    type: 'choice',
    default: 'tcp',
    choices: ['tcp', 'tls', 'ws', 'wss', 'unix'],
    sentence: 'What is spoken below MQTT.',
  },
  host: { type: 'string', default: '127.0.0.1', sentence: 'Address to listen on; 0.0.0.0 or :: for all.' },
  port: {
    type: 'integer',
    default: null,
    absent: 'tcp 1883, tls 8883, ws 8083, wss 8084',
    min: 0,
    max: 65_535,
    sentence: 'TCP port; 0 takes any free one.',
  },
  path: {
    type: 'string',
    default: null,
    absent: '/mqtt for ws and wss',
    sentence: 'URL path of ws and wss; file of a unix socket.',
  },
  backlog: {
    type: 'integer',
    default: 4096,
    min: 1,
    max: 65_535,
    unit: 'count',
    sentence: 'Connections that wait to be accepted; the kernel may allow fewer (net.core.somaxconn).',
  },
  proxyProtocol: {
    type: 'choice',
    default: 'off',
    choices: ['off', 'required'],
    sentence: 'Whether every connection begins with a PROXY protocol header, version 1 or 2; never guessed.',
  },
  connectionsMax: {
    type: 'integer',
    default: null,
    absent: 'only mqtt.limits.connectionsMax counts',
    min: 1,
    max: 10_000_000,
    unit: 'count',
    sentence: 'Connections open at a time on this listener.',
  },
  origins: {
    type: 'list',
    default: [],
    sentence:
      'Origins from which web pages may open ws and wss, such as https://example.org; an empty list allows all.',
  },
  tls: {
    type: 'group',
    sentence: 'Certificates of tls and wss; changed files are read again without a restart.',
    options: {
      cert: {
        type: 'string',
        default: null,
        absent: 'needed for tls and wss',
        sentence: 'PEM file: certificate chain.',
      },
      key: { type: 'string', default: null, absent: 'needed for tls and wss', sentence: 'PEM file: private key.' },
      ca: {
        type: 'string',
        default: null,
        absent: "the system's authorities",
        sentence: 'PEM file: authorities that sign client certificates.',
      },
      requireClientCert: {
        type: 'boolean',
        default: false,
        sentence: 'Refuses clients without a certificate that `ca` signed.',
      },
      tenantFromCert: {
        type: 'choice',
        default: 'none',
        choices: ['none', 'cn', 'o', 'ou'],
        sentence: "Field of the client certificate's subject that names the tenant.",
      },
      userFromCert: {
        type: 'choice',
        default: 'none',
        choices: ['none', 'cn', 'o', 'ou'],
        sentence: 'Field that names the user: the certificate alone says who it is, and no password is looked at.',
      },
    },
  },
} as const satisfies OptionTable
