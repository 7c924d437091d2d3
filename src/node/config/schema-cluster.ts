import type { OptionTable } from '../../base/option.ts'

/** How nodes find each other. */
export const CLUSTER_OPTIONS = {
  name: {
    type: 'string',
    default: 'flockmq',
    pattern: '^[!-~]{1,64}$',
    allowed: '1 to 64 letters, digits or signs, without spaces',
    sentence: 'Clusters of other names are not listened to.',
  },
  host: {
    type: 'string',
    default: '127.0.0.1',
    sentence:
      'Address to listen on for other nodes; 0.0.0.0 or :: for all. Beyond loopback needs cluster.secret or rpc.tls.',
  },
  port: { type: 'integer', default: 7946, min: 0, max: 65_535, sentence: 'UDP and TCP port; 0 takes any free one.' },
  advertise: {
    type: 'string',
    default: null,
    absent: 'cluster.host, or where that is all addresses, the one that leads to the seeds',
    sentence: 'Where others find this node: host, host:port or [ip6]:port.',
  },
  seeds: {
    type: 'list',
    default: [],
    sentence:
      'Nodes to ask at first, host:port each; a name stands for all its addresses. Without any, this node founds a cluster.',
  },
  expect: {
    type: 'integer',
    default: null,
    absent: 'a node that has seeds waits for a member among them',
    min: 1,
    max: 256,
    unit: 'count',
    sentence: 'Nodes that found the cluster together, as soon as they all see each other; the same number on each.',
  },
  secret: {
    type: 'list',
    default: [],
    secret: true,
    sentence:
      'Shared by all nodes: encrypts gossip and authenticates links. The first encrypts, all decrypt, so that it can be changed node by node.',
  },
  insecure: {
    type: 'boolean',
    default: false,
    sentence: 'Lets a node listen beyond loopback without a secret: whoever reaches the port may join.',
  },
} as const satisfies OptionTable

/** The port for work between nodes. */
export const RPC_OPTIONS = {
  host: { type: 'string', default: null, absent: 'cluster.host', sentence: 'Address to listen on.' },
  port: { type: 'integer', default: 7947, min: 0, max: 65_535, sentence: 'TCP port (gRPC); 0 takes any free one.' },
  tls: {
    type: 'group',
    sentence: 'Certificates by which nodes know each other, on both sides of a link; all three, or none.',
    options: {
      cert: { type: 'string', default: null, absent: 'no TLS', sentence: 'PEM file: certificate chain of this node.' },
      key: { type: 'string', default: null, absent: 'no TLS', sentence: 'PEM file: private key.' },
      ca: { type: 'string', default: null, absent: 'no TLS', sentence: 'PEM file: authorities that sign nodes.' },
    },
  },
} as const satisfies OptionTable
