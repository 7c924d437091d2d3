import { setTimeout as delay } from 'node:timers/promises'
import type { RebalanceInfo, RebalanceNode } from '../rebalance/rebalance.ts'
import { askNode } from './ask.ts'
import { EXIT } from './exit.ts'
import type { ConfigFlags } from './settings.ts'
import { formatTable } from './table.ts'

type Flags = ConfigFlags & { dryRun?: boolean; cancel?: boolean; spread?: number; rate?: number; json?: boolean }

const LOOK_MS = 1_000
const TO = 'even out connections'

/** Sends clients of nodes with too many connections to the others, and waits until that is done. */
export async function rebalance(flags: Flags): Promise<number> {
  const { spread: spreadPercent, rate: perSecond } = flags
  const given = Object.entries({ spreadPercent, perSecond }).filter(([, value]) => value !== undefined)
  if (flags.cancel) return tell(flags, await askNode(flags, { to: TO, path: '/rebalance', method: 'DELETE' }))
  if (flags.dryRun) {
    const query = given.map(([name, value]) => `${name}=${value}`).join('&')
    return tell(flags, await askNode(flags, { to: TO, path: `/rebalance?${query}` }))
  }
  const body = Object.fromEntries(given)
  const begun = await askNode<RebalanceInfo>(flags, { to: TO, path: '/rebalance', method: 'POST', body })
  tell(flags, begun)
  for (let info = begun; info.nodes.some(({ moving }) => moving.left > 0); ) {
    await delay(LOOK_MS)
    info = await askNode<RebalanceInfo>(flags, { to: TO, path: '/rebalance' })
    process.stdout.write(flags.json ? `${JSON.stringify(info)}\n` : `${progress(info)}\n`)
  }
  return EXIT.ok
}

function tell(flags: Flags, info: RebalanceInfo): number {
  process.stdout.write(flags.json ? `${JSON.stringify(info)}\n` : formatRebalance(info))
  return EXIT.ok
}

export function formatRebalance({ nodes, spreadPercent, perSecond }: RebalanceInfo): string {
  const header = ['NODE', 'CONNECTIONS', 'TOO MANY', 'MOVING', 'NOTE']
  const rows = nodes.map(({ name, connections, excess, moving, error }) => [
    ...[name, connections === null ? '-' : String(connections), excess === 0 ? '-' : String(excess)],
    ...[moving.left === 0 ? '-' : String(moving.left), error ?? ''],
  ])
  const most = nodes.some(({ excess }) => excess > 0)
  const title = most
    ? `Nodes more than ${spreadPercent} % above the mean give away what is above it, at most ${perSecond} a second each.`
    : `No node is more than ${spreadPercent} % above the mean.`
  return `${formatTable([header, ...rows], new Set(header.slice(1, 4)))}\n${title}\n`
}

function progress({ nodes }: RebalanceInfo): string {
  const moved = (node: RebalanceNode) => node.moving.moved + node.moving.left > 0
  const parts = nodes.filter(moved).map(({ name, connections, moving }) => {
    return `${name} has sent ${moving.moved} elsewhere, ${moving.left} to go, ${connections ?? '-'} connections`
  })
  return parts.join('; ')
}
