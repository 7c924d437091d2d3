import { assert, unreachable } from '../../../base/assert.ts'
import type { HostId } from '../../../base/ids.ts'
import type { FormingEvent } from './effects.ts'
import type { Address, ClusterId } from './host.ts'
import { type Header, type Hello, KNOWN_MAX } from './message.ts'

/** Which cluster a host belongs to: kept in its data folder. */
export interface ClusterIdentity {
  readonly id: ClusterId
  /** Wall clock of the founder, ms since 1970: the older one of two clusters is known by it. */
  readonly formedAtMs: number
  /** This host founded it, and nobody else was ever seen in it. */
  readonly lonely: boolean
  /** This host founded it, and has not said yet that all that belongs to that is done. */
  readonly founding: boolean
}

export interface FormingOptions {
  self: HostId
  life: number
  /** Wall clock now, ms since 1970. */
  startedMs: number
  address: Address
  /** Whether any seed is configured. */
  seeded: boolean
  /** `cluster.expect`: so many hosts form together; 0 and 1 = not set. */
  expect: number
  /** Null for a host that never was in a cluster. */
  cluster: ClusterIdentity | null
  /** Random; the id of a cluster that this host founds, and what it takes for the next one. */
  freshClusterId: () => ClusterId
  /** Data of users is here: such a cluster never dissolves. */
  userData: boolean
}

export type FormingInput =
  | { type: 'tick' }
  /** A hello of our cluster's name. */
  | { type: 'hello'; from: Address; header: Header; hello: Hello }
  /** Another packet of our name, whose sender is in another cluster than we are. */
  | { type: 'heard'; from: Address }
  /** A packet of our own came back from there: a seed's address is ours. */
  | { type: 'self'; from: Address }
  /** All addresses of the seeds; `complete`: every name was found. */
  | { type: 'seeds'; addresses: readonly Address[]; complete: boolean }
  | { type: 'user-data'; present: boolean }
  /** What the founder of a cluster has to do is done, and on disk. */
  | { type: 'founded' }
  /** Somebody else was seen in our cluster. */
  | { type: 'company' }
  /** Answer to `dissolve`: what was founded is wiped, or it cannot be. */
  | { type: 'dissolved'; done: boolean }
  | { type: 'moved'; address: Address }

/** A host without a cluster, heard of late. */
interface Sighting {
  address: Address
  life: number
  hello: Hello
  heardMs: number
}

/** An unformed host says hello to everybody it knows of so often, in ms. */
export const HELLO_MS = 500
/** Who was not heard for so long is not seen any more, in ms. */
export const SIGHT_MS = 5_000
/** An echo older than this, in ms, may come from a socket's buffer after a pause, and does not count. */
export const ECHO_MS = 3_000
/** A host whose only seed is itself listens for so long, in ms. */
export const LISTEN_MS = 3_000
const DOUBLE_MS = 1_000
const WAITING_EVENT_MS = 10_000
const REFUSED_EVENT_MS = 60_000
const SIGHTINGS_MAX = 256
const ANSWERED_MAX = 256
const ANSWER_MS = 500

/**
 * Who may found a cluster, who waits, and what happens when two meet, as a pure machine.
 *
 * - No seeds: forms at once. Only seed is itself: listens 3 s, then forms. `expect` N: N hosts without a cluster that
 *   all see each other form; the lowest id of those with `expect` founds. Another seed and no `expect`: waits, and says so.
 * - A host without a cluster adopts the first one of its name that it meets.
 * - A fresh cluster (one founder, nobody else ever, no user data) that meets an older or a grown one dissolves into it.
 *   All others refuse each other.
 *
 * Where N is the number of all hosts, at most one of them founds: the founder needs the support of all N, in answers to
 * its own latest hellos, and a host that sees a lower id never gets the support of that one.
 */
