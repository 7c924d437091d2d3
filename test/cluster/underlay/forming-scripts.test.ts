import { join } from 'node:path'
import { describe } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { Forming } from '../../../src/cluster/underlay/core/forming.ts'
import type { Address, ClusterId } from '../../../src/cluster/underlay/core/index.ts'
import { goldenScripts } from '../../golden.ts'
import { place, placeOf } from './text.ts'

describe('forming', () => goldenScripts(join(import.meta.dirname, 'forming-scripts'), interpreter))

interface Host {
  name: string
  id: HostId
  life: number
  forming: Forming
}

/**
 * Hosts that say hello to each other: what is sent arrives at once, unless the way is cut.
 *
 * `host h1 seeds=h1,h2 expect=3` (`seeds=none`: none are configured; `cluster=c1 formed=5 lonely data`: from its disk; `id=h1
 * life=5`), `found h1 h2` (the names of its seeds are found), `at 3000` (ticks everybody), `cut h1 h2`, `heal`, `meet h1 h2` (a packet of h1's
 * cluster reaches h2), `data h1`, `company h1`, `dissolved h1`, `kept h1`, `state`
 */
function interpreter(): (command: string) => string[] {
  const hosts = new Map<string, Host>()
  const cuts = new Set<string>()
  let now = 0
  let lines: string[] = []

  /** Lets everything arrive that was said. */
  const flush = () => {
    for (let any = true; any; ) {
      any = false
      for (const host of hosts.values()) {
        for (const event of host.forming.events.splice(0)) {
          any = true
          lines.push(`${`${now}`.padStart(6)} ${host.name} ${show(event)}`)
        }
        const { hellos } = host.forming
        host.forming.hellos = []
        for (const { to, hello } of hellos) {
          any = true
          const target = hosts.get(place(to))
          if (target === undefined || cuts.has(`${host.name}>${target.name}`)) continue
          const from = placeOf(host.name)
          const clusterId = host.forming.cluster?.id ?? ''
          if (target === host) target.forming.step({ type: 'self', from }, now)
          else {
            const header = { clusterName: 'test', clusterId, sender: host.id, life: host.life } as const
            target.forming.step({ type: 'hello', from, header, hello }, now)
          }
        }
      }
    }
  }
  const add = (name: string, words: string[]) => {
    const option = (key: string) => words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1)
    const seeds = option('seeds') ?? 'none'
    const id = (option('id') ?? name) as HostId
    const life = Number(option('life') ?? 1_000 + hosts.size)
    const cluster = option('cluster')
    const formedAtMs = Number(option('formed') ?? 0)
    const forming = new Forming(
      {
        self: id,
        life,
        startedMs: 1_000_000 + now,
        address: placeOf(name),
        seeded: seeds !== 'none',
        expect: Number(option('expect') ?? 0),
        cluster:
          cluster === undefined
            ? null
            : { id: cluster as ClusterId, formedAtMs, lonely: words.includes('lonely'), founding: false },
        freshClusterId: () => `c-${name}` as ClusterId,
        userData: words.includes('data'),
      },
      now,
    )
    hosts.set(name, { name, id, life, forming })
    if (seeds === 'none' || seeds === 'unknown') return
    const addresses = seeds.split(',').map((seed): Address => placeOf(seed))
    forming.step({ type: 'seeds', addresses, complete: !words.includes('incomplete') }, now)
  }
  const until = (endMs: number) => {
    for (;;) {
      const next = Math.min(...[...hosts.values()].map((host) => host.forming.deadlineMs()))
      if (next > endMs) break
      now = Math.max(now, next)
      for (const host of hosts.values()) if (host.forming.deadlineMs() <= now) host.forming.step({ type: 'tick' }, now)
      flush()
    }
    now = endMs
  }
  return (command) => {
    lines = []
    const [name = '', first = '', ...words] = command.split(' ')
    const forming = hosts.get(first)?.forming
    if (name === 'host') add(first, words)
    else if (name === 'at') until(Number(first))
    else if (name === 'gone') hosts.delete(first)
    else if (name === 'cut') {
      cuts.add(`${first}>${words[0]}`)
      cuts.add(`${words[0]}>${first}`)
    } else if (name === 'heal') cuts.clear()
    else if (name === 'meet') hosts.get(words[0]!)!.forming.step({ type: 'heard', from: placeOf(first) }, now)
    else if (name === 'found') forming!.step({ type: 'seeds', addresses: words.map(placeOf), complete: true }, now)
    else if (name === 'data') forming!.step({ type: 'user-data', present: true }, now)
    else if (name === 'company') forming!.step({ type: 'company' }, now)
    else if (name === 'dissolved') forming!.step({ type: 'dissolved', done: true }, now)
    else if (name === 'kept') forming!.step({ type: 'dissolved', done: false }, now)
    else if (name === 'state') {
      lines.push(...[...hosts.values()].map((host) => `${host.name} ${host.forming.cluster?.id ?? 'none'}`))
    } else throw new Error(`No command: ${command}`)
    flush()
    return lines.length === 0 ? ['nothing'] : lines
  }
}

function show(event: Forming['events'][number]): string {
  switch (event.type) {
    case 'waiting':
      return `waits: ${event.reason}, sees ${event.sees} of ${event.expect}`
    case 'formed':
      return `forms ${event.clusterId}`
    case 'adopted':
      return `adopts ${event.clusterId} from ${place(event.contact)}`
    case 'dissolve':
      return `dissolves ${event.clusterId} into ${event.into}`
    case 'refused-cluster':
      return `refuses ${event.clusterId} of ${place(event.address)}`
    case 'duplicate-id':
      return `has a double at ${place(event.address)}${event.refused ? ' and is refused' : ''}`
  }
}
