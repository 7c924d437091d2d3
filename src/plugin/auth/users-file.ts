import { type Document, isMap, LineCounter, parseDocument } from 'yaml'
import { BrokerError } from '../../base/errors.ts'
import { DEFAULT_TENANT } from '../../base/ids.ts'
import type { Acl, AclRule } from './acl.ts'
import { TopicTemplate } from './acl-template.ts'
import { isTenantName, splitUserName } from './identity.ts'
import { parseStoredPassword, type StoredPassword } from './password.ts'

/** What a file of users says, checked. */
export interface UsersFile {
  /** By {@link userKey}. */
  users: Map<string, FileUser>
  /** Whether clients without a user name are let in, as user '' of the default tenant. */
  anonymous: boolean
  /** Null = who is let in may do everything in its own tenant. */
  acl: Acl | null
}

export interface FileUser {
  tenant: string
  name: string
  /** Null = only a certificate can prove this user. */
  password: StoredPassword | null
  /** May do everything in its own tenant, whatever the rules say. */
  superuser: boolean
}

/** No tenant name holds U+0000. */
export function userKey(tenant: string, name: string): string {
  return `${tenant}\0${name}`
}

/**
 * Reads a file of users: YAML (see `conf/users.example.yml`), or the `user:hash` lines of mosquitto_passwd.
 * Throws CONFIG_INVALID with the file, the line and what is expected: a file is taken whole or not at all.
 */
export function parseUsersFile(text: string, file: string): UsersFile {
  if (isLineFormat(text)) return parseLines(text, file)
  const reader = new Reader(text, file)
  const { users, anonymous, acl } = reader.fields([], ['users', 'anonymous', 'acl'])
  if (users === undefined) throw reader.error([], 'misses "users:", a list, which may be empty ([])')
  return {
    users: readUsers(reader),
    anonymous: anonymous === undefined ? false : reader.choice(['anonymous'], ['deny', 'allow']) === 'allow',
    acl: acl === undefined ? null : readAcl(reader),
  }
}

/** Reads a file that holds only the section `acl:`. */
export function parseAclFile(text: string, file: string): Acl {
  const reader = new Reader(text, file)
  if (reader.fields([], ['acl']).acl === undefined) throw reader.error([], 'misses "acl:"')
  return readAcl(reader)
}

/** True for the `user:hash` lines of mosquitto_passwd: the first line that says something has a hash after the colon. */
export function isLineFormat(text: string): boolean {
  const first = /^(?!#)\S.*$/m.exec(text)
  return first !== null && /^[^:]+:\$/.test(first[0])
}

function parseLines(text: string, file: string): UsersFile {
  const users = new Map<string, FileUser>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const fail = (problem: string) => invalid(file, index + 1, problem)
    if (colon < 1) throw fail('expected "user:hash" or "tenant/user:hash"')
    const { tenant, user } = splitUserName(line.slice(0, colon))
    addUser(users, { tenant, name: user, hash: line.slice(colon + 1).trim(), superuser: false }, fail)
  }
  return { users, anonymous: false, acl: null }
}

function readUsers(reader: Reader): Map<string, FileUser> {
  const users = new Map<string, FileUser>()
  for (let i = 0; i < reader.list(['users']).length; i++) {
    const path = ['users', i]
    const given = reader.fields(path, ['name', 'tenant', 'password', 'superuser'])
    const tenant = given.tenant === undefined ? DEFAULT_TENANT : reader.text([...path, 'tenant'])
    const hash = given.password === undefined ? null : reader.text([...path, 'password'])
    const superuser = given.superuser === undefined ? false : reader.flag([...path, 'superuser'])
    addUser(users, { tenant, name: reader.text([...path, 'name']), hash, superuser }, (problem) =>
      reader.error(path, problem),
    )
  }
  return users
}

function addUser(
  users: Map<string, FileUser>,
  user: { tenant: string; name: string; hash: string | null; superuser: boolean },
  fail: (problem: string) => BrokerError,
): void {
  const { tenant, name, hash, superuser } = user
  if (!isTenantName(tenant)) {
    throw fail(`${quote(tenant)} is no tenant name: expected up to 64 letters, digits and _ . : @ -`)
  }
  if (name === '' || /\p{Cc}/u.test(name)) throw fail(`${quote(name)} is no user name`)
  const key = userKey(tenant, name)
  if (users.has(key)) throw fail(`user ${quote(name)} of tenant ${quote(tenant)} is there twice`)
  const password = hash === null ? null : parseStoredPassword(hash)
  if (hash !== null && password === null) {
    // The text is not shown: it may be a password that was written in the clear.
    throw fail(`the password of user ${quote(name)} is no hash that can be read; make one with "flockmq passwd"`)
  }
  users.set(key, { tenant, name, password, superuser })
}

function readAcl(reader: Reader): Acl {
  const given = reader.fields(['acl'], ['default', 'rules'])
  const byDefault = given.default === undefined ? 'deny' : reader.choice(['acl', 'default'], ['allow', 'deny'])
  const rules: AclRule[] = []
  if (given.rules !== undefined) {
    for (let i = 0; i < reader.list(['acl', 'rules']).length; i++) rules.push(readRule(reader, ['acl', 'rules', i]))
  }
  return { byDefault, rules }
}

