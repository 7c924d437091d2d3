import type { Device, Subscription } from './device.ts'
import type { Faults } from './faults.ts'
import { GROUP, type Ledger, matches, type Publish } from './ledger.ts'
import type { Link } from './link.ts'
import { HOLDS } from './promises.ts'
import type { BrokerWorld } from './world.ts'

/** Without a barrier a route is everywhere so long after its SUBACK, while nothing is wrong. */
const SPREAD_MS = 2_000

/** The nine promises of MQTT over all clients, as far as a single packet does not show them. */
export class Checks {
  readonly #it: BrokerWorld
  readonly #ledger: Ledger
  readonly #faults: Faults
  readonly #devices: readonly Device[]

  constructor(it: BrokerWorld, ledger: Ledger, faults: Faults, devices: readonly Device[]) {
    this.#it = it
    this.#ledger = ledger
    this.#faults = faults
    this.#devices = devices
    it.onLateAct = (device, link, owner, packet) => this.#actsLate(device, link, owner, packet)
  }

  /** What somebody should have by now, and has not; null: nothing. */
  missing(): string | null {
    for (const device of this.#devices) {
      for (const subscription of device.subscriptions) {
        if (subscription.untilMs !== Number.POSITIVE_INFINITY || subscription.qos === 0) continue
        const lacks = this.#missingOf(device, subscription)
        if (lacks !== null) return lacks
      }
    }
    return this.#missingOfGroups() ?? this.#missingWill()
  }

  /** M1: what was accepted after the SUBACK is there. */
  #missingOf(device: Device, subscription: Subscription): string | null {
    if (subscription.filter.startsWith('$share')) return null
    for (const publish of this.#ledger.publishes) {
      if (publish.tenant !== device.tenant || publish.qos === 0 || publish.will) continue
      if (publish.outcome !== 'accepted' || !matches(subscription.filter, publish.topic)) continue
      if (!this.#mustReach(publish, subscription, device)) continue
      if (device.session.seen.has(publish.number)) continue
      return `M1: message ${publish.number} of ${publish.publisher} on ${publish.topic}, accepted at ${publish.answeredMs.toFixed(0)} by ${[...publish.nodes]}, is not at ${device.name}, subscribed since ${subscription.sinceMs.toFixed(0)}`
    }
    return null
  }

