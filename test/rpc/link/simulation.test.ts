import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { FRAME_HEADER_BYTES } from '../../../src/rpc/link/core/packet.ts'
import { seeds } from '../../sim/seeds.ts'
import { World } from '../../sim/world.ts'
import { Fabric, SimNode, SMALL } from './sim-links.ts'

interface Sent {
  way: string
  sequence: number
  fromLife: number
  state: 'sent' | 'delivered' | 'lost'
}

/** What was sent by whom, and what must hold whenever something arrives. */
class Ledger {
  readonly sent: Sent[] = []
  readonly #last = new Map<string, number>()

  body(way: string, fromLife: number, bytes: number): Buffer {
    const body = Buffer.alloc(bytes)
    body.writeUInt32BE(this.sent.length, 0)
    this.sent.push({ way, sequence: this.sent.length, fromLife, state: 'sent' })
    return body
  }

  /** `toLife` is the receiver's. */
  arrived(body: Buffer, way: string, toLife: number): void {
    const message = this.sent[body.readUInt32BE(0)]!
    // Plain comparisons: this runs for every message.
    if (message.way !== way) throw new Error(`Message ${message.sequence} of ${message.way} came as ${way}`)
    if (message.state === 'delivered') throw new Error(`Message ${message.sequence} came twice`)
    // One that the sender gave up on may have arrived before; it may not come after.
    message.state = 'delivered'
    const pair = `${way} ${message.fromLife} ${toLife}`
    const last = this.#last.get(pair) ?? -1
    if (message.sequence <= last) throw new Error(`Message ${message.sequence} came after ${last}`)
    this.#last.set(pair, message.sequence)
  }

  lost(body: Buffer): void {
    const message = this.sent[body.readUInt32BE(0)]!
    if (message.state === 'sent') message.state = 'lost'
  }

  missing(): Sent[] {
    return this.sent.filter((message) => message.state === 'sent')
  }
}

class Links {
  readonly world: World
  readonly fabric: Fabric
  readonly ledger = new Ledger()
  readonly names: HostId[]
  readonly #lives = new Map<HostId, number>()

  constructor(seed: number, nodes: number) {
    this.world = new World({ seed })
    this.fabric = new Fabric(this.world)
    this.names = Array.from({ length: nodes }, (_, i) => `n${i}` as HostId)
    for (const name of this.names) this.start(name)
  }

