import { topicMatches } from '../../src/base/topic.ts'

/** How a publish ended: `ok` = acknowledged, `failed` = refused with a reason code, `unknown` = no answer came. */
export type Outcome = 'ok' | 'unknown' | 'failed'

/** One application message of one publisher, however often it was sent. */
export interface Publish {
  /** Unique in the history; the payload begins with it. */
  id: string
  publisher: string
  topic: string
  qos: 1 | 2
  /** Position among all publishes of its publisher, in the order of their first sending. */
  number: number
  sentMs: number
  /** Of PUBACK or PUBREC; null = never. */
  answeredMs: number | null
  outcome: Outcome
  /** Times it went out: above 1 the broker may hold a second QoS 1 copy by right. */
  sends: number
}

/** A message as a client's application sees it: after QoS 2 was told apart by packet id. */
export interface Delivery {
  session: string
  id: string
  topic: string
  qos: 0 | 1 | 2
  dup: boolean
  packetId: number
  /** Counts the connections of its session. */
  connection: number
  atMs: number
}

/** A session that is to get everything of `filter` that is sent after `sinceMs`, and in order. */
export interface Session {
  name: string
  filter: string
  /** Of the SUBACK. */
  sinceMs: number
  /** What is sent before may be missing, where the session is not persistent. Default `sinceMs`. */
  dueMs?: number
  /** Of a shared group: the sessions that get it all together, each message one of them. */
  members?: readonly string[]
}

/** All that clients of one run saw, in the order in which they saw it. */
export interface History {
  publishes: Publish[]
  deliveries: Delivery[]
  sessions: Session[]
  /** What a client saw that needs no other's knowledge: see {@link Anomaly}. */
  anomalies: Anomaly[]
}

/** `session-lost`: CONNACK without Session Present. `protocol`: an answer to nothing, a packet id in use twice. */
export interface Anomaly {
  kind: 'session-lost' | 'protocol'
  session: string
  detail: string
}

/**
 * `lost`: acknowledged and never delivered. `doubled`: QoS 2, delivered twice. `order`: of one publisher, topic and QoS,
 * the later one came first. `ghost`: never published, or with another topic. `unmarked`: QoS 1, sent once, delivered
 * again without DUP [MQTT-3.3.1-1]. `resend-order`: repeated in another order than first sent [MQTT-4.6.0-1].
 */
export interface Violation {
  kind: 'lost' | 'doubled' | 'order' | 'ghost' | 'unmarked' | 'resend-order' | Anomaly['kind']
  session: string
  detail: string
}

export function newHistory(): History {
  return { publishes: [], deliveries: [], sessions: [], anomalies: [] }
}

/**
 * Judges a history whose sessions were drained: every promise of an acknowledgement, whatever was killed meanwhile.
 *
 * A refused publish promises nothing either way: an inbox may have it although another one had not.
 */
export function check(history: History): Violation[] {
  const violations: Violation[] = [...history.anomalies]
  const published = new Map(history.publishes.map((publish) => [publish.id, publish]))
  for (const session of history.sessions) {
    const { members = [session.name] } = session
    const deliveries = history.deliveries.filter((delivery) => members.includes(delivery.session))
    const known = deliveries.filter((delivery) => isKnown(delivery, published, violations))
    violations.push(...findLost(session, history.publishes, known), ...findRepeated(session, known, published))
    // A group promises no order among its members.
    if (session.members !== undefined) continue
    violations.push(...findDisorder(session, known, published), ...findResendDisorder(session, known))
  }
  return violations
}

/** Publishes that a session must have got; for those who wait for a run to end. */
export function owed({ filter, sinceMs, dueMs = sinceMs }: Session, publishes: readonly Publish[]): Publish[] {
  return publishes.filter(
    ({ outcome, sentMs, topic }) => outcome === 'ok' && sentMs >= dueMs && topicMatches(filter, topic),
  )
}

