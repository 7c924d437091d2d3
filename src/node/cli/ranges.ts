import { setTimeout as delay } from 'node:timers/promises'
import type { Done } from '../ranges/by-hand.ts'
import type { Explained } from '../ranges/gather.ts'
import type { AskedNode, RangeInfo, RangeList, ReplicaInfo } from '../ranges/views.ts'
import { askNode } from './ask.ts'
import { EXIT } from './exit.ts'
import { CLEAR_SCREEN, WATCH_MS } from './members.ts'
import type { ConfigFlags } from './settings.ts'
import { formatBytes, formatTable } from './table.ts'

/** Nodes are asked by the one that is asked, which waits for each of them. */
const ASK_MS_MAX = 10_000
const ACT_MS_MAX = 90_000
const FIGURES = new Set(['TERM', 'COMMIT', 'APPLIED', 'LAG', 'LOG', 'SIZE', 'WRITES/S', 'QUERIES/S'])
const HEADER = ['RANGE', 'NODE', 'KIND', 'ROLE', 'TERM', 'EPOCH', 'COMMIT', 'APPLIED', 'LAG', 'LOG']
const HEADER_END = ['SIZE', 'WRITES/S', 'QUERIES/S', 'NOTE']

/** Prints the ranges of the cluster with their replicas; again every second with `watch`. */
export async function ranges(
  flags: ConfigFlags & { service?: string; json?: boolean; watch?: boolean },
): Promise<number> {
  for (;;) {
    const list = await askAll(flags, flags.service ?? null)
    const clear = flags.watch && process.stdout.isTTY ? CLEAR_SCREEN : ''
    process.stdout.write(clear + (flags.json ? `${JSON.stringify(list, null, 2)}\n` : formatRanges(list)))
    if (!flags.watch) return list.ranges.every(({ leader }) => leader !== null) ? EXIT.ok : EXIT.notReady
    await delay(WATCH_MS)
  }
}

/** Prints one range in sentences. */
export async function explainRange(id: string, flags: ConfigFlags & { json?: boolean }): Promise<number> {
  const path = `/ranges/${encodeURIComponent(id)}`
  const explained = await askNode<Explained>(flags, { to: 'explain a range', path, msMax: ASK_MS_MAX })
  process.stdout.write(flags.json ? `${JSON.stringify(explained, null, 2)}\n` : formatExplained(explained))
  return explained.range.leader === null ? EXIT.notReady : EXIT.ok
}

/** Has a range split, handed over, moved or merged, and prints what has become of it. */
export async function actOnRange(
  id: string,
  act: 'split' | 'transfer' | 'move' | 'merge',
  body: object,
  flags: ConfigFlags & { json?: boolean },
): Promise<number> {
  const path = `/ranges/${encodeURIComponent(id)}/${act}`
  const done: Done = await askNode(flags, { to: `${act} a range`, path, method: 'POST', body, msMax: ACT_MS_MAX })
  process.stdout.write(flags.json ? `${JSON.stringify(done, null, 2)}\n` : `${done.message}\n`)
  return EXIT.ok
}

async function askAll(flags: ConfigFlags, service: string | null): Promise<Omit<RangeList, 'next'>> {
  const found: RangeInfo[] = []
  let nodes: AskedNode[] = []
  let after: string | null = ''
  while (after !== null) {
    const query = new URLSearchParams({ after, ...(service === null ? {} : { service }) })
    const request = { to: 'list the ranges', path: `/ranges?${query}`, msMax: ASK_MS_MAX }
    const page: RangeList = await askNode(flags, request)
    found.push(...page.ranges)
    nodes = page.nodes
    after = page.next
  }
  return { nodes, ranges: found.sort(byKeys) }
}

export function formatRanges({ nodes, ranges: found }: Omit<RangeList, 'next'>): string {
  const headless = found.filter(({ leader }) => leader === null).length
  const lacking = headless === 0 ? '' : `, ${headless} without a leader`
  const silent = silence(nodes)
  const title = `${found.length} ranges on ${nodes.length} nodes${lacking}, * leads\n`
  const rows = found.flatMap((range) => range.replicas.map((replica) => row(range, replica)))
  return `${title}${silent}${formatTable([[...HEADER, ...HEADER_END], ...rows], FIGURES)}`
}

function silence(nodes: readonly AskedNode[]): string {
  const lines = nodes.filter(({ error }) => error !== null)
  return lines.map(({ name, error }) => `node ${name} did not answer: ${error}\n`).join('')
}

/** What is the range's own stands in the row of its leader, or else in the first one. */
function row(range: RangeInfo, replica: ReplicaInfo): string[] {
  const { id, epoch, term, leader, joint, sizeBytes, writeLoad, queryLoad, replicas } = range
  const { node, kind, role, commit, applied, lag, logBytes, note } = replica
  const leads = leader?.id === replica.id
  const heads = leads || (leader === null && replica === replicas[0])
  const own = (value: number | null, format: (value: number) => string = String) =>
    heads && value !== null ? format(value) : '-'
  const known = (value: number | null, format: (value: number) => string = String) =>
    value === null ? '-' : format(value)
  return [
    ...[id, `${node}${leads ? '*' : ''}`, kind, role ?? '-', String(term), `${epoch.version}/${epoch.confVersion}`],
    ...[known(commit), known(applied), known(lag), known(logBytes, formatBytes)],
    ...[own(sizeBytes, formatBytes), own(writeLoad), own(queryLoad)],
    joint && heads ? `${note}, its replicas change` : note,
  ]
}

export function formatExplained({ range, nodes, sentences }: Explained): string {
  const { id, service, epoch, term, leader } = range
  const where = leader === null ? 'nobody leads' : `${leader.node} leads`
  const lines = [
    `range ${id} of ${service}: ${formatKeys(range)}`,
    `  term ${term}, epoch ${epoch.version}/${epoch.confVersion}, ${where}`,
    ...sentences.map((sentence) => `  ${sentence}`),
  ]
  return `${lines.join('\n')}\n${silence(nodes)}`
}

function formatKeys({ start, end }: RangeInfo): string {
  if (start === null && end === null) return 'all keys'
  if (start === null) return `keys before ${end}`
  return end === null ? `keys from ${start}` : `keys from ${start} to before ${end}`
}

/** By service, then in the order of their keys, in hexadecimal. */
function byKeys(a: RangeInfo, b: RangeInfo): number {
  return compare(a.service, b.service) || compare(a.start ?? '', b.start ?? '') || compare(a.id, b.id)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
