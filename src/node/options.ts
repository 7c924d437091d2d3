import type { MqttOptions } from '../mqtt/index.ts'
import type { Config } from './config/index.ts'

/** The front end's options, as the configuration gives them. */
export function mqttOptions(config: Config): MqttOptions {
  const { limits, flapping, listeners } = config.mqtt
  return {
    listeners: Object.entries(listeners)
      .filter(([, listener]) => listener.enabled)
      .map(([name, listener]) => ({ name, ...listener })),
    packetBytesMax: limits.packetBytesMax,
    connectTimeoutMs: limits.connectTimeoutSeconds * 1000,
    connectionsMax: limits.connectionsMax,
    connectionRatePerSecond: limits.connectionRatePerSecond,
    handshakesMax: limits.handshakesMax,
    outputBytesPerConnectionMax: limits.outputBytesPerConnectionMax,
    processBytesMax: limits.processBytesMax,
    heldBytesMax: limits.heldBytesMax,
    turnMsMax: limits.turnMsMax,
    inFlight3Max: limits.inFlight3Max,
    flapping,
  }
}
