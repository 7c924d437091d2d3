import { type Command, InvalidArgumentError, Option } from 'commander'

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

/** Parses an integer that is at least `min`. */
export function integerFrom(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < min) throw new InvalidArgumentError(`It must be an integer from ${min}.`)
    return value
  }
}

export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`
}
