import { type Command, Option } from 'commander'

/** The options by which every command learns the configuration. */
export function withConfig(command: Command): Command {
  return command
    .addOption(new Option('-c, --config <file>', 'configuration file (also FLOCKMQ_CONFIG)'))
    .addOption(new Option('--set <key=value>', 'set one key; may be repeated').argParser(collect))
    .option('--data <folder>', 'data folder, the same as --set node.data=FOLDER')
}

export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value]
}

export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`
}
