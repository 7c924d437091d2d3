import type { Command } from 'commander'
import { balancers, rules, setRule, unsetRule } from './balancers.ts'
import { examples, withConfig } from './command-parts.ts'
import { explainRange, ranges } from './ranges.ts'

type Finish = (exitCode: number) => void

/** The commands of whoever runs a cluster. */
export function addOperating(program: Command, finish: Finish): void {
  addRanges(program, finish)
  addBalancers(program, finish)
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

function addBalancers(program: Command, finish: Finish): void {
  const command = withConfig(program.command('balancers'))
    .description('List the balancers of ranges, and what they would do now; switch them, and set their rules.')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      examples(
        'flockmq balancers',
        'flockmq balancers off load-split',
        'flockmq balancers set services.inbox.voters 5',
        'flockmq balancers set replaceDeadAfterMs 600000',
        'flockmq balancers rules --json',
      ),
    )
    .action(async (flags) => finish(await balancers(flags)))
  for (const [name, value] of [
    ['on', 'true'],
    ['off', 'false'],
  ] as const) {
    withConfig(command.command(name))
      .description(`Switch a balancer ${name}, in the whole cluster.`)
      .argument('<name>', 'balancer')
      .addHelpText('after', examples(`flockmq balancers ${name} leader-spread`))
      .action(async (balancer, _flags, own: Command) => {
        finish(await setRule(`enabled.${balancer}`, value, own.optsWithGlobals()))
      })
  }
  withConfig(command.command('set'))
    .description('Set a rule, in the whole cluster.')
    .argument('<rule>', 'name, as `flockmq balancers rules` shows it')
    .argument('<value>', 'its value')
    .addHelpText('after', examples('flockmq balancers set services.dist.splitBytes 268435456'))
    .action(async (rule, value, _flags, own: Command) => finish(await setRule(rule, value, own.optsWithGlobals())))
  withConfig(command.command('unset'))
    .description('Take a rule back to what the configuration says, or what is built in.')
    .argument('<rule>', 'name, as `flockmq balancers rules` shows it')
    .addHelpText('after', examples('flockmq balancers unset services.dist.splitBytes'))
    .action(async (rule, _flags, own: Command) => finish(await unsetRule(rule, own.optsWithGlobals())))
  withConfig(command.command('rules'))
    .description('List all rules in force, each with where it comes from.')
    .addHelpText('after', examples('flockmq balancers rules', 'flockmq balancers rules --json'))
    .action(async (_flags, own: Command) => finish(await rules(own.optsWithGlobals())))
}
