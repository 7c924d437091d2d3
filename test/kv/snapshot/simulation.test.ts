import { expect, test } from 'vitest'
import { SimulatedEngine } from '../../../src/kv/engine/memory/simulated.ts'
import {
  decodeSnapshotMessage,
  emptyRange,
  encodeSnapshotMessage,
  type FamilyWrite,
  findMarker,
  SnapshotReceiver,
  type SnapshotSender,
  TokenBucket,
} from '../../../src/kv/snapshot/index.ts'
import { seeds } from '../../sim/seeds.ts'
import { World } from '../../sim/world.ts'
import { bytes, checksum, DESCRIPTOR, dump, LIMITS, offerOf, put, records, senderOf } from './fixture.ts'

const KEYS = 'bcdefgx'
/** It reached further down, and less far up. */
const OLD = { start: bytes('aa'), end: bytes('e') }
/** What the raft part of the host writes along. */
const EMPTIED = put('raft', 'r1\0s', 'emptied')
const PLACED = put('raft', 'r1\0s', 'placed')
const FOREIGN = [
  put('inbox', 'a9', 'foreign'),
  put('inbox', 'y', 'foreign'),
  put('meta', 'inbox\0r10\0d', 'foreign'),
  put('meta', 'dist\0r1\0d', 'foreign'),
  put('raft', 'r2\0s', 'foreign'),
]

/** One store sends a range to another, which dies again and again, over a way that loses, damages and breaks. */
class Move {
  readonly world: World
  readonly source: SimulatedEngine
  target: SimulatedEngine
  sender: SnapshotSender | null = null
  receiver: SnapshotReceiver | null = null
  attempts = 0
  crashes = 0
  readonly #bucket: TokenBucket
  /** Messages and batches of an attempt that is over mean nothing. */
  #epoch = 0
  #broken = false

  constructor(seed: number) {
    this.world = new World({ seed })
    const { clock, random } = this.world
    this.source = new SimulatedEngine({ clock, random, writeMsMax: 2 })
    this.target = new SimulatedEngine({ clock, random, writeMsMax: 5 })
    this.#bucket = new TokenBucket(100_000, 500, 0)
  }

  async fill(): Promise<void> {
    const { random } = this.world
    const value = () => 'v'.repeat(random.below(random.below(10) === 0 ? 600 : 40))
    const data = (count: number): FamilyWrite[] =>
      Array.from({ length: count }, (_, at) => put('inbox', `${KEYS[random.below(KEYS.length)]}${at}`, value()))
    const write = (engine: SimulatedEngine, writes: FamilyWrite[]) =>
      this.world.resolve(engine.write({ writes, sync: true }))
    const before = [put('inbox', 'a', 'below'), put('inbox', 'z', 'above'), put('meta', 'inbox\0r2\0d', 'x')]
    await write(this.source, [...records(), ...data(random.below(60)), ...before])
    const old =
      random.below(3) > 0
        ? [...records({ ...DESCRIPTOR, ...OLD }, 20), put('inbox', 'c99', 'old'), put('inbox', 'ab', 'old')]
        : []
    await write(this.target, [...FOREIGN, put('raft', 'r1\0s', 'old'), ...old])
  }

