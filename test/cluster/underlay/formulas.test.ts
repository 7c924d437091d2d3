import { describe, expect, test } from 'vitest'
import {
  lagPenalty,
  pushPullIntervalMs,
  remainingSuspicionMs,
  retransmitLimit,
  reunionBoundMs,
  spreadMs,
  suspicionRange,
} from '../../../src/cluster/underlay/core/formulas.ts'
import { isAddress, lifeOf, overrides } from '../../../src/cluster/underlay/core/host.ts'
import { LAN } from '../../../src/cluster/underlay/core/index.ts'
import { LocalHealth } from '../../../src/cluster/underlay/core/local-health.ts'
import { checkSwimOptions } from '../../../src/cluster/underlay/core/options.ts'

describe('formulas', () => {
  test.each([
    [1, 3_000, 3_000, 0],
    [2, 3_000, 3_000, 0],
    [3, 3_000, 18_000, 1],
    [10, 3_000, 18_000, 1],
    [100, 6_000, 36_000, 1],
  ])('%i hosts: a suspect has %i to %i ms, by %i confirmations', (hosts, minMs, maxMs, confirmations) => {
    expect(suspicionRange(hosts, LAN)).toEqual({ minMs, maxMs, confirmations })
  })

  test('with a multiplier of 5, three confirmations shorten it step by step', () => {
    const range = suspicionRange(20, { ...LAN, suspicionMultiplier: 5 })
    expect(range.confirmations).toBe(3)
    const timeouts = [0, 1, 2, 3, 4].map((count) => Math.round(remainingSuspicionMs(count, 0, range)))
    // min = 5 * log10(20) s, max = 6 min; the log of 1, 2, 3, 4 over the log of 4.
    expect(timeouts).toEqual([39_031, 22_768, 13_255, 6_505, 6_505])
    expect(remainingSuspicionMs(3, 7_000, range)).toBeCloseTo(-494.85, 1)
  })

  test.each([
    [1, 4],
    [9, 4],
    [10, 8],
    [99, 8],
    [100, 12],
    [256, 12],
  ])('%i hosts: a rumour is told %i times', (hosts, limit) => {
    expect(retransmitLimit(hosts, LAN.retransmitMultiplier)).toBe(limit)
  })

  test.each([
    [2, 30_000],
    [32, 30_000],
    [33, 60_000],
    [64, 60_000],
    [65, 90_000],
    [256, 120_000],
  ])('%i hosts: a full exchange every %i ms', (hosts, ms) => {
    expect(pushPullIntervalMs(hosts, LAN)).toBe(ms)
  })

  test.each([
    [-5, 0],
    [499, 0],
    [500, 1],
    [3_000, 6],
    [60_000, 7],
  ])('%i ms of lag worsen the health by %i', (lagMs, penalty) => {
    expect(lagPenalty(lagMs, LAN)).toBe(penalty)
  })

  test('health stays within its limits', () => {
    const health = new LocalHealth(8)
    health.add(-1)
    expect(health.multiplier).toBe(1)
    health.add(100)
    expect([health.score, health.multiplier]).toEqual([7, 8])
  })

  test.each([
    [5, 0, 1_400, 41_400],
    [64, 0, 1_800, 71_800],
    [64, 30, 2_600, 172_600],
  ])('%i hosts, %i percent lost: news spread in %i ms, hosts meet again in %i ms', (hosts, loss, spread, bound) => {
    expect(spreadMs(hosts, loss, LAN)).toBe(spread)
    expect(reunionBoundMs(hosts, loss, LAN)).toBe(bound)
  })

  test('options that contradict each other are refused', () => {
    expect(() => checkSwimOptions(LAN)).not.toThrow()
    const wrong = { probeTimeoutMs: 1_000, packetBytesMax: 500, hostsMax: 0, suspicionMultiplier: 0 }
    for (const [key, value] of Object.entries(wrong)) {
      expect(() => checkSwimOptions({ ...LAN, [key]: value }), key).toThrow()
    }
  })
})

describe('what overrides what', () => {
  const order = ['alive', 'suspect', 'dead', 'left'] as const

  test('the higher incarnation, and at one incarnation the worse state', () => {
    for (const [i, a] of order.entries()) {
      for (const [j, b] of order.entries()) {
        expect(overrides({ incarnation: 1, state: a }, { incarnation: 1, state: b })).toBe(i > j)
        expect(overrides({ incarnation: 2, state: a }, { incarnation: 1, state: b })).toBe(true)
        expect(overrides({ incarnation: 1, state: a }, { incarnation: 2, state: b })).toBe(false)
      }
    }
  })
})

describe('names', () => {
  test.each([
    ['10.0.0.1:7946', true],
    ['[fd00::1]:7946', true],
    ['[::ffff:10.0.0.1]:1', true],
    ['[::]:65535', true],
    ['example.org:7946', false],
    ['10.0.0.256:7946', false],
    ['10.0.0.1', false],
    ['10.0.0.1:0', false],
    ['10.0.0.1:65536', false],
    ['fd00::1:7946', false],
    ['[fd00]:1', false],
    [' 10.0.0.1:7946', false],
  ])('address %s: %s', (text, valid) => {
    expect(isAddress(text)).toBe(valid)
  })

  test('a later life has a greater number, exact in a double', () => {
    const now = 1_790_000_000_000
    expect(lifeOf(now + 1, 0)).toBeGreaterThan(lifeOf(now, 4_095))
    expect(lifeOf(now, 1) - lifeOf(now, 0)).toBe(1)
    expect(lifeOf(Number.MAX_SAFE_INTEGER, 4_095)).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER)
  })
})
