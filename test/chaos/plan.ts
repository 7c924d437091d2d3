import { type Random, seededRandom } from '../../src/base/clock.ts'

/** What may be done to nodes: where the network is this machine's loopback, it cannot be cut. */
export interface Powers {
  /** Links may be cut. */
  cuts: boolean
  /** Links may be slow and lossy. */
  slows: boolean
}

/** One direction of a link: what `from` sends to `to`. */
export interface Way {
  from: number
  to: number
}

/**
 * `kill`: kill -9, and again on its folder. `restart`: SIGTERM, the same. `stop`: SIGSTOP, then SIGCONT. `cut`: what goes
 * these ways is lost, without a word. `slow`: it is late, and some of it lost.
 */
export type Deed =
  | { kind: 'kill' | 'restart' | 'stop'; nodes: number[] }
  | { kind: 'cut'; ways: Way[] }
  | { kind: 'slow'; ways: Way[]; delayMs: number; lossPercent: number }

export interface Fault {
  /** From the beginning of the round. */
  atMs: number
  /** Until it is made good. */
  forMs: number
  deed: Deed
}

/** Sorted by `atMs`. */
export type Round = Fault[]

/** So long goes on what must be over before everything is made good. */
const LONGEST_MS = 14_000

/** What goes wrong in a round. The same seed and round always give the same. */
export function planRound(seed: number, round: number, { nodes, ms, powers }: RoundOptions): Round {
  const random = seededRandom(Math.imul(seed, 7_919) + round)
  const faults: Round = []
  for (let atMs = 500 + random.below(2_000); atMs < ms; atMs += 500 + skewed(random, 9_000)) {
    faults.push({ atMs, forMs: 200 + skewed(random, LONGEST_MS), deed: draw(random, nodes, powers) })
  }
  return faults
}

export interface RoundOptions {
  nodes: number
  /** Of the time in which faults begin. */
  ms: number
  powers: Powers
}

function draw(random: Random, nodes: number, { cuts, slows }: Powers): Deed {
  const kinds: Deed['kind'][] = ['kill', 'kill', 'stop', 'restart']
  if (cuts) kinds.push('cut', 'cut', 'cut')
  if (slows) kinds.push('slow', 'slow')
  const kind = kinds[random.below(kinds.length)]!
  switch (kind) {
    case 'cut':
      return { kind, ways: drawCut(random, nodes) }
    case 'slow':
      return { kind, ways: drawCut(random, nodes), delayMs: skewed(random, 400), lossPercent: skewed(random, 30) }
    default:
      return { kind, nodes: drawNodes(random, nodes, kind === 'kill' ? 12 : 1_000) }
  }
}

/** One node, and once in a while all of them. */
function drawNodes(random: Random, nodes: number, allOnceIn: number): number[] {
  const all = Array.from({ length: nodes }, (_, i) => i)
  return random.below(allOnceIn) === 0 ? all : [random.below(nodes)]
}

/** A node from all others, or one link; both ways, or one. */
function drawCut(random: Random, nodes: number): Way[] {
  const one = random.below(nodes)
  const others = Array.from({ length: nodes }, (_, i) => i).filter((i) => i !== one)
  const to = random.below(2) === 0 ? others : [others[random.below(others.length)]!]
  const out = to.map((other) => ({ from: one, to: other }))
  const back = to.map((other) => ({ from: other, to: one }))
  return [[...out, ...back], out, back][[0, 0, 1, 2][random.below(4)]!]!
}

/** An integer from 0 to `max`, mostly a small one. */
function skewed(random: Random, max: number): number {
  return Math.floor(random.float() ** 2 * (max + 1))
}

export function describeFault({ atMs, forMs, deed }: Fault): string {
  const when = `${(atMs / 1_000).toFixed(1)} s, for ${(forMs / 1_000).toFixed(1)} s:`
  if (deed.kind === 'cut' || deed.kind === 'slow') {
    const ways = deed.ways.map(({ from, to }) => `n${from + 1}>n${to + 1}`).join(' ')
    const how = deed.kind === 'slow' ? ` by ${deed.delayMs} ms, loss ${deed.lossPercent} %` : ''
    return `${when} ${deed.kind} ${ways}${how}`
  }
  return `${when} ${deed.kind} ${deed.nodes.map((node) => `n${node + 1}`).join(' ')}`
}