  start(): void {
    this.attempts++
    this.#epoch++
    const nowMs = this.world.elapsedMs
    const offer = offerOf(this.attempts)
    this.sender = senderOf(this.source, offer, this.#bucket, nowMs)
    const boundaries = [OLD]
    const writes = { firstWrites: [EMPTIED], lastWrites: [PLACED] }
    this.receiver = new SnapshotReceiver({ offer, boundaries, ...writes, limits: LIMITS, checksum, nowMs })
    this.#broken = false
    // What comes after the cursors were opened is not part of it.
    void this.source.write({ writes: [put('inbox', `d-late-${this.attempts}`, 'late')], sync: true })
    this.pump()
  }

  /** Moves whatever can move, and comes again. */
  pump(): void {
    const { sender, receiver, target } = this
    const nowMs = this.world.elapsedMs
    const epoch = this.#epoch
    for (let message = sender!.next(nowMs); message !== null; message = sender!.next(nowMs)) {
      if (message.type !== 'offer') this.#carry(encodeSnapshotMessage(message), 'target')
    }
    const batch = receiver!.next(nowMs)
    if (batch !== null) {
      void target.write(batch).then(() => {
        if (epoch !== this.#epoch) return
        receiver!.landed(this.world.elapsedMs)
        this.pump()
      })
    }
    for (let answer = receiver!.answer(); answer !== null; answer = receiver!.answer()) {
      this.#carry(encodeSnapshotMessage(answer), 'source')
    }
    if (this.over) return
    this.world.clock.after(Math.min(sender!.waitMs(nowMs) || 1, 100), () => {
      if (epoch === this.#epoch && !this.over) this.pump()
    })
  }

  get over(): boolean {
    return this.sender!.outcome !== null && this.receiver!.outcome !== null && this.receiver!.idle
  }

  /** Kills the receiver's process. What it leaves is the old state, the new one, or a marker. */
  async crash(before: Map<string, string>, after: Map<string, string>): Promise<void> {
    this.crashes++
    this.#epoch++
    this.sender!.cancel('the connection is gone')
    this.target = this.target.crash({ survivors: this.world.random.below(this.target.undurable + 1) })
    await this.recover(before, after)
  }

  async recover(before: Map<string, string>, after: Map<string, string>): Promise<void> {
    const marker = findMarker(this.target, 'inbox', 'r1')
    if (marker === null) {
      expect([sorted(before), sorted(after)]).toContainEqual(sorted(dump(this.target)))
      return
    }
    expect(marker.snapshot).toEqual({ index: 57, term: 3 })
    await this.world.resolve(this.target.write({ writes: emptyRange(DESCRIPTOR, marker), sync: true }))
    const left = dump(this.target)
    expect(left.get('raft r1\0s')).toBe('emptied')
    expect([...left.keys()].filter((key) => !/foreign/.test(left.get(key)!))).toEqual([
      'raft r1\0s',
      'meta inbox\0r1\0i',
    ])
    expect(left.size).toBe(FOREIGN.length + 2)
  }

  /** Later, lost with all that follows, or damaged. */
  #carry(frame: Uint8Array, to: 'source' | 'target'): void {
    const { random, clock } = this.world
    const epoch = this.#epoch
    const copy = new Uint8Array(frame)
    if (random.below(150) === 0) this.#broken = true
    if (random.below(100) === 0) copy[random.below(copy.length)]! ^= 1 << random.below(8)
    if (this.#broken) return
    clock.after(3, () => {
      if (epoch !== this.#epoch) return
      this.#arrive(copy, to)
      this.pump()
    })
  }

  #arrive(frame: Uint8Array, to: 'source' | 'target'): void {
    const nowMs = this.world.elapsedMs
    try {
      const message = decodeSnapshotMessage(frame)
      if (message.type === 'cancel') (to === 'source' ? this.sender! : this.receiver!).receive(message, nowMs)
      else if (to === 'target' && (message.type === 'chunk' || message.type === 'end')) {
        this.receiver!.receive(message, nowMs)
      } else if (to === 'source' && (message.type === 'credit' || message.type === 'done')) {
        this.sender!.receive(message, nowMs)
      }
    } catch {
      this.sender!.cancel('the connection carries nonsense')
      this.receiver!.cancel('the connection carries nonsense')
    }
  }
}

/** The range as the source shows it now, among what is not its own. */
function expected(move: Move): Map<string, string> {
  const own = [...dump(move.source)].filter(([key]) => /^(inbox [b-x]|meta inbox\0r1\0)/.test(key))
  const foreign = [...dump(move.target)].filter(([, value]) => value === 'foreign')
  return new Map([...own, ...foreign, ['raft r1\0s', 'placed']])
}

function sorted(map: Map<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}

test.each(seeds(60))('the range is the old one, the new one, or marked, seed %i', async (seed) => {
  const move = new Move(seed)
  const { world } = move
  await move.fill()
  let before = dump(move.target)
  for (let installed = false; !installed; ) {
    expect(move.attempts).toBeLessThan(60)
    const after = expected(move)
    move.start()
    const crashMs = world.random.below(3) === 0 || move.attempts > 20 ? 60_000 : world.random.below(120)
    let dead = false
    world.clock.after(crashMs, () => {
      dead = true
    })
    await world.runUntil(() => dead || move.over, 70_000)
    if (dead && !move.over) await move.crash(before, after)
    else if (move.receiver!.outcome === 'installed') {
      expect(sorted(dump(move.target))).toEqual(sorted(after))
      installed = true
    } else await move.recover(before, after)
    if (findMarker(move.target, 'inbox', 'r1') === null) {
      before = dump(move.target)
      installed ||= JSON.stringify(sorted(before)) === JSON.stringify(sorted(after))
    }
  }
})
