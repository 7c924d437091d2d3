import { check, type Publish, type Violation } from './checker.ts'
import { payloadOf } from './peer.ts'
import { mustConnect, type Stage, tryConnect } from './stage.ts'
import { Subscriber } from './subscriber.ts'
import { NEVER, type Talker } from './talker.ts'

/** Will Delay Interval of those who have one, in seconds. */
const DELAY_SECONDS = 1
/** A will whose announcing broker died is announced again after 30 s: see `inbox/store/will.ts`. */
const FIRED_MS_MAX = 70_000

interface Bearer {
  name: string
  qos: 1 | 2
  delaySeconds: number
  expirySeconds: number
  connection: Talker | null
  /** Of the connection that is, or was the last one. */
  will: Publish | null
  /** When the client let the connection go, or found it gone. */
  lostMs: number
}

/**
 * Clients with wills come, go with and without DISCONNECT, and are connected when the node dies. Every will that was
 * due comes once to every persistent session, and no other.
 */
export class WillScenario {
  /** Wills that had to come. */
  due = 0
  readonly #stage: Stage
  readonly #watchers: Subscriber[]
  readonly #bearers: Bearer[]
  #wills = 0

  constructor(stage: Stage) {
    this.#stage = stage
    const { surroundings } = stage
    this.#watchers = ['awake', 'asleep'].map(
      (clientId) => new Subscriber({ clientId, version: 5, surroundings, filter: 'w/#', qos: 2, ackMsMax: 3 }),
    )
    const kinds: [string, 1 | 2, number, number][] = [
      ['at-once', 1, 0, NEVER],
      ['at-once-2', 2, 0, NEVER],
      ['transient', 2, 0, 0],
      ['ends', 1, DELAY_SECONDS, 0],
      ['later', 2, DELAY_SECONDS, NEVER],
      ['later-1', 1, DELAY_SECONDS, 1_000],
    ]
    this.#bearers = kinds.map(([name, qos, delaySeconds, expirySeconds]) => ({
      ...{ name, qos, delaySeconds, expirySeconds },
      ...{ connection: null, will: null, lostMs: 0 },
    }))
  }

  async run(rounds: number): Promise<Violation[]> {
    const stage = this.#stage
    const { surroundings } = stage
    for (const watcher of this.#watchers) watcher.join()
    await stage.until(() => this.#watchers.every(({ subscribed }) => subscribed))
    this.#watchers[1]!.leave(true)
    for (let round = 0; round < rounds; round++) {
      for (const bearer of this.#bearers) await this.#come(bearer)
      for (const bearer of this.#bearers) await this.#maybeGo(bearer)
      await stage.pause(surroundings.random.float() * 10)
      await stage.crash()
      for (const bearer of this.#bearers) this.#lose(bearer)
      await stage.pause(surroundings.random.float() * 50)
      await stage.start()
    }
    for (const bearer of this.#bearers) if (bearer.will !== null) this.#mustFire(bearer)
    this.#watchers[1]!.join()
    const due = surroundings.history.publishes.filter(({ outcome }) => outcome === 'ok')
    this.due = due.length
    await stage.until(() => this.#watchers.every(({ got }) => due.every(({ id }) => got.has(id))), FIRED_MS_MAX)
    // What must not come would come by now.
    await stage.pause(DELAY_SECONDS * 1_000 + 500)
    for (const watcher of this.#watchers) watcher.leave(true)
    return check(surroundings.history)
  }

  async #come(bearer: Bearer): Promise<void> {
    if (bearer.connection !== null) return
    const { surroundings } = this.#stage
    const id = `${bearer.name}-${++this.#wills}`
    const will: Publish = {
      ...{ id, publisher: bearer.name, topic: `w/${id}`, qos: bearer.qos, number: this.#wills, sends: 1 },
      ...{ sentMs: surroundings.now(), answeredMs: null, outcome: 'unknown' },
    }
    const { delaySeconds, expirySeconds, qos } = bearer
    const connected = await tryConnect(this.#stage, bearer.name, {
      will: { topic: will.topic, payload: payloadOf(id), qos, properties: { willDelayInterval: delaySeconds } },
      properties: { sessionExpiryInterval: expirySeconds },
    })
    this.#settleLast(bearer, connected !== null)
    surroundings.history.publishes.push(will)
    bearer.connection = connected?.talker ?? null
    bearer.will = will
    // Nobody knows whether a CONNECT without its CONNACK is committed.
    if (connected === null) bearer.will = null
  }

  /** Decides about the will of the connection before, now that the client is back. */
  #settleLast(bearer: Bearer, isBack: boolean): void {
    const { will, delaySeconds, expirySeconds, lostMs } = bearer
    if (will === null) return
    if (delaySeconds === 0 || expirySeconds === 0) return this.#mustFire(bearer)
    // In time: the session goes on, and the will is discarded [MQTT-3.1.3-9]. Later, nobody knows which came first.
    const { history, now } = this.#stage.surroundings
    if (isBack && now() < lostMs + delaySeconds * 1_000) {
      history.publishes.splice(history.publishes.indexOf(will), 1)
    }
    bearer.will = null
  }

  #mustFire(bearer: Bearer): void {
    bearer.will!.outcome = 'ok'
    bearer.will!.answeredMs = bearer.lostMs
    bearer.will = null
  }

  async #maybeGo(bearer: Bearer): Promise<void> {
    const { random, history } = this.#stage.surroundings
    const { connection, will } = bearer
    if (connection === null || random.below(2) === 0) return
    if (random.below(2) === 0) {
      connection.drop()
      this.#lose(bearer)
      return
    }
    connection.send({ cmd: 'disconnect', reasonCode: 0 })
    await this.#stage.until(() => connection.closed)
    bearer.connection = null
    bearer.will = null
    // Given up for good once the same client id is served again, by a node that does not die meanwhile.
    const next = await mustConnect(this.#stage, bearer.name, { properties: { sessionExpiryInterval: NEVER } })
    next.talker.send({ cmd: 'disconnect', reasonCode: 0 })
    history.publishes.splice(history.publishes.indexOf(will!), 1)
  }

  #lose(bearer: Bearer): void {
    if (bearer.connection === null) return
    bearer.connection.drop()
    bearer.connection = null
    bearer.lostMs = this.#stage.surroundings.now()
  }
}
