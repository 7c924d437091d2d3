import type { UserName } from '../../plugin/auth/users-edit.ts'
import { CommandError, EXIT } from './exit.ts'
import { promptHidden, readLineFromStdin } from './prompt.ts'

export interface PasswdFlags {
  file: string
  user: string
  tenant: string
  delete?: boolean
  stdin?: boolean
}

/** Adds, changes or deletes one user of a file for `plugins.auth: file`. */
export async function passwd(flags: PasswdFlags): Promise<number> {
  const name: UserName = { tenant: flags.tenant, user: flags.user }
  const shown = `${flags.tenant}/${flags.user}`
  const { isTenantName, deleteUser, setPassword } = await import('../../plugin/index.ts')
  if (!isTenantName(flags.tenant)) {
    throw new CommandError(
      EXIT.usage,
      `The tenant "${flags.tenant}" is not allowed: 1 to 64 letters, digits and _ . : @ -`,
    )
  }
  if (flags.delete) {
    const found = await changing(flags.file, deleteUser(flags.file, name))
    if (!found) throw new CommandError(EXIT.failed, `There is no user "${shown}" in "${flags.file}"`)
    process.stdout.write(`deleted ${shown}\n`)
    return EXIT.ok
  }
  const password = await readPassword(flags.stdin === true)
  const done = await changing(flags.file, setPassword(flags.file, { ...name, password }))
  process.stdout.write(`${done} ${shown}\n`)
  return EXIT.ok
}

async function readPassword(fromStdin: boolean): Promise<string> {
  const password = fromStdin ? await readLineFromStdin() : await promptHidden('Password: ')
  if (password === '') throw new CommandError(EXIT.usage, 'An empty password is not allowed: nothing was changed')
  if (!fromStdin && (await promptHidden('Again: ')) !== password) {
    throw new CommandError(EXIT.usage, 'The passwords differ: nothing was changed')
  }
  return password
}

/** One line for what the file system refused. */
async function changing<Result>(file: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error
    throw new CommandError(EXIT.failed, `Cannot change "${file}": ${(error as Error).message}`, { cause: error })
  }
}
