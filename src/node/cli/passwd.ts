import { chmodSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { CommandError, EXIT } from './exit.ts'
import { promptHidden, readLineFromStdin } from './prompt.ts'

export interface PasswdFlags {
  file: string
  user: string
  tenant: string
  delete?: boolean
  stdin?: boolean
}

/** Adds, changes or deletes one line `tenant/user:hash` of a password file; all other lines stay as they are. */
export async function passwd(flags: PasswdFlags): Promise<number> {
  checkName('tenant', flags.tenant)
  checkName('user name', flags.user)
  const name = `${flags.tenant}/${flags.user}`
  const lines = readLines(flags.file)
  const index = lines.findIndex((line) => line.startsWith(`${name}:`))
  if (flags.delete) {
    if (index < 0) throw new CommandError(EXIT.failed, `There is no user "${name}" in "${flags.file}"`)
    lines.splice(index, 1)
  } else {
    const password = await readPassword(flags.stdin === true)
    const { hashPassword } = await import('../../plugin/auth/password.ts')
    const line = `${name}:${await hashPassword(password)}`
    if (index < 0) lines.push(line)
    else lines[index] = line
  }
  replaceFile(flags.file, lines)
  process.stdout.write(`${flags.delete ? 'deleted' : index < 0 ? 'added' : 'changed'} ${name}\n`)
  return EXIT.ok
}

function checkName(what: string, name: string): void {
  if (/^[^\p{Cc}:/#+\s][^\p{Cc}:/#+]{0,127}$/u.test(name)) return
  throw new CommandError(
    EXIT.usage,
    `The ${what} ${JSON.stringify(name)} is not allowed: 1 to 128 characters without : / # + and control characters`,
  )
}

async function readPassword(fromStdin: boolean): Promise<string> {
  const password = fromStdin ? await readLineFromStdin() : await promptHidden('Password: ')
  if (password === '') throw new CommandError(EXIT.usage, 'An empty password is not allowed: nothing was changed')
  if (!fromStdin && (await promptHidden('Again: ')) !== password) {
    throw new CommandError(EXIT.usage, 'The passwords differ: nothing was changed')
  }
  return password
}

function readLines(file: string): string[] {
  try {
    const text = readFileSync(file, 'utf8')
    return text === '' ? [] : text.replace(/\n$/, '').split('\n')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fileError(file, error)
  }
}

/** Written beside and renamed: a broker that reloads the file never sees half of it. */
function replaceFile(file: string, lines: readonly string[]): void {
  try {
    writeFileSync(`${file}.new`, lines.map((line) => `${line}\n`).join(''), { mode: 0o600 })
    chmodSync(`${file}.new`, modeOf(file))
    renameSync(`${file}.new`, file)
  } catch (error) {
    throw fileError(file, error)
  }
}

function modeOf(file: string): number {
  try {
    return statSync(file).mode & 0o777
  } catch {
    return 0o600
  }
}

function fileError(file: string, error: unknown): CommandError {
  return new CommandError(EXIT.failed, `Cannot change the password file "${file}": ${(error as Error).message}`, {
    cause: error,
  })
}