export class Forming {
  hellos: { to: Address; hello: Hello }[] = []
  readonly events: FormingEvent[] = []
  #cluster: ClusterIdentity | null
  /** While the host wipes what it founded: where to go then. */
  #dissolving: { into: ClusterIdentity; contact: Address } | null = null
  readonly #options: FormingOptions
  readonly #startMs: number
  #address: Address
  readonly #selfAddresses = new Set<Address>()
  #seeds: readonly Address[] = []
  #seedsComplete = false
  #userData: boolean
  readonly #sightings = new Map<HostId, Sighting>()
  /** When each of the last hellos was sent: an echo tells how old it is. */
  readonly #sentMs: { seq: number; atMs: number }[] = []
  readonly #answeredMs = new Map<Address, number>()
  readonly #refusedMs = new Map<ClusterId, number>()
  #double: { life: number; sinceMs: number } | null = null
  #seq = 0
  #listeningSinceMs: number
  #helloAtMs: number
  #waitingSaid: { reason: string; sees: number; atMs: number } | null = null

  constructor(options: FormingOptions, now: number) {
    assert(options.expect >= 0, 'cluster.expect must not be negative')
    this.#options = { ...options, expect: options.expect > 1 ? options.expect : 0 }
    this.#startMs = now
    this.#cluster = options.cluster
    this.#address = options.address
    this.#userData = options.userData
    this.#listeningSinceMs = now
    this.#helloAtMs = now
    if (this.#cluster === null && this.#mayFormAlone(now)) this.#found(now)
  }

  /** Null: none yet, or it is being dissolved. */
  get cluster(): ClusterIdentity | null {
    return this.#dissolving === null ? this.#cluster : null
  }

  /** What the disk should hold: while it is being dissolved, still the old one. */
  get kept(): ClusterIdentity | null {
    return this.#cluster
  }

  deadlineMs(): number {
    return this.#cluster === null ? this.#helloAtMs : Number.POSITIVE_INFINITY
  }

  step(input: FormingInput, now: number): void {
    switch (input.type) {
      case 'tick':
        break
      case 'hello':
        this.#hear(input.from, input.header, input.hello, now)
        break
      case 'heard':
        this.#greet(input.from, true, now)
        break
      case 'self':
        this.#selfAddresses.add(input.from)
        break
      case 'seeds':
        this.#seeds = input.addresses
        this.#seedsComplete = input.complete
        break
      case 'user-data':
        this.#userData = input.present
        break
      case 'founded':
        if (this.#cluster?.founding) this.#cluster = { ...this.#cluster, founding: false }
        break
      case 'company':
        if (this.#cluster?.lonely) this.#cluster = { ...this.#cluster, lonely: false }
        break
      case 'dissolved':
        this.#dissolved(input.done)
        break
      case 'moved':
        this.#address = input.address
        break
      default:
        unreachable(input)
    }
    if (this.#cluster === null) this.#seek(now)
  }

  /** Without a cluster: sees who else is, says hello, forms when it may. */
  #seek(now: number): void {
    for (const [id, sighting] of this.#sightings) if (now - sighting.heardMs > SIGHT_MS) this.#sightings.delete(id)
    if (this.#mayFormAlone(now) || this.#mayFormTogether(now)) return this.#found(now)
    if (now < this.#helloAtMs) return
    this.#helloAtMs = now + HELLO_MS
    this.#seq++
    this.#sentMs.push({ seq: this.#seq, atMs: now })
    if (this.#sentMs.length > 32) this.#sentMs.shift()
    const to = new Set(this.#seeds)
    for (const { address, hello } of this.#sightings.values()) {
      to.add(address)
      for (const known of hello.known) if (to.size < SIGHTINGS_MAX) to.add(known)
    }
    // A hello that comes back tells that the address is ours.
    for (const address of to)
      if (!this.#isSelf(address)) this.hellos.push({ to: address, hello: this.#hello(address, true) })
    this.#sayWaiting(now)
  }

  #mayFormAlone(now: number): boolean {
    const { seeded, expect } = this.#options
    if (expect > 0) return false
    if (!seeded) return true
    if (!this.#onlySeedIsSelf()) {
      this.#listeningSinceMs = now
      return false
    }
    return now - this.#listeningSinceMs >= LISTEN_MS
  }

  #onlySeedIsSelf(): boolean {
    return this.#seedsComplete && this.#seeds.length > 0 && this.#seeds.every((seed) => this.#isSelf(seed))
  }

  /** All that this host sees support it, see the same hosts, and answer its latest hellos. */
  #mayFormTogether(now: number): boolean {
    const { self, expect } = this.#options
    if (expect === 0) return false
    let needed = expect
    for (const { hello } of this.#sightings.values()) needed = Math.max(needed, hello.expect)
    if (this.#sightings.size + 1 < needed || this.#candidate() !== self) return false
    const digest = this.#digest()
    for (const { hello } of this.#sightings.values()) {
      if (hello.supports !== self || hello.digest !== digest || hello.sees !== this.#sightings.size + 1) return false
      const echoed = this.#sentMs.find((sent) => sent.seq === hello.echo)
      if (echoed === undefined || now - echoed.atMs > ECHO_MS) return false
    }
    return true
  }

  #found(now: number): void {
    const id = this.#options.freshClusterId()
    const formedAtMs = Math.floor(this.#options.startedMs + now - this.#startMs)
    this.#cluster = { id, formedAtMs, lonely: true, founding: true }
    this.events.push({ type: 'formed', clusterId: id, formedAtMs })
    for (const { address } of this.#sightings.values())
      this.hellos.push({ to: address, hello: this.#hello(address, false) })
    this.#sightings.clear()
    this.#helloAtMs = now
  }

  #adopt(cluster: ClusterIdentity, contact: Address): void {
    this.#cluster = cluster
    this.#sightings.clear()
    this.events.push({ type: 'adopted', clusterId: cluster.id, contact })
  }

  #hear(from: Address, header: Header, hello: Hello, now: number): void {
    const cluster: ClusterIdentity | null =
      header.clusterId === ''
        ? null
        : { id: header.clusterId, formedAtMs: hello.formedAtMs, lonely: false, founding: false }
    if (this.#cluster === null) {
      if (cluster !== null) return this.#adopt(cluster, hello.address)
      this.#see(from, header, hello, now)
    } else if (cluster !== null && cluster.id !== this.#cluster.id) this.#meet(cluster, hello, now)
    // Who is in no cluster either says hello by itself.
    if (hello.asks && this.#cluster !== null) this.#greet(from, false, now)
  }

  #see(from: Address, header: Header, hello: Hello, now: number): void {
    if (header.sender === this.#options.self) return this.#seeDouble(from, header, now)
    const known = this.#sightings.get(header.sender)
    if (known === undefined && this.#sightings.size >= SIGHTINGS_MAX) return
    let { echo } = hello
    if (known !== undefined && known.life === header.life) {
      // An older one was overtaken. What came to another address of ours has no echo.
      if (known.hello.seq > hello.seq) return
      echo = Math.max(echo, known.hello.echo)
    }
    this.#sightings.set(header.sender, {
      address: hello.address,
      life: header.life,
      hello: { ...hello, echo },
      heardMs: now,
    })
  }

  /** Our id from another process. What an earlier life of ours sent is not heard for a second: then it is a double. */
  #seeDouble(from: Address, header: Header, now: number): void {
    if (this.#double === null || this.#double.life !== header.life) this.#double = { life: header.life, sinceMs: now }
    else if (now - this.#double.sinceMs >= DOUBLE_MS) {
      this.#double.sinceMs = now
      this.events.push({ type: 'duplicate-id', address: from, refused: header.life < this.#options.life })
    }
  }

  /** Another cluster of our name. */
  #meet(other: ClusterIdentity, hello: Hello, now: number): void {
    const own = this.#cluster!
    if (this.#dissolving !== null) return
    const older = other.formedAtMs < own.formedAtMs || (other.formedAtMs === own.formedAtMs && other.id < own.id)
    if (this.#fresh() && (!hello.fresh || older)) {
      this.#dissolving = { into: other, contact: hello.address }
      this.events.push({ type: 'dissolve', clusterId: own.id, into: other.id, contact: hello.address })
      return
    }
    // It will come to us: it hears of us by the answer.
    if (hello.fresh && (!this.#fresh() || !older)) return
    const saidMs = this.#refusedMs.get(other.id)
    if (saidMs !== undefined && now - saidMs < REFUSED_EVENT_MS) return
    remember(this.#refusedMs, other.id, now)
    this.events.push({ type: 'refused-cluster', clusterId: other.id, address: hello.address })
  }

  #dissolved(done: boolean): void {
    const dissolving = this.#dissolving
    this.#dissolving = null
    if (dissolving === null) return
    if (done) this.#adopt(dissolving.into, dissolving.contact)
    else this.#userData = true
  }

  /** Says who we are, but not more often than twice a second to one address: two clusters do not shout at each other. */
  #greet(to: Address, asks: boolean, now: number): void {
    if (this.#dissolving !== null || now - (this.#answeredMs.get(to) ?? Number.NEGATIVE_INFINITY) < ANSWER_MS) return
    remember(this.#answeredMs, to, now)
    this.hellos.push({ to, hello: this.#hello(to, asks) })
  }

  #hello(to: Address, asks: boolean): Hello {
    let echo = 0
    const known: Address[] = []
    for (const { address, hello } of this.#sightings.values()) {
      if (address === to) echo = hello.seq
      else if (known.length < KNOWN_MAX) known.push(address)
    }
    const unformed = this.#cluster === null
    return {
      type: 'hello',
      address: this.#address,
      seq: this.#seq,
      echo,
      supports: unformed ? this.#candidate() : '',
      expect: unformed ? this.#options.expect : 0,
      sees: unformed ? this.#sightings.size + 1 : 0,
      digest: unformed ? this.#digest() : 0,
      formedAtMs: this.#cluster?.formedAtMs ?? 0,
      fresh: this.#fresh(),
      asks,
      known: unformed ? known : [],
    }
  }

  #fresh(): boolean {
    return this.#cluster?.lonely === true && !this.#userData
  }

  /** The lowest id of those that may found; empty where nobody may. */
  #candidate(): HostId | '' {
    let lowest: HostId | '' = this.#options.expect > 0 ? this.#options.self : ''
    for (const [id, { hello }] of this.#sightings) if (hello.expect > 0 && (lowest === '' || id < lowest)) lowest = id
    return lowest
  }

  #digest(): number {
    return digestOf([this.#options.self, ...this.#sightings.keys()])
  }

  #isSelf(address: Address): boolean {
    return address === this.#address || this.#selfAddresses.has(address)
  }

  #sayWaiting(now: number): void {
    const { expect } = this.#options
    const sees = this.#sightings.size + 1
    const reason = expect > 1 ? 'expecting' : this.#onlySeedIsSelf() ? 'listening' : 'seeds-silent'
    const said = this.#waitingSaid
    if (said !== null && said.reason === reason && said.sees === sees && now - said.atMs < WAITING_EVENT_MS) return
    this.#waitingSaid = { reason, sees, atMs: now }
    this.events.push({ type: 'waiting', reason, sees, expect })
  }
}

/** The same for the same hosts, in any order: FNV-1a over the sorted ids, 32 bits. */
export function digestOf(ids: readonly HostId[]): number {
  let hash = 0x811c9dc5
  for (const id of [...ids].sort()) {
    for (let at = 0; at <= id.length; at++) {
      hash ^= at < id.length ? id.charCodeAt(at) : 0
      hash = Math.imul(hash, 0x01000193) >>> 0
    }
  }
  return hash
}

function remember<K>(map: Map<K, number>, key: K, value: number): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > ANSWERED_MAX) map.delete(map.keys().next().value!)
}
