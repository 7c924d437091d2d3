/** Topic aliases that the client set: alias -> topic, until the connection ends (MQTT 5.0 3.3.2.3.4). */
export class InboundAliases<Topic> {
  readonly #max: number
  readonly #topics: (Topic | undefined)[] = []

  constructor(max: number) {
    this.#max = max
  }

  /** False where the alias is over the announced maximum [MQTT-3.3.2-9]. */
  set(alias: number, topic: Topic): boolean {
    if (alias > this.#max) return false
    this.#topics[alias] = topic
    return true
  }

  /** Undefined where the alias was never set, or is over the maximum. */
  get(alias: number): Topic | undefined {
    return this.#topics[alias]
  }
}

/** Topic aliases towards the client: the first topics get one each, and keep it while the connection lasts. */
export class OutboundAliases {
  readonly #max: number
  readonly #aliases = new Map<string, number>()

  constructor(max: number) {
    this.#max = max
  }

  /** The alias of a topic the client knows already, or 0. */
  known(topic: string): number {
    return this.#aliases.get(topic) ?? 0
  }

  /** A new alias for a topic, or 0 where none is left. The packet that tells it carries the topic too. */
  assign(topic: string): number {
    if (this.#aliases.size >= this.#max) return 0
    const alias = this.#aliases.size + 1
    this.#aliases.set(topic, alias)
    return alias
  }
}
