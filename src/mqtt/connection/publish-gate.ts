import type { QoS } from '../../base/message.ts'
import type { Permissions } from '../../plugin/index.ts'

/** Topics remembered for one connection. */
const TOPICS_MAX = 128

/**
 * May this client publish there? Grants are remembered by topic, so that a client that repeats its topics asks the
 * plugin once; the gate is made anew when the plugin's generation changes.
 */
export class PublishGate {
  readonly #permissions: Permissions
  /** By QoS. */
  readonly #granted = [new Set<string>(), new Set<string>(), new Set<string>()] as const

  constructor(permissions: Permissions) {
    this.#permissions = permissions
  }

  check(topic: string, qos: QoS, retain: boolean): boolean | Promise<boolean> {
    const granted = this.#granted[qos]
    if (!retain && granted.has(topic)) return true
    const answer = this.#permissions.publish(topic, qos, retain)
    if (answer === true && !retain) {
      if (granted.size >= TOPICS_MAX) granted.clear()
      granted.add(topic)
    }
    return answer
  }
}
