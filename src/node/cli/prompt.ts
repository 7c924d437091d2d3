import { CommandError, EXIT } from './exit.ts'

const CHARACTERS_MAX = 1024

/** Asks on the terminal, without showing what is typed. */
export async function promptHidden(question: string): Promise<string> {
  const input = process.stdin
  if (!input.isTTY) throw new CommandError(EXIT.usage, 'There is no terminal to ask for a password: use --stdin')
  // First of all: what is typed as soon as the question is there must not show.
  input.setRawMode(true)
  process.stderr.write(question)
  input.setEncoding('utf8')
  try {
    return await readUntilEnter(input)
  } finally {
    input.setRawMode(false)
    input.pause()
    process.stderr.write('\n')
  }
}

async function readUntilEnter(input: NodeJS.ReadStream): Promise<string> {
  return await new Promise((resolve, reject) => {
    let text = ''
    const onData = (chunk: string) => {
      for (const character of chunk) {
        if (character === '\r' || character === '\n') return finish(() => resolve(text))
        if (character === '\u0003' || character === '\u0004') {
          return finish(() => reject(new CommandError(EXIT.failed, 'Interrupted: nothing was changed')))
        }
        if (character === '\u007f' || character === '\b') text = [...text].slice(0, -1).join('')
        else if (character >= ' ' && text.length < CHARACTERS_MAX) text += character
      }
    }
    const finish = (settle: () => void) => {
      input.off('data', onData)
      settle()
    }
    input.on('data', onData)
    // A stream that was paused before, by the first of two questions, does not begin again by itself.
    input.resume()
  })
}

/** The first line of standard input, without its end. */
export async function readLineFromStdin(): Promise<string> {
  let text = ''
  process.stdin.setEncoding('utf8')
  for await (const chunk of process.stdin) {
    text += chunk
    if (text.includes('\n') || text.length > CHARACTERS_MAX) break
  }
  return text.split('\n', 1)[0]!.replace(/\r$/, '')
}
