import { Buffer } from 'node:buffer'
import { expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import { LINK_OPTIONS } from '../../../src/rpc/link/core/index.ts'
import { LinkedPeers } from '../../../src/rpc/peers/peers.ts'
import { seeds } from '../../sim/seeds.ts'
import { Wires } from '../../sim/wires.ts'
import { type SimulatedProcess, World } from '../../sim/world.ts'
import { secretOf } from '../link/sim-links.ts'
import { messages, requests, streams } from '../rig.ts'

const channels = { messages: messages(), requests: requests(), streams: streams() }
const FAST = {
  ...LINK_OPTIONS.deliveries,
  keepaliveMs: 500,
  silenceMsMax: 1_500,
  handshakeMsMax: 1_000,
  backoffMsMin: 10,
  backoffMsMax: 200,
}

/** One life of one node in the simulated world. */
class Life {
  readonly peers: LinkedPeers
  readonly id: HostId
  readonly incarnation: number
  /** Requests that the handler saw, by their text. */
  readonly handled: Map<string, number>
  readonly #end: () => void

  constructor(
    world: World,
    wires: Wires,
    process: SimulatedProcess,
    incarnation: number,
    handled: Map<string, number>,
  ) {
    this.id = process.name as HostId
    this.incarnation = incarnation
    this.handled = handled
    const clock = process.clock()
    this.peers = new LinkedPeers({
      cluster: 'sim',
      node: this.id,
      incarnation,
      authenticator: secretOf(world, 'secret'),
      transport: wires.transport(this.id),
      clock,
      random: world.random,
      log: silentLogger,
      defer: process.defer(),
      links: { raft: FAST, deliveries: FAST, bulk: FAST },
      pendingMax: 1_000,
      streamsMax: 16,
      strangersMax: 64,
      sessionsMax: 64,
    })
    this.#end = wires.listen(this.id, (wire) => this.peers.accept(wire))
    this.peers.handleRequests(channels.requests, (request, call) => {
      const text = Buffer.from(request).toString()
      handled.set(text, (handled.get(text) ?? 0) + 1)
      clock.after(world.random.below(20), () => call.answer(request))
    })
    this.peers.handleStreams(channels.streams, (request, sink) => {
      const total = Buffer.from(request).readUInt32BE(0)
      let next = 0
      const go = () => {
        while (next < total && sink.ready) {
          const chunk = Buffer.alloc(500)
          chunk.writeUInt32BE(next++)
          sink.write(chunk)
        }
        if (next === total) sink.end()
      }
      sink.onReady = go
      go()
    })
  }

  end(): void {
    this.#end()
  }
}

/** No promises: one event after the other. */
function runUntil(world: World, condition: () => boolean, msMax: number): void {
  const endMs = world.elapsedMs + msMax
  while (!condition()) {
    if (world.elapsedMs > endMs || !world.step()) throw new Error(`It does not come true within ${msMax} ms`)
  }
}

test.each(seeds(25))('calls and streams over links that break, to nodes that restart, seed=%i', (seed) => {
  const world = new World({ seed })
  const wires = new Wires(world)
  const names = ['n1', 'n2', 'n3']
  const processes = new Map(names.map((name) => [name, world.process(name)]))
  const handled = new Map<string, number>()
  const lives = new Map<string, Life>()
  const begin = (name: string) => {
    const incarnation = (lives.get(name)?.incarnation ?? 0) + 1
    const life = new Life(world, wires, processes.get(name)!, incarnation, handled)
    for (const other of names) life.peers.join({ node: other as HostId, address: other })
    lives.set(name, life)
  }
  for (const name of names) begin(name)
  const restarts = seed % 2 === 0
  /** Calls and streams under way, with who waits for them. */
  const open = new Map<object, { from: Life; to: string }>()
  let asked = 0
  let failed = 0
  const problems: string[] = []
  const ask = (from: Life, to: string) => {
    const text = `${from.id} ${from.incarnation} ${asked++}`
    const token = {}
    let calls = 0
    open.set(token, { from, to })
    const deadlineMs = 20_000
    from.peers.request(to as HostId, channels.requests, Buffer.from(text), { deadlineMs }, (error, answer) => {
      if (++calls > 1) problems.push(`"${text}" was answered twice`)
      open.delete(token)
      if (error !== null) {
        failed++
        if (!restarts) problems.push(`"${text}" failed: ${error.code}`)
      } else if (Buffer.from(answer!).toString() !== text) problems.push(`"${text}" got another answer`)
    })
  }
  const stream = (from: Life, to: string) => {
    const request = Buffer.alloc(4)
    const total = world.random.below(60)
    request.writeUInt32BE(total)
    let next = 0
    const token = {}
    let ended = 0
    open.set(token, { from, to })
    const call = from.peers.open(
      to as HostId,
      channels.streams,
      request,
      { creditBytes: 2_000, idleMs: 20_000 },
      {
        chunk(chunk, bytes) {
          if (Buffer.from(chunk).readUInt32BE(0) !== next++) problems.push('A chunk came out of order')
          call.grant(bytes)
        },
        ended(error) {
          if (++ended > 1) problems.push('A stream ended twice')
          open.delete(token)
          if (error === null && next !== total) problems.push(`A stream ended after ${next} of ${total}`)
          if (error !== null && !restarts) problems.push(`A stream failed: ${error.code}`)
        },
      },
    )
  }
  for (let round = 0; round < 40; round++) {
    for (let i = world.random.below(10); i > 0; i--) {
      const name = names[world.random.below(3)]!
      const to = names[world.random.below(3)]!
      const act = i % 3 === 0 ? stream : ask
      act(lives.get(name)!, to)
    }
    if (world.random.below(3) === 0) wires.cutSome(50)
    if (round % 10 === 3) wires.partition([names[world.random.below(3)]!], names)
    if (round % 10 === 6) wires.heal()
    if (restarts && world.random.below(8) === 0) {
      const name = names[world.random.below(3)]!
      const life = lives.get(name)!
      life.end()
      life.peers.close()
      for (const [token, { from, to }] of open) {
        // Closing ends what waits for others; the rest goes with the process.
        if (from === life && to !== name) problems.push('A call was left open by close')
        if (from === life) open.delete(token)
      }
      processes.get(name)!.crash()
      processes.get(name)!.restart()
      begin(name)
    }
    let over = false
    world.clock.after(world.random.below(100), () => {
      over = true
    })
    runUntil(world, () => over, 1_000)
  }
  wires.heal()
  runUntil(world, () => open.size === 0, 60_000)
  expect(problems).toEqual([])
  expect([...handled.values()].every((times) => times === 1)).toBe(true)
  expect(asked).toBeGreaterThan(failed)
})