  start(name: HostId): SimNode {
    const life = (this.#lives.get(name) ?? 0) + 1
    this.#lives.set(name, life)
    const node: SimNode = new SimNode(
      this.fabric,
      name,
      life,
      (peer, _incarnation, body, from) => {
        const way = from === 'initiator' ? `${peer}>${name}` : `${name}<${peer}`
        this.ledger.arrived(body, way, life)
      },
      (frames) => {
        for (const frame of frames) this.ledger.lost(frame.packet.subarray(FRAME_HEADER_BYTES))
      },
    )
    this.fabric.nodes.set(name, node)
    return node
  }

  node(name: HostId): SimNode {
    return this.fabric.nodes.get(name)!
  }

  /** Sends something somewhere. */
  act(): void {
    const { random } = this.world
    const from = this.names[random.below(this.names.length)]!
    const to = this.names[random.below(this.names.length)]!
    const node = this.node(from)
    if (from === to || !node.alive) return
    const bytes = 4 + random.below(SMALL.frameBytesMax - 4)
    if (random.below(3) > 0) {
      if (node.link(to).bufferedBytes + bytes > SMALL.bufferBytesMax) return
      node.send(to, this.ledger.body(`${from}>${to}`, node.incarnation, bytes))
    } else {
      const session = node.sessions.get(to)
      if (session === undefined || session.bufferedBytes + bytes > SMALL.bufferBytesMax) return
      node.reply(to, this.ledger.body(`${to}<${from}`, node.incarnation, bytes))
    }
    if (node.link(to).bufferedBytes > SMALL.bufferBytesMax) throw new Error('The buffer is not bounded')
  }

  /** Whoever crashed takes what it had with it. */
  crash(name: HostId): void {
    const node = this.node(name)
    node.crash()
    for (const message of this.ledger.sent) {
      const sender = message.way.includes('>') ? message.way.split('>')[0] : message.way.split('<')[1]
      if (sender === name && message.state === 'sent') message.state = 'lost'
    }
  }

  /** Synchronous: nothing here waits for promises. */
  run(ms: number): void {
    let over = false
    this.world.clock.after(ms, () => {
      over = true
    })
    for (let steps = 0; !over; steps++) {
      this.world.step()
      if (steps > 100_000) throw new Error(`Time stands still at ${this.world.elapsedMs} ms`)
    }
  }

  runUntil(condition: () => boolean, msMax = 30_000): void {
    const endMs = this.world.elapsedMs + msMax
    while (!condition()) {
      if (this.world.elapsedMs > endMs) throw new Error(`The condition does not hold after ${msMax} simulated ms`)
      this.run(50)
    }
  }

  meters(): { framesResent: number; violations: number; sessionsLost: number; framesDuplicate: number } {
    const sum = { framesResent: 0, violations: 0, sessionsLost: 0, framesDuplicate: 0 }
    for (const { meters } of this.fabric.nodes.values()) {
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += meters[key]
    }
    return sum
  }
}

describe('links in a simulated network', () => {
  test.each(seeds(20))('connections break at any packet: nothing lost, doubled, reordered, seed=%i', (seed) => {
    const links = new Links(seed, 2 + (seed % 3))
    for (const name of links.names) links.node(name).slowPercent = seed % 4 === 0 ? 60 : 0
    for (let round = 0; round < 60; round++) {
      const actions = links.world.random.below(40)
      for (let i = 0; i < actions; i++) links.act()
      if (links.world.random.below(3) === 0) links.fabric.cutSome(40)
      links.run(links.world.random.below(150))
    }
    links.runUntil(() => links.ledger.missing().length === 0, 30_000)
    expect(links.ledger.sent.filter((message) => message.state === 'lost')).toEqual([])
    const meters = links.meters()
    expect(meters).toMatchObject({ violations: 0, sessionsLost: 0 })
    for (const name of links.names) {
      const peers = links.names.length - 1
      expect(links.node(name).heldBytesMax).toBeLessThanOrEqual(2 * peers * SMALL.windowBytes)
      links.runUntil(() =>
        links.names.every((peer) => peer === name || links.node(name).link(peer).bufferedBytes === 0),
      )
    }
  })

  test.each(seeds(20))('nodes restart: what is given up is reported, the rest holds, seed=%i', (seed) => {
    const links = new Links(seed, 3)
    for (let round = 0; round < 60; round++) {
      const actions = links.world.random.below(40)
      for (let i = 0; i < actions; i++) links.act()
      const event = links.world.random.below(6)
      const name = links.names[links.world.random.below(3)]!
      if (event === 0) links.fabric.cutSome(40)
      else if (event === 1 && links.node(name).alive) links.crash(name)
      else if (event <= 3) for (const each of links.names) if (!links.node(each).alive) links.start(each)
      links.run(links.world.random.below(150))
    }
    for (const each of links.names) if (!links.node(each).alive) links.start(each)
    // Each way is used once more, so that each link hears of the last restarts.
    for (const from of links.names) {
      for (const to of links.names) {
        const node = links.node(from)
        if (from === to) continue
        links.runUntil(() => node.link(to).bufferedBytes + 8 <= SMALL.bufferBytesMax, 30_000)
        node.send(to, links.ledger.body(`${from}>${to}`, node.incarnation, 8))
      }
    }
    links.runUntil(() => links.ledger.missing().length === 0, 30_000)
    expect(links.meters().violations).toBe(0)
  })
})

describe('the simulation sees', () => {
  test('frames that are sent again, and frames that come twice', () => {
    const links = new Links(7, 2)
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 20; i++) links.act()
      links.fabric.cutSome(30)
      links.run(links.world.random.below(60))
    }
    links.runUntil(() => links.ledger.missing().length === 0, 30_000)
    expect(links.meters().framesResent).toBeGreaterThan(10)
  })
})
