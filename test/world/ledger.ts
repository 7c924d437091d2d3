import type { BrokerWorld } from './world.ts'

/** A promise of the broker is broken. */
export class Violation extends Error {
  override name = 'Violation'
}

/** The group whose members are looked at. */
export const GROUP = '$share/g/s/+'

/** One message that somebody wanted to publish, and what became of it. Numbers rise with the order of sending. */
export interface Publish {
  readonly number: number
  readonly tenant: string
  /** Its client. */
  readonly publisher: string
  readonly topic: string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly will: boolean
  /** When it was first sent; of a will, its CONNECT. */
  readonly sentMs: number
  /** Times that it was sent. */
  attempts: number
  /** Nodes to which it was sent, by name. */
  readonly nodes: Set<string>
  /** `open`: not answered yet. `unknown`: it never will be. */
  outcome: 'open' | 'accepted' | 'refused' | 'unknown'
  answeredMs: number
  /** When the broker first sent it to anybody. */
  leftMs: number
  /** The member of a group that has it for good: its PUBREC is committed. */
  member: string | null
}

/** Everything that was published in a run. Payloads are numbers in it, so that whoever receives one knows all of it. */
export class Ledger {
  readonly publishes: Publish[] = []
  /** Clocks of nodes went apart: what is older is not what came earlier. */
  skewed = false
  readonly #it: BrokerWorld

  constructor(it: BrokerWorld) {
    this.#it = it
  }

  /** A message came after one that its publisher sent later, to another node. */
  noteLate(): void {
    this.#it.count('late messages of publishers that moved')
  }

  get nowMs(): number {
    return this.#it.world.elapsedMs
  }

  add(fields: Pick<Publish, 'tenant' | 'publisher' | 'topic' | 'qos' | 'retain' | 'will'>): Publish {
    const publish: Publish = {
      ...{ ...fields, number: this.publishes.length, sentMs: this.nowMs, attempts: 0, nodes: new Set<string>() },
      ...{ outcome: 'open', answeredMs: Number.POSITIVE_INFINITY, leftMs: Number.POSITIVE_INFINITY, member: null },
    }
    this.publishes.push(publish)
    return publish
  }

  answered(publish: Publish, accepted: boolean): void {
    if (publish.outcome !== 'open') return
    publish.outcome = accepted ? 'accepted' : 'refused'
    publish.answeredMs = this.nowMs
  }

  /** The message of a payload, which must be one of this tenant on this topic (M8). */
  read(tenant: string, topic: string, payload: Buffer): Publish {
    const text = payload.toString('latin1')
    const number = Number.parseInt(text, 10)
    const publish = this.publishes[number]
    if (publish === undefined) throw new Violation(`M1: a message that nobody sent: "${text.slice(0, 40)}"`)
    if (publish.tenant !== tenant)
      throw new Violation(`M8: ${tenant} gets message ${number} of ${publish.tenant}, topic ${topic}`)
    if (publish.topic !== topic) throw new Violation(`M1: message ${number} of ${publish.topic} comes on ${topic}`)
    if (text !== payloadOf(publish).toString('latin1')) throw new Violation(`M1: the payload of ${number} is damaged`)
    return publish
  }

  fail(reason: string): never {
    throw new Violation(reason)
  }
}

/** Its number, and bytes that depend on it: now and then many. */
export function payloadOf({ number, tenant }: Pick<Publish, 'number' | 'tenant'>): Buffer {
  const length = number % 17 === 0 ? 3_000 : number % 40
  return Buffer.from(`${number} ${tenant} ${'.'.repeat(length)}`)
}

export function matches(filter: string, topic: string): boolean {
  const [levels, names] = [filter.split('/'), topic.split('/')]
  for (const [i, level] of levels.entries()) {
    if (level === '#') return true
    if (i >= names.length || (level !== '+' && level !== names[i])) return false
  }
  return levels.length === names.length
}
