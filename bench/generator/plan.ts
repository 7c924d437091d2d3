/** Who publishes to what and who subscribes to what, for each scenario with steady traffic. */
import type { Spec } from '../spec.ts'

export interface Plan {
  /** Topics of each publisher; it goes round them. */
  publishers: string[][]
  /** Filters of each subscriber. */
  subscribers: string[][]
  /** `one`: a message reaches one known subscriber; `all`: every subscriber; `any`: one of a shared group. */
  reach: 'one' | 'all' | 'any'
}

/** @param run makes topics and client ids of this run its own on a broker that is used again */
export function planTraffic(spec: Spec, run: string): Plan {
  const { connections } = spec
  const topics = range(connections).map((i) => [`bench/${run}/${pad(i)}`])
  switch (spec.scenario) {
    case 'fan-out':
      return {
        publishers: [[`bench/${run}/all`]],
        subscribers: range(connections).map(() => [`bench/${run}/all`]),
        reach: 'all',
      }
    case 'fan-in':
      return { publishers: topics, subscribers: [[`bench/${run}/+`]], reach: 'one' }
    case 'shared':
      return {
        publishers: topics,
        subscribers: range(spec.group).map(() => [`$share/g${run}/bench/${run}/+`]),
        reach: 'any',
      }
    case 'wildcard':
      return wildcardPlan(spec, run)
    default:
      return { publishers: topics, subscribers: topics, reach: 'one' }
  }
}

/** Filters in four shapes, one of them with a leading +, so that a matcher visits two branches for every topic. */
function wildcardPlan(spec: Spec, run: string): Plan {
  const publishers: string[][] = range(spec.connections).map(() => [])
  const subscribers: string[][] = range(spec.connections).map(() => [])
  for (let i = 0; i < spec.filters; i++) {
    const { filter, topic } = wildcard(i, run)
    publishers[i % spec.connections]!.push(topic)
    subscribers[i % spec.connections]!.push(filter)
  }
  return { publishers, subscribers, reach: 'one' }
}

/** The i-th filter, and a topic that this filter alone matches. */
export function wildcard(i: number, run: string): { filter: string; topic: string } {
  const n = pad(i)
  switch (i % 4) {
    case 0:
      return { filter: `a${run}/${n}/+/state`, topic: `a${run}/${n}/room/state` }
    case 1:
      return { filter: `b${run}/${n}/#`, topic: `b${run}/${n}/room/temp` }
    case 2:
      return { filter: `+/c${run}/${n}/state`, topic: `site/c${run}/${n}/state` }
    default:
      return { filter: `d${run}/+/${n}/#`, topic: `d${run}/site/${n}/room/x` }
  }
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

function pad(i: number): string {
  return String(i).padStart(5, '0')
}
