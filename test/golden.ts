import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/**
 * Golden scripts: stories of a machine in plain text. A block is one or more command lines, `----`, and what the
 * machine answered; `#` begins a comment that tells the story. Run with UPDATE=1 to write the answers anew, then read
 * the difference: the file is the specification.
 *
 * @param interpreter makes the interpreter of one file: it takes a command line and returns the answer's lines
 */
export function goldenScripts(folder: string, interpreter: () => (command: string) => string[]): void {
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.txt'))) {
    test(`script ${name}`, () => {
      const path = join(folder, name)
      const text = readFileSync(path, 'utf8')
      const replayed = replay(text, interpreter())
      if (process.env.UPDATE === '1') writeFileSync(path, replayed)
      else expect(replayed).toBe(text)
    })
  }
}

function replay(text: string, run: (command: string) => string[]): string {
  const out: string[] = []
  let answers: string[] = []
  let skipping = false
  for (const line of text.split('\n')) {
    if (line === '----') {
      out.push(line, ...answers)
      answers = []
      skipping = true
    } else if (line === '') {
      out.push(line)
      skipping = false
    } else if (!skipping) {
      out.push(line)
      if (!line.startsWith('#')) answers.push(...run(line))
    }
  }
  return out.join('\n')
}

/** `name key=value flag` as a name and its options; values of digits are numbers. */
export function parseCommand(line: string): { name: string; options: Record<string, string | number | true> } {
  const [name = '', ...words] = line.split(' ')
  const options: Record<string, string | number | true> = {}
  for (const word of words) {
    const at = word.indexOf('=')
    if (at < 0) options[word] = true
    else options[word.slice(0, at)] = /^\d+$/.test(word.slice(at + 1)) ? Number(word.slice(at + 1)) : word.slice(at + 1)
  }
  return { name, options }
}