  #mustReach(
    { sentMs, answeredMs }: Publish,
    { sinceMs, filter }: Pick<Subscription, 'sinceMs' | 'filter'>,
    device: Device,
  ): boolean {
    if (sentMs <= sinceMs) return false
    // A live subscriber is promised what its node can be told: not across a node that died, or was given up.
    if (!device.persistent && this.#faults.troubled(sentMs - SPREAD_MS, answeredMs + SPREAD_MS)) return false
    if (HOLDS.subackEverywhere && !filter.startsWith('$share')) return true
    return sentMs > sinceMs + SPREAD_MS && !this.#faults.troubled(sinceMs, answeredMs)
  }

  /** M7: each message is at one member. */
  #missingOfGroups(): string | null {
    const members = this.#devices.filter(({ filters }) => filters.includes(GROUP))
    const stable = members.filter(({ persistent }) => persistent)
    if (stable.length === 0) return null
    const sinceMs = Math.min(
      ...stable.map(({ subscriptions }) => subscriptions.find(({ filter }) => filter === GROUP)!.sinceMs),
    )
    const { tenant } = stable[0]!
    for (const publish of this.#ledger.publishes) {
      if (publish.tenant !== tenant || publish.qos === 0 || publish.outcome !== 'accepted') continue
      if (!HOLDS.groupsOutliveMembers && this.#hadTransientMember(publish)) continue
      if (!matches('s/+', publish.topic) || !this.#mustReach(publish, { sinceMs, filter: GROUP }, stable[0]!)) continue
      const has = this.#devices.some(
        ({ id, tenant: of, sessions }) =>
          of === tenant && id.startsWith('g') && sessions.some(({ seen }) => seen.has(publish.number)),
      )
      if (!has) return `M7: no member of the group has message ${publish.number}, by ${[...publish.nodes]}`
    }
    return null
  }

  #hadTransientMember({ tenant, sentMs, answeredMs }: Publish): boolean {
    return this.#devices.some(({ tenant: of, persistent, subscriptions }) => {
      if (of !== tenant || persistent) return false
      return subscriptions.some(({ filter, sinceMs, untilMs }) => {
        return filter === GROUP && sinceMs - SPREAD_MS < answeredMs && untilMs + SPREAD_MS > sentMs
      })
    })
  }

  /** M6: a connection that ended without a goodbye is told of. */
  #missingWill(): string | null {
    for (const device of this.#devices) {
      for (const [link, { publish, delaySeconds }] of device.wills) {
        if (link.ownsSinceMs === null || link.state !== 'closed' || link.ended === 'disconnect' || delaySeconds > 0)
          continue
        if (!HOLDS.willOfDeadNode && link.machine.wipes > 0) continue
        const lacks = this.#watchers(publish).find(({ session }) => !session.seen.has(publish.number))
        if (lacks !== undefined) return `M6: will ${publish.number} of ${link.name} is not at ${lacks.name}`
      }
    }
    return null
  }

  /** Who was subscribed to the will's topic when its connection came, and still is. */
  #watchers({ topic, sentMs, tenant }: Publish): Device[] {
    return this.#devices.filter((device) => {
      if (device.tenant !== tenant || !device.persistent) return false
      return device.subscriptions.some(({ filter, qos, sinceMs, untilMs }) => {
        const stands = sinceMs < sentMs && untilMs === Number.POSITIVE_INFINITY && qos > 0
        return stands && matches(filter, topic)
      })
    })
  }

  /** What nobody may have, when nothing is missing any more. */
  tooMuch(): void {
    for (const device of this.#devices) {
      for (const [link, { publish }] of device.wills) {
        const seen = this.#watchers(publish).filter(({ session }) => session.seen.has(publish.number))
        if (seen.length === 0) continue
        this.#it.count('wills')
        const goodbye = link.ended === 'disconnect' && link.ownsSinceMs !== null
        if (goodbye && !this.#faults.troubled(link.connectedMs, link.endedMs + SPREAD_MS)) {
          device.fail(`M6: will ${publish.number} of ${link.name}, which said goodbye, was published`)
        }
        if (link.state === 'open')
          device.fail(`M6: will ${publish.number} of ${link.name}, which is there, was published`)
        const lacks = this.#watchers(publish).find((watcher) => !seen.includes(watcher))
        if (lacks !== undefined)
          device.fail(`M6: will ${publish.number} of ${link.name} is at ${seen[0]!.name}, not at ${lacks.name}`)
      }
    }
  }

  /** M5: a new subscriber finds something on each topic that has something; null = it has. */
  missingRetained(tenant: string, found: ReadonlyMap<string, Publish>): string | null {
    for (const { retain, tenant: of, outcome, topic, number } of this.#ledger.publishes) {
      if (!retain || of !== tenant || outcome !== 'accepted' || found.has(topic)) continue
      return `M5: message ${number}, retained on ${topic} of ${tenant}, is lost`
    }
    return null
  }

  /** M5: what it finds is the last that was accepted, or one that may be later. */
  retained(tenant: string, found: ReadonlyMap<string, Publish>): void {
    for (const accepted of this.#ledger.publishes) {
      if (!accepted.retain || accepted.tenant !== tenant || accepted.outcome !== 'accepted') continue
      const kept = found.get(accepted.topic)!
      const what = `message ${accepted.number}, retained on ${accepted.topic} of ${tenant}`
      if (!this.#ledger.skewed && kept !== accepted && accepted.sentMs > kept.answeredMs) {
        this.#ledger.fail(`M5: ${what}, gave way to ${kept.number}, which is older`)
      }
    }
  }

  /** M4: of two connections of a client the older one acts no more. */
  #actsLate(device: Device, link: Link, owner: Link | null, packet: string): void {
    const { nowMs } = this.#ledger
    const troubled = this.#faults.troubled((owner?.connectedMs ?? nowMs) - SPREAD_MS, nowMs)
    if (troubled && !HOLDS.oneOwnerWhenCut) return this.#it.count('late acts while nodes are cut off')
    if (owner === null) device.fail(`M6: ${link.name} sends ${packet} though its will was published`)
    device.fail(
      `M4: ${link.name} sends ${packet} though ${owner.name} has had the session since ${owner.ownsSinceMs!.toFixed(0)}`,
    )
  }
}