function isKnown(delivery: Delivery, published: ReadonlyMap<string, Publish>, violations: Violation[]): boolean {
  const { session, id, topic } = delivery
  const publish = published.get(id)
  if (publish?.topic === topic) return true
  const detail = publish === undefined ? `${id} was never published` : `${id} came with topic ${topic}`
  violations.push({ kind: 'ghost', session, detail })
  return false
}

function findLost(session: Session, publishes: readonly Publish[], deliveries: readonly Delivery[]): Violation[] {
  const got = new Set(deliveries.map(({ id }) => id))
  return owed(session, publishes)
    .filter(({ id }) => !got.has(id))
    .map(({ id, qos, sentMs, answeredMs }) => ({
      kind: 'lost',
      session: session.name,
      detail: `${id}, QoS ${qos}, sent at ${ms(sentMs)}, acknowledged at ${ms(answeredMs!)}`,
    }))
}

function findRepeated(
  session: Session,
  deliveries: readonly Delivery[],
  published: ReadonlyMap<string, Publish>,
): Violation[] {
  const violations: Violation[] = []
  const first = new Map<string, Delivery>()
  for (const delivery of deliveries) {
    const { id, qos, dup } = delivery
    const before = first.get(id)
    if (before === undefined) {
      first.set(id, delivery)
      continue
    }
    const detail = `${id}, ${at(before)}, then ${at(delivery)}`
    const { sends, qos: publishQos } = published.get(id)!
    if (qos === 2) violations.push({ kind: 'doubled', session: session.name, detail })
    // What a member of a group did not acknowledge is anybody's, and to whoever gets it then it is new.
    else if (session.members !== undefined) continue
    // A QoS 2 publish is known again by its number, however often it was sent.
    else if (!dup && (sends === 1 || publishQos === 2)) {
      violations.push({ kind: 'unmarked', session: session.name, detail })
    }
  }
  return violations
}

/** By the first time that each message came: a repetition may come late [MQTT 5.0 4.6, non-normative]. */
function findDisorder(
  session: Session,
  deliveries: readonly Delivery[],
  published: ReadonlyMap<string, Publish>,
): Violation[] {
  const violations: Violation[] = []
  const seen = new Set<string>()
  const newest = new Map<string, Publish>()
  for (const { id } of deliveries) {
    if (seen.has(id)) continue
    seen.add(id)
    const publish = published.get(id)!
    // Sent before the SUBACK: it may come when it is sent again.
    if (publish.sentMs < session.sinceMs) continue
    const stream = `${publish.publisher}\0${publish.topic}\0${publish.qos}`
    const before = newest.get(stream)
    if (before === undefined || before.number < publish.number) newest.set(stream, publish)
    else
      violations.push({ kind: 'order', session: session.name, detail: `${told(publish)} came after ${told(before)}` })
  }
  return violations
}

/** What a new connection repeats, under the packet ids of old, comes in the order of old. */
function findResendDisorder(session: Session, deliveries: readonly Delivery[]): Violation[] {
  const violations: Violation[] = []
  /** Place of the first sending, by packet id and message. */
  const places = new Map<string, number>()
  let connection = -1
  let last = -1
  deliveries.forEach((delivery, place) => {
    if (delivery.connection !== connection) {
      connection = delivery.connection
      last = -1
    }
    const name = `${delivery.packetId} ${delivery.id}`
    const before = places.get(name)
    if (before === undefined) {
      places.set(name, place)
      return
    }
    if (before < last) {
      const detail = `${delivery.id} was repeated after ${deliveries[last]!.id}, and had been sent before it`
      violations.push({ kind: 'resend-order', session: session.name, detail })
    }
    last = Math.max(last, before)
  })
  return violations
}

function told({ id, topic, qos, outcome, sends, sentMs }: Publish): string {
  return `${id} (${topic}, QoS ${qos}, ${outcome}, sent ${sends} times, first at ${ms(sentMs)})`
}

function at({ connection, packetId, dup, atMs }: Delivery): string {
  return `connection ${connection} packet id ${packetId}${dup ? ' DUP' : ''} at ${ms(atMs)}`
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`
}
