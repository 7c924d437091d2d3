import { type Command, Option } from 'commander'
import { balancers, rules, setRule, unsetRule } from './balancers.ts'
import { collect, examples, integerFrom, withConfig } from './command-parts.ts'
import { decommission } from './decommission.ts'
import { actOnRange, explainRange, ranges } from './ranges.ts'
import { rebalance } from './rebalance.ts'
import { recover } from './recover.ts'

type Finish = (exitCode: number) => void

/** The commands of whoever runs a cluster. */
export function addOperating(program: Command, finish: Finish): void {
  addRanges(program, finish)
  addBalancers(program, finish)
  addDecommission(program, finish)
  addRebalance(program, finish)
  addRecover(program, finish)
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
  addActs(command, finish)
}

function addActs(command: Command, finish: Finish): void {
  const add = (name: 'split' | 'transfer' | 'move' | 'merge', description: string, ...shown: string[]) =>
    withConfig(command.command(name))
      .description(description)
      .argument('<id>', 'range')
      .addHelpText('after', examples(...shown.map((line) => `flockmq ranges ${name} ${line}`)))
      .action(async (id, _flags, own: Command) => {
        const { at, middle, from, to, ...flags } = own.optsWithGlobals()
        finish(await actOnRange(id, name, { at: middle ? 'middle' : at, from, to }, flags))
      })
  add('split', 'Cut a range in two.', 'inbox-1 --middle', 'dist-1 --at 61636d6500')
    .addOption(new Option('--at <key>', 'first key of the new range, in hexadecimal').conflicts('middle'))
    .option('--middle', 'where about half of the bytes lie before')
  add('transfer', 'Hand the lead of a range to another of its voters.', 'dist-1 --to n2').requiredOption(
    '--to <node>',
    'name or id of the node',
  )
  add(
    'move',
    'Move a replica of a range to another node. Balancers may move others in turn.',
    'dist-1 --from n1 --to n4',
  )
    .requiredOption('--from <node>', 'name or id of the node that gives it up')
    .requiredOption('--to <node>', 'name or id of the node that gets it')
  add('merge', 'Merge a range with its right neighbour, which must be on the same nodes.', 'inbox-1')
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

function addRebalance(program: Command, finish: Finish): void {
  withConfig(program.command('rebalance'))
    .description('Send clients of nodes with too many connections to the others, and wait until that is done.')
    .option('--dry-run', 'only tell how many each node has, and would send elsewhere')
    .option(
      '--spread <percent>',
      'how far above the mean a node must be; default mqtt.rebalance.spreadPercent',
      integerFrom(0),
    )
    .option(
      '--rate <count>',
      'connections a second that each such node ends; default mqtt.rebalance.perSecond',
      integerFrom(1),
    )
    .option('--cancel', 'no node sends clients elsewhere any more')
    .option('--json', 'print JSON, a line each second')
    .addHelpText(
      'after',
      examples('flockmq rebalance --dry-run', 'flockmq rebalance --spread 10 --rate 200', 'flockmq rebalance --cancel'),
    )
    .action(async (flags) => finish(await rebalance(flags)))
}

function addRecover(program: Command, finish: Finish): void {
  program
    .command('recover')
    .description(
      'LAST RESORT, on a stopped node: serve ranges from this one replica, where their majority is lost for ever.',
    )
    .argument('<folder>', 'data folder')
    .addOption(new Option('--range <id>', 'a range; may be repeated').argParser(collect))
    .option('--all', 'all ranges of which the folder holds a replica')
    .option('--yes', 'do it; without, it only tells what it would do')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      examples(
        'flockmq recover /var/lib/flockmq --all',
        'flockmq recover /var/lib/flockmq --range inbox-1 --range dist-1 --yes',
      ),
    )
    .action(async (folder, flags) => finish(await recover(folder, flags)))
}

function addDecommission(program: Command, finish: Finish): void {
  withConfig(program.command('decommission'))
    .description('Free a node of all its replicas, wait, and end it for ever. What it asks is a node of the cluster.')
    .argument('<node>', 'name or id of the node')
    .option('--cancel', 'take it back, while the node is not gone yet')
    .option('--yes', 'although ranges will have fewer replicas')
    .option('--json', 'print JSON, a line whenever something changed')
    .addHelpText(
      'after',
      examples('flockmq decommission n3', 'flockmq decommission n3 --yes --json', 'flockmq decommission n3 --cancel'),
    )
    .action(async (node, flags) => finish(await decommission(node, flags)))
}
