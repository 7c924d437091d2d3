import type { QoS } from '../../base/message.ts'
import type { AuthGate, Permissions } from '../../plugin/index.ts'

/** Topics remembered for one connection. */
const TOPICS_MAX = 128

/**
 * May this client publish there? Decisions are remembered by topic until the plugin's generation changes, so that a
 * client that repeats its topics asks the plugin once.
 */
export class PublishGate {
  readonly #permissions: Permissions
  readonly #auth: AuthGate
  #generation: number
  /** By QoS. */
  readonly #granted = [new Set<string>(), new Set<string>(), new Set<string>()] as const

  constructor(permissions: Permissions, auth: AuthGate) {
    this.#permissions = permissions
    this.#auth = auth
    this.#generation = auth.generation
  }

  check(topic: string, qos: QoS, retain: boolean): boolean | Promise<boolean> {
    if (this.#generation !== this.#auth.generation) {
      this.#generation = this.#auth.generation
      for (const topics of this.#granted) topics.clear()
    }
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