function readRule(reader: Reader, path: Path): AclRule {
  const given = reader.fields(path, ['allow', 'deny', 'user', 'tenant', 'client', 'topics'])
  const effect = given.allow !== undefined ? 'allow' : 'deny'
  if ((given.allow === undefined) === (given.deny === undefined)) {
    throw reader.error(path, 'expected either "allow:" or "deny:" with publish, subscribe or both')
  }
  const patterns = (name: 'user' | 'tenant' | 'client') =>
    given[name] === undefined ? null : reader.texts([...path, name])
  const topics = reader.texts([...path, 'topics']).map((text) => {
    const topic = TopicTemplate.parse(text)
    if (typeof topic === 'string') throw reader.error([...path, 'topics'], `topic pattern ${quote(text)} ${topic}`)
    return topic
  })
  if (topics.length === 0) throw reader.error([...path, 'topics'], 'expected at least one topic pattern')
  return {
    effect,
    action: reader.choice([...path, effect], ['publish', 'subscribe', 'both']),
    users: patterns('user'),
    tenants: patterns('tenant'),
    clients: patterns('client'),
    topics,
  }
}

type Path = readonly (string | number)[]

/** Reads YAML by path; every error names the line. */
class Reader {
  readonly #file: string
  readonly #lines = new LineCounter()
  readonly #document: Document
  readonly #root: unknown

  constructor(text: string, file: string) {
    this.#file = file
    this.#document = parseDocument(text, { lineCounter: this.#lines })
    const problem = this.#document.errors[0]
    if (problem) throw invalid(file, this.#lines.linePos(problem.pos[0]).line, problem.message.split('\n')[0]!)
    try {
      // Aliases may multiply what a small file holds: none of it is needed here.
      this.#root = this.#document.toJS({ maxAliasCount: 100 })
    } catch (cause) {
      throw invalid(file, 1, cause instanceof Error ? cause.message : String(cause))
    }
  }

  /** The fields of the mapping at `path`; one that is not in `names` is an error. */
  fields<Name extends string>(path: Path, names: readonly Name[]): { readonly [Key in Name]?: unknown } {
    const value = this.#at(path)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.error(path, `expected a mapping with ${names.join(', ')}`)
    }
    for (const name of Object.keys(value)) {
      if (!(names as readonly string[]).includes(name)) {
        throw this.error([...path, name], `unknown key ${quote(name)}; expected ${names.join(', ')}`)
      }
    }
    return value as { readonly [Key in Name]?: unknown }
  }

  list(path: Path): readonly unknown[] {
    const value = this.#at(path)
    if (!Array.isArray(value)) throw this.error(path, `expected a list at "${path.join('.')}"`)
    return value
  }

  /** A text; names that YAML takes for numbers are texts here too. */
  text(path: Path): string {
    const value = this.#at(path)
    if (typeof value === 'string') return value
    if (Number.isSafeInteger(value)) return String(value)
    throw this.error(path, `expected a text at "${path.join('.')}"; quote what YAML takes for something else`)
  }

  /** One text or a list of texts. */
  texts(path: Path): string[] {
    const value = this.#at(path)
    if (!Array.isArray(value)) return [this.text(path)]
    return value.map((_, index) => this.text([...path, index]))
  }

  flag(path: Path): boolean {
    const value = this.#at(path)
    if (typeof value !== 'boolean') throw this.error(path, `expected true or false at "${path.join('.')}"`)
    return value
  }

  choice<Choice extends string>(path: Path, choices: readonly Choice[]): Choice {
    const value = this.#at(path)
    const choice = choices.find((candidate) => candidate === value)
    if (choice === undefined) throw this.error(path, `expected ${choices.join(' or ')} at "${path.join('.')}"`)
    return choice
  }

  error(path: Path, problem: string): BrokerError {
    return invalid(this.#file, this.#lineOf(path), problem)
  }

  #at(path: Path): unknown {
    let value = this.#root
    for (const key of path) {
      if (typeof value !== 'object' || value === null) return undefined
      value = (value as Record<string | number, unknown>)[key]
    }
    return value
  }

  /** The line of the node at `path`, or of the nearest one around it. */
  #lineOf(path: Path): number {
    for (let length = path.length; length > 0; length--) {
      const parent = this.#document.getIn(path.slice(0, length - 1), true)
      const key = path[length - 1]
      const pair = isMap(parent) ? parent.items.find((item) => String(item.key) === String(key)) : undefined
      const node = (pair?.key ?? this.#document.getIn(path.slice(0, length), true)) as { range?: number[] } | undefined
      if (node?.range?.[0] !== undefined) return this.#lines.linePos(node.range[0]).line
    }
    return 1
  }
}

function invalid(file: string, line: number, problem: string): BrokerError {
  return new BrokerError('CONFIG_INVALID', `Cannot read "${file}", line ${line}: ${problem}`)
}

function quote(text: string): string {
  return JSON.stringify(text)
}
