import type { ChaosReport } from './run.ts'

/** Of each kind. */
const DETAILS_MAX = 20

/** The report as Markdown. */
export function markdown(report: ChaosReport): string {
  const { options, rounds, faults, counts, findings, errors, rssMibMax, noNetwork } = report
  const { seed, nodes, rate, without, ms } = options
  const minutes = Math.round(ms / 6_000) / 10
  return [
    '# Chaos',
    '',
    `Seed ${seed}, ${nodes} nodes, ${minutes} minutes, ${rate} publishes a second. **${verdict(report)}**`,
    ...(without.length > 0 ? [`Not checked: ${without.join(', ')}.`] : []),
    ...(noNetwork === null ? [] : [`The network was left alone: ${noNetwork}.`]),
    '',
    row('', 'count'),
    row('---', '---:'),
    row('rounds', rounds.length),
    ...Object.entries(faults).map(([kind, count]) => row(`faults: ${kind}`, count)),
    ...Object.entries(counts).map(([name, count]) => row(name, count)),
    row('highest RSS, MiB', rssMibMax.map(Math.round).join(' / ')),
    '',
    '## Findings',
    '',
    ...(findings.length === 0 ? ['None.'] : []),
    ...[...new Set(findings.map(({ kind }) => kind))].flatMap((kind) => {
      const all = findings.filter((finding) => finding.kind === kind)
      const shown = all.slice(0, DETAILS_MAX).map(({ session, detail }) => `- ${session}: ${detail}`)
      return [`### ${kind}: ${all.length}`, '', ...shown, '']
    }),
    '## Rounds',
    '',
    row('round', 'at', 'faults', 'acknowledged', 'whole after, ms', 'drained after, ms', 'RSS, MiB', 'findings'),
    row('---:', '---:', '---:', '---:', '---:', '---:', '---', '---:'),
    ...rounds.map((round) =>
      row(
        ...[round.round, `${Math.round(round.atMs / 1_000)} s`, round.faults.length, round.acknowledged],
        ...[round.healMs === null ? 'never' : Math.round(round.healMs), Math.round(round.drainMs)],
        round.rssMib.map((mib) => (mib === null ? '-' : Math.round(mib))).join(' / '),
        round.findings.length,
      ),
    ),
    '',
    ...rounds.flatMap(({ round, faults: done }) => [`Round ${round}:`, '', ...done.map((fault) => `- ${fault}`), '']),
    ...(errors.length === 0
      ? []
      : ['## What nodes called an error', '', ...errors.slice(0, 100).map((line) => `- ${line}`), '']),
  ].join('\n')
}

export function verdict({ findings, rounds }: ChaosReport): string {
  return findings.length === 0 ? `Clean after ${rounds.length} rounds.` : `${findings.length} findings.`
}

function row(...cells: (string | number)[]): string {
  return `| ${cells.join(' | ')} |`
}
