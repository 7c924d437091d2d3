import type { OptionTable } from '../../base/option.ts'

/** How connections are evened out between nodes. */
export const REBALANCE_OPTIONS = {
  automatic: {
    type: 'boolean',
    default: false,
    sentence:
      'Does it without being asked. For clients that find another node by themselves: through a balancer, or with several addresses.',
  },
  spreadPercent: {
    type: 'integer',
    default: 20,
    min: 0,
    max: 10_000,
    unit: 'percent',
    sentence: 'How far above the mean of all nodes a node must be to give connections away.',
  },
  perSecond: {
    type: 'integer',
    default: 50,
    min: 1,
    max: 100_000,
    unit: 'per second',
    sentence: 'Connections that a node with too many ends at most, by default.',
  },
  reference: {
    type: 'string',
    default: null,
    absent: 'they are told to go, not where to',
    pattern: '^[!-~]{1,256}$',
    allowed: '1 to 256 characters without spaces, such as mqtt-2.example.net:1883',
    sentence: 'Where MQTT 5 clients find this node, for those that others send here (Server Reference).',
  },
} as const satisfies OptionTable
