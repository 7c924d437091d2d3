import type { Command } from 'commander'
import { examples, withConfig } from './command-parts.ts'
import { explainRange, ranges } from './ranges.ts'

type Finish = (exitCode: number) => void

/** The commands of whoever runs a cluster. */
export function addOperating(program: Command, finish: Finish): void {
  addRanges(program, finish)
}

function addRanges(program: Command, finish: Finish): void {
  const command = withConfig(program.command('ranges'))
    .description('List the ranges of the cluster with their replicas, as all nodes tell them.')
    .option('--service <name>', 'of one service alone: cluster, dist, inbox, retain')
    .option('--json', 'print JSON')
    .option('--watch', 'again every second, until Ctrl-C')
    .addHelpText(
      'after',
      examples(
        'flockmq ranges',
        'flockmq ranges --service inbox --watch',
        'flockmq ranges --data /var/lib/flockmq --json',
        'flockmq ranges explain dist-1',
      ),
    )
    .action(async (flags) => finish(await ranges(flags)))
  withConfig(command.command('explain'))
    .description('Tell of one range who leads, who lags and why, and what the balancers want next.')
    .argument('<id>', 'range')
    .addHelpText('after', examples('flockmq ranges explain inbox-1', 'flockmq ranges explain dist-1 --json'))
    .option('--json', 'print JSON')
    .action(async (id, _flags, own: Command) => finish(await explainRange(id, own.optsWithGlobals())))
}
