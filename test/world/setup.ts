import { type Logger, silentLogger } from '../../src/base/logging.ts'
import type { MqttOptions } from '../../src/mqtt/index.ts'
import type { TenantSettings } from '../../src/plugin/index.ts'
import type { BrokerWorld } from './world.ts'

/** As shipped, but for what the world does not have: sockets, and a process whose memory is its own. */
export const MQTT_OPTIONS: MqttOptions = {
  listeners: [],
  packetBytesMax: 1 << 20,
  connectTimeoutMs: 10_000,
  connectionsMax: 100_000,
  connectionRatePerSecond: 100_000,
  handshakesMax: 256,
  outputBytesPerConnectionMax: 1 << 20,
  processBytesMax: Number.POSITIVE_INFINITY,
  heldBytesMax: 1 << 28,
  flapping: { enabled: false, disconnectsMax: 3, windowSeconds: 60, banSeconds: 300, clientsMax: 100 },
  turnMsMax: 5,
  inFlight3Max: 4_096,
}

export const SETTINGS: Partial<TenantSettings> = {}

/** What a node says as an error must not be, whatever goes wrong around it. */
export function watchLog(it: BrokerWorld, node: string): Logger {
  const say = (level: string) => (fields: object, message: string) => it.said(level, node, fields, message)
  return {
    ...silentLogger,
    info: say('info'),
    warn: say('warn'),
    error: (fields, message) => {
      it.said('error', node, fields, message)
      const { err } = fields as { err?: unknown }
      it.world.fail(new Error(`${node}: ${message}`, { cause: err }))
    },
  }
}
