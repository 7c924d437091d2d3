import { setTimeout as delay } from 'node:timers/promises'
import type { Member, MemberList } from '../cluster/roster.ts'
import { askNode } from './ask.ts'
import { EXIT } from './exit.ts'
import type { ConfigFlags } from './settings.ts'
import { formatTable } from './table.ts'

export const WATCH_MS = 1_000
const ID_LETTERS = 8
export const CLEAR_SCREEN = '\x1b[H\x1b[2J'

/** Prints the nodes of the cluster, as the node on the data folder sees them; again every second with `watch`. */
export async function members(flags: ConfigFlags & { json?: boolean; watch?: boolean }): Promise<number> {
  for (;;) {
    const list = await askNode<MemberList>(flags, { to: 'list its members', path: '/members' })
    const clear = flags.watch && process.stdout.isTTY ? CLEAR_SCREEN : ''
    process.stdout.write(clear + (flags.json ? `${JSON.stringify(list, null, 2)}\n` : formatMembers(list, Date.now())))
    if (!flags.watch) return list.cluster.id === null ? EXIT.notReady : EXIT.ok
    await delay(WATCH_MS)
  }
}

/** @param nowMs wall clock, ms since 1970 */
export function formatMembers({ cluster, members }: MemberList, nowMs: number): string {
  const rows = members.map((member) => row(member, nowMs))
  const header = ['NAME', 'ID', 'STATE', 'SINCE', 'ADDRESS', 'RPC', 'VERSION', 'ZONE', 'ROLES', 'INCARNATION']
  const alive = members.filter(({ state }) => state === 'alive').length
  const id = cluster.id === null ? 'not formed yet, as far as this node knows' : cluster.id
  const title = `cluster ${cluster.name} (${id}): ${members.length} known, ${alive} alive, * is the node that was asked`
  return `${title}\n${formatTable([header, ...rows])}`
}

function row(member: Member, nowMs: number): string[] {
  const { name, id, state, since, address, rpc, version, zone, roles, incarnation, self } = member
  const age = formatAge(nowMs - Date.parse(since))
  return [
    ...[`${name}${self ? '*' : ''}`, id.slice(0, ID_LETTERS), state, age, address, rpc ?? '-'],
    ...[version, zone ?? '-', roles.join(','), String(incarnation)],
  ]
}

/** The largest two units: `3d4h`, `2m10s`, `7s`. */
function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  if (first === -1) return '0s'
  return parts
    .slice(first, first + 2)
    .map(([count, unit]) => `${count}${unit}`)
    .join('')
}
