import { randomBytes } from 'node:crypto'
import { chmod, chown, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Document, isMap, isScalar, isSeq, parseDocument, type YAMLMap, type YAMLSeq } from 'yaml'
import { BrokerError } from '../../base/errors.ts'
import { DEFAULT_TENANT } from '../../base/ids.ts'
import { fingerprint } from './file-watch.ts'
import { splitUserName } from './identity.ts'
import { hashPassword, hashPasswordForMosquitto } from './password.ts'
import { isLineFormat, parseUsersFile, userKey } from './users-file.ts'

/** A user of a file, by name. An absent tenant is the default one. */
export interface UserName {
  tenant?: string
  user: string
}

/** How often an edit is tried again when somebody else changed the file meanwhile. */
const TRIES_MAX = 5
const NEW_FILE = '# Users of FlockMQ: change passwords with "flockmq passwd".\nusers: []\n'

/**
 * Sets a user's password, and adds the user where there is none; makes the file where there is none. Comments, order,
 * rules and the form of the file stay. Throws CONFIG_INVALID where the result, or the file before, is no valid file.
 */
export async function setPassword(file: string, user: UserName & { password: string }): Promise<'added' | 'changed'> {
  const tenant = user.tenant ?? DEFAULT_TENANT
  let existed = false
  await edit(file, async (text) => {
    existed = parseUsersFile(text, file).users.has(userKey(tenant, user.user))
    if (!isLineFormat(text)) return setInYaml(text, tenant, user.user, await hashPassword(user.password))
    return setInLines(text, tenant, user.user, await hashPasswordForMosquitto(user.password))
  })
  return existed ? 'changed' : 'added'
}

/** Removes a user; false where there is none. */
export async function deleteUser(file: string, user: UserName): Promise<boolean> {
  const tenant = user.tenant ?? DEFAULT_TENANT
  let existed = false
  await edit(file, (text) => {
    existed = parseUsersFile(text, file).users.has(userKey(tenant, user.user))
    if (!existed) return text
    return isLineFormat(text) ? setInLines(text, tenant, user.user, null) : deleteInYaml(text, tenant, user.user)
  })
  return existed
}

/** The users of a file, as they stand there. */
export async function listUsers(file: string): Promise<{ tenant: string; user: string; superuser: boolean }[]> {
  const { users } = parseUsersFile(await readFile(file, 'utf8'), file)
  return [...users.values()].map(({ tenant, name, superuser }) => ({ tenant, user: name, superuser }))
}

function setInYaml(text: string, tenant: string, name: string, hash: string): string {
  const document = parseDocument(text)
  const users = usersOf(document)
  const entry = users.items.find((item) => isUser(item, tenant, name)) as YAMLMap | undefined
  const old = entry?.get('password', true)
  // The rest of the file is not touched: writing it anew would keep its comments, but not its spaces.
  if (isScalar(old) && old.range) return `${text.slice(0, old.range[0])}"${hash}"${text.slice(old.range[1])}`
  if (entry) entry.set('password', hash)
  else
    users.add(
      document.createNode(tenant === DEFAULT_TENANT ? { name, password: hash } : { name, tenant, password: hash }),
    )
  // "users: []" is written in one line; with users in it that would be one very long line.
  if (users.items.length > 0) users.flow = false
  return document.toString({ lineWidth: 0 })
}

function deleteInYaml(text: string, tenant: string, name: string): string {
  const document = parseDocument(text)
  const users = usersOf(document)
  users.items = users.items.filter((item) => !isUser(item, tenant, name))
  return document.toString({ lineWidth: 0 })
}

function usersOf(document: Document): YAMLSeq {
  const users = document.get('users')
  if (isSeq(users)) return users
  throw new BrokerError('CONFIG_INVALID', 'Cannot change the users: "users:" is no list')
}

function isUser(item: unknown, tenant: string, name: string): boolean {
  if (!isMap(item)) return false
  return String(item.get('name')) === name && String(item.get('tenant') ?? DEFAULT_TENANT) === tenant
}

function setInLines(text: string, tenant: string, name: string, hash: string | null): string {
  const fits = (line: string): boolean => {
    const colon = line.indexOf(':')
    if (colon < 1 || line.startsWith('#')) return false
    const found = splitUserName(line.slice(0, colon))
    return found.tenant === tenant && found.user === name
  }
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/)
  const at = lines.findIndex(fits)
  const full = tenant === DEFAULT_TENANT && !name.includes('/') ? name : `${tenant}/${name}`
  if (hash === null) lines.splice(at, 1)
  else if (at >= 0) lines[at] = `${lines[at]!.slice(0, lines[at]!.indexOf(':'))}:${hash}`
  else lines.push(`${full}:${hash}`)
  return `${lines.join('\n')}\n`
}

/** Edits of one process to one file wait for each other. */
const editing = new Map<string, Promise<void>>()

async function edit(file: string, change: (text: string) => string | Promise<string>): Promise<void> {
  // A link stays a link.
  const target = await realpath(file).catch(() => file)
  const before = editing.get(target)
  const mine = (before ?? Promise.resolve()).catch(() => {}).then(() => editAlone(target, file, change))
  editing.set(target, mine)
  try {
    await mine
  } finally {
    if (editing.get(target) === mine) editing.delete(target)
  }
}

async function editAlone(
  target: string,
  shown: string,
  change: (text: string) => string | Promise<string>,
): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const before = await fingerprint(target)
    const text = before === 'missing' ? NEW_FILE : await readFile(target, 'utf8')
    const changed = await change(text)
    if (changed === text) return
    // What the broker could not read is never put in place of what it can.
    if (changed.trim() !== '') parseUsersFile(changed, shown)
    if (await replace(target, changed, before)) return
  }
  throw new BrokerError('CONFLICT', `Cannot change "${shown}": somebody else changes it all the time`)
}

/**
 * Puts a synced new file in the old one's place, so that a reader and a crash find one or the other, whole. False
 * where the old one is not the one that was read.
 */
async function replace(target: string, text: string, before: string): Promise<boolean> {
  const folder = dirname(target)
  const draft = join(folder, `.users-${randomBytes(6).toString('hex')}.tmp`)
  try {
    const old = before === 'missing' ? null : await stat(target)
    const handle = await open(draft, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    if (old) {
      await chmod(draft, old.mode & 0o7777)
      // Only root may give files away; for all others the owner is the same anyway, or cannot be kept.
      await chown(draft, old.uid, old.gid).catch(() => {})
    }
    if ((await fingerprint(target)) !== before) return false
    await rename(draft, target)
    await syncFolder(folder)
    return true
  } finally {
    await rm(draft, { force: true })
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
