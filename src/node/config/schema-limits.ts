import type { OptionTable } from '../../base/option.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** The bounds of the MQTT front end of one node. */
export const LIMIT_OPTIONS = {
  packetBytesMax: {
    type: 'integer',
    default: MIB,
    min: KIB,
    max: 16 * MIB,
    unit: 'bytes',
    sentence: 'Largest packet taken from a client; announced to MQTT 5 clients.',
  },
  connectTimeoutSeconds: {
    type: 'integer',
    default: 10,
    min: 1,
    max: 300,
    unit: 'seconds',
    sentence: 'Time from the accepted connection to a complete CONNECT, TLS and WebSocket handshake included.',
  },
  connectionsMax: {
    type: 'integer',
    default: 1_000_000,
    min: 1,
    max: 10_000_000,
    unit: 'count',
    sentence: 'Connections open at a time; the limit of open files may be lower.',
  },
  connectionRatePerSecond: {
    type: 'integer',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    unit: 'per second',
    sentence: 'New connections a second on each listener, as many at once after a quiet second; the others are closed.',
  },
  handshakesMax: {
    type: 'integer',
    default: 256,
    min: 1,
    max: 100_000,
    unit: 'count',
    sentence: 'TLS handshakes under way at a time on each listener; the others wait, unread.',
  },
  passwordHashesMax: {
    type: 'integer',
    default: 2,
    min: 1,
    max: 64,
    unit: 'count',
    sentence:
      "Password hashes computed at a time: each takes 32 MiB, 100 ms and one of libuv's threads (4 by default).",
  },
  outputBytesPerConnectionMax: {
    type: 'integer',
    default: 4 * MIB,
    min: 64 * KIB,
    max: 1024 * MIB,
    unit: 'bytes',
    sentence: 'Unsent bytes a slow client may leave before QoS 0 is dropped for it and QoS 1 and 2 wait.',
  },
  processBytesMax: {
    type: 'integer',
    default: null,
    absent: 'three quarters of the memory that this machine or container has',
    min: 64 * MIB,
    max: 1024 * 1024 * MIB,
    unit: 'bytes',
    sentence: 'Memory of the whole process (resident) above which no new connection is taken.',
  },
  heldBytesMax: {
    type: 'integer',
    default: null,
    absent: 'a quarter of the memory that this machine or container has',
    min: 16 * MIB,
    max: 1024 * 1024 * MIB,
    unit: 'bytes',
    sentence: 'Bytes held for all clients together (unsent, unread) above which those that hold most are closed.',
  },
  inFlight3Max: {
    type: 'integer',
    default: 4096,
    min: 1,
    max: 65_535,
    unit: 'count',
    sentence:
      'QoS 1 and 2 publishes of a 3.x client that may await an answer; then it is read no further until one leaves.',
  },
  turnMsMax: {
    type: 'integer',
    default: 5,
    min: 1,
    max: 100,
    unit: 'ms',
    sentence: 'Parsing of client input in one turn of the event loop, before other work gets its turn.',
  },
} as const satisfies OptionTable
