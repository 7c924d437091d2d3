import { Command, Option } from 'commander'
import { exampleFile, jsonSchema, printConfig } from '../config/index.ts'
import { check } from './check.ts'
import { collect, examples, integerFrom, withConfig } from './command-parts.ts'
import { status, stop } from './control.ts'
import { startDaemon } from './daemon.ts'
import { members } from './members.ts'
import { addOperating } from './operating.ts'
import { passwd } from './passwd.ts'
import { type ConfigFlags, loadFlags } from './settings.ts'
import { start } from './start.ts'
import { version } from './version.ts'

const EXIT_CODES = `
Exit codes:
  0  done
  1  failed: a taken port, an unwritable folder, a stop that took too long; check: damage was found
  2  wrong command line or configuration; nothing was done
  3  no node runs on the data folder that is asked
  4  status: the node runs and is not ready; members: it is in no cluster yet; ranges: one has no leader`

/** The command line. `finish` receives the exit code of the command that ran. */
export function createProgram(finish: (exitCode: number) => void): Command {
  const program = new Command('flockmq')
    .description('A clustered, multi-tenant MQTT broker (3.1, 3.1.1, 5.0).')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showHelpAfterError('(flockmq --help tells more)')
    .exitOverride()
    .addHelpText('after', `${EXIT_CODES}\n${examples('flockmq start', 'flockmq start --help')}`)
  addStart(program, finish)
  addControl(program, finish)
  addMembers(program, finish)
  addOperating(program, finish)
  addCheck(program, finish)
  addPasswd(program, finish)
  addConfig(program, finish)
  return program
}

function addStart(program: Command, finish: (exitCode: number) => void): void {
  withConfig(program.command('start'))
    .description('Run a node: in this terminal, or in the background with --daemon.')
    .addOption(
      new Option('--seed <host:port>', 'a node to ask at first; may be repeated, instead of cluster.seeds').argParser(
        collect,
      ),
    )
    .option('--daemon', 'run in the background; return when it is ready, and print its pid')
    .option('--accept-loss', 'start although the disk lost acknowledged writes')
    .addHelpText(
      'after',
      examples(
        'flockmq start',
        'flockmq start -c /etc/flockmq.yml --data /var/lib/flockmq',
        'flockmq start --set mqtt.listeners.tcp.port=1884 --set log.level=debug',
        'FLOCKMQ_API_PORT=9000 flockmq start --daemon',
        'flockmq start -c conf/cluster.yml --seed 10.0.0.1:7946 --seed 10.0.0.2:7946',
      ),
    )
    .action(async (flags: ConfigFlags & { daemon?: boolean }) => {
      finish(await (flags.daemon ? startDaemon(flags) : start(flags)))
    })
}

function addControl(program: Command, finish: (exitCode: number) => void): void {
  withConfig(program.command('stop'))
    .description('Stop the node that runs on a data folder, and wait until it is gone.')
    .option('--timeout <seconds>', 'how long to wait', integerFrom(1), 30)
    .addHelpText('after', examples('flockmq stop', 'flockmq stop --data /var/lib/flockmq --timeout 60'))
    .action(async (flags) => finish(await stop(flags)))
  withConfig(program.command('status'))
    .description('Tell whether the node on a data folder runs and is ready.')
    .option('--json', 'print JSON')
    .addHelpText('after', examples('flockmq status', 'flockmq status --data /var/lib/flockmq --json'))
    .action(async (flags) => finish(await status(flags)))
}

function addMembers(program: Command, finish: (exitCode: number) => void): void {
  withConfig(program.command('members'))
    .description('List the nodes of the cluster, as the node on a data folder sees them.')
    .option('--json', 'print JSON')
    .option('--watch', 'again every second, until Ctrl-C')
    .addHelpText('after', examples('flockmq members', 'flockmq members --data /var/lib/flockmq --json'))
    .action(async (flags) => finish(await members(flags)))
}

function addCheck(program: Command, finish: (exitCode: number) => void): void {
  program
    .command('check')
    .description('Read everything on the data folder of a node that does not run, and tell what is damaged.')
    .argument('<folder>', 'data folder')
    .option('--json', 'print JSON')
    .addHelpText('after', examples('flockmq check /var/lib/flockmq', 'flockmq check data --json'))
    .action(async (folder, flags) => finish(await check(folder, flags)))
}

function addPasswd(program: Command, finish: (exitCode: number) => void): void {
  program
    .command('passwd')
    .description("Add, change or delete a user in a file for plugins.auth: 'file'.")
    .argument('<file>', 'the file of users; made where it is missing')
    .argument('<user>', 'user name')
    .option('--tenant <tenant>', 'tenant of the user', 'default')
    .option('--delete', 'delete the user')
    .option('--stdin', 'read the password from standard input, up to the end of the line')
    .addHelpText(
      'after',
      examples(
        'flockmq passwd users.yml alice',
        'echo "$PASSWORD" | flockmq passwd users.yml alice --tenant acme --stdin',
      ),
    )
    .action(async (file, user, flags) => finish(await passwd({ ...flags, file, user })))
}

function addConfig(program: Command, finish: (exitCode: number) => void): void {
  const config = program.command('config').description('Look at the configuration.')
  withConfig(config.command('print'))
    .description('Print the configuration in force, every value with its source. Secrets are masked.')
    .option('--json', 'print JSON')
    .addHelpText('after', examples('flockmq config print -c my.yml', 'flockmq config print --json'))
    .action((flags: ConfigFlags & { json?: boolean }) => {
      process.stdout.write(printConfig(loadFlags(flags), flags.json ? 'json' : 'yaml'))
    })
  withConfig(config.command('check'))
    .description('Check the configuration and tell every mistake. Starts nothing.')
    .addHelpText('after', examples('flockmq config check -c my.yml'))
    .action((flags: ConfigFlags) => {
      loadFlags(flags)
      process.stdout.write('The configuration is valid.\n')
    })
  config
    .command('schema')
    .description('Print the JSON Schema of the configuration file.')
    .addHelpText('after', examples('flockmq config schema > flockmq.schema.json'))
    .action(() => void process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`))
  config
    .command('example')
    .description('Print a commented configuration file with every key.')
    .option('--cluster', 'for one of three nodes')
    .addHelpText('after', examples('flockmq config example > my.yml', 'flockmq config example --cluster > node.yml'))
    .action((flags) => void process.stdout.write(exampleFile(flags.cluster ? 'cluster' : 'standalone')))
  config.action(() => {
    config.outputHelp({ error: true })
    finish(2)
  })
}
