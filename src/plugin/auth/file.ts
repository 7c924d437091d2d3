import { readFile } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { TenantId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { AuthPlugin, AuthRequest, AuthResult } from '../contract.ts'
import { CredentialMemory } from './credential-memory.ts'
import { FilePermissions, type FileSubject } from './file-permissions.ts'
import { FileRuleSet } from './file-rules.ts'
import { FileWatch, fingerprint } from './file-watch.ts'
import { HashPool } from './hash-pool.ts'
import { type CertificateMapping, NO_CERTIFICATE_MAPPING, readClaim } from './identity.ts'
import { parseAclFile, parseUsersFile, userKey } from './users-file.ts'

export interface FileAuthOptions {
  /** File of users; may hold the rules too. */
  path: string
  /** File of rules; null = they are in the file of users, or there are none. */
  aclPath: string | null
  clock: Clock
  logger: Logger
  /** What a listener takes from client certificates. */
  certificates?: (listener: string) => CertificateMapping
  /** Password hashes at a time; each takes a thread of libuv's pool of 4. */
  hashesMax?: number
  /** Password hashes that may wait; the next one is refused with 0x89. */
  hashesWaitingMax?: number
  /** How often the files are looked at where the system does not tell of changes. */
  pollMs?: number
}

const HASHES_MAX = 2
/** About ten seconds of hashing, as long as a client waits for its CONNACK. */
const HASHES_WAITING_MAX = 256
/** Within the host's deadline for an answer, see `host.ts`. */
const HASH_WAIT_MS_MAX = 4_000
const POLL_MS = 5_000
const MEMORY = { entriesMax: 100_000, acceptedMs: 24 * 3600_000, refusedMs: 5_000 }

const NO_ATTRIBUTES: Readonly<Record<string, string>> = Object.freeze({})
const BAD_CREDENTIALS: AuthResult = refused(0x86, 'bad user name or password')

/**
 * `auth: file`: users with hashed passwords and rules about topics in files that may change while the broker runs.
 *
 * A password costs a hash of 100 ms once; after that it is remembered until the stored hash changes. An unknown user
 * costs the same hash. A file that cannot be read stops the start; later it is named in the log and the old content stays.
 */
export class FileAuth implements AuthPlugin, MetricSource {
  readonly name = 'file'
  readonly pool: HashPool
  readonly memory = new CredentialMemory(MEMORY)
  readonly #options: FileAuthOptions
  /** What permissions follow: replaced by every reload. */
  readonly #current: { rules: FileRuleSet } = { rules: FileRuleSet.empty() }
  /** Checks under way, by credential: many clients that use one user name share one hash. */
  readonly #checks = new Map<string, Promise<boolean>>()
  #generation = 0
  #watch: FileWatch | null = null
  #reloading: Promise<void> | null = null
  #lastRead = ''
  #reloadFailures = 0

  constructor(options: FileAuthOptions) {
    this.#options = options
    this.pool = new HashPool({
      clock: options.clock,
      runningMax: options.hashesMax ?? HASHES_MAX,
      waitingMax: options.hashesWaitingMax ?? HASHES_WAITING_MAX,
      waitMsMax: HASH_WAIT_MS_MAX,
    })
  }

  get generation(): number {
    return this.#generation
  }

  /** Throws CONFIG_INVALID where a file is missing or wrong. */
  async start(): Promise<void> {
    const { path, aclPath, clock, pollMs } = this.#options
    this.#lastRead = await this.#fingerprint()
    this.#adopt(await this.#read())
    const files = aclPath === null ? [path] : [path, aclPath]
    this.#watch = new FileWatch(files, clock, pollMs ?? POLL_MS, () => void this.reloadIfChanged())
  }

  async stop(): Promise<void> {
    this.#watch?.close()
    this.#watch = null
    await this.#reloading
  }

  /** Reads the files again if one of them changed since they were last read, or tried. Never rejects. */
  async reloadIfChanged(): Promise<void> {
    while (this.#reloading !== null) await this.#reloading
    this.#reloading = this.#reload().finally(() => {
      this.#reloading = null
    })
    await this.#reloading
  }

  authenticate(request: AuthRequest): AuthResult | Promise<AuthResult> {
    const mapping = (this.#options.certificates ?? (() => NO_CERTIFICATE_MAPPING))(request.listener)
    const claim = readClaim(request, mapping)
    if (!claim.ok) return refused(0x86, claim.reason)
    const subject = { tenant: claim.tenant, user: claim.user ?? '', clientId: request.clientId }
    if (claim.proven) return this.#accept({ ...subject, by: 'certificate' })
    if (claim.user === null) return this.#acceptAnonymous({ ...subject, by: 'anonymous' }, request)
    if (request.password === null) return BAD_CREDENTIALS
    return this.#checkPassword({ ...subject, by: 'password' }, request.password)
  }

  collect(sink: MetricSink): void {
    const { pool } = this
    sink.gauge('flockmq_auth_hashes_running', 'Password hashes being computed.', pool.running)
    sink.gauge('flockmq_auth_hashes_waiting', 'Password hashes that wait.', pool.waiting)
    sink.counter('flockmq_auth_hashes_total', 'Password hashes computed.', pool.doneTotal)
    sink.counter('flockmq_auth_hashes_refused_total', 'Logins refused since too many hashes waited.', pool.refusedTotal)
    sink.gauge('flockmq_auth_users', 'Users in the file.', this.#current.rules.users.size)
    sink.counter('flockmq_auth_reload_failures_total', 'Changed files that could not be used.', this.#reloadFailures)
  }

  #accept(subject: FileSubject): AuthResult {
    const permissions = new FilePermissions(this.#current, subject)
    const { user } = subject
    const tenant = subject.tenant as TenantId
    return { result: 'accepted', identity: { tenant, user, attributes: NO_ATTRIBUTES, permissions } }
  }

  /** A password without a user name (MQTT 5.0 3.1.2.9) proves nobody. */
  #acceptAnonymous(subject: FileSubject, request: AuthRequest): AuthResult {
    if (request.password !== null) return BAD_CREDENTIALS
    if (this.#current.rules.admits(subject)) return this.#accept(subject)
    return refused(0x87, 'a user name is needed')
  }

  #checkPassword(subject: FileSubject, password: Uint8Array): AuthResult | Promise<AuthResult> {
    const { rules } = this.#current
    const { users, decoy } = rules
    const id = userKey(subject.tenant, subject.user)
    const stored = users.get(id)?.password ?? decoy
    const key = this.memory.keyOf(id, stored.text, password)
    const known = this.memory.recall(key, this.#options.clock.monotonic())
    if (known === 'accepted') return this.#accept(subject)
    if (known === 'refused') return BAD_CREDENTIALS
    let check = this.#checks.get(key)
    if (check === undefined) {
      // Who guesses names waits behind who guesses names.
      check = this.pool
        .run(users.has(id) ? subject.tenant : '', () => rules.verify(stored, password))
        .then((right) => {
          this.memory.remember(key, right, this.#options.clock.monotonic())
          // The file may have changed meanwhile: what was right may be no longer.
          return right && this.#current.rules.users.get(id)?.password?.text === stored.text
        })
        .finally(() => this.#checks.delete(key))
      this.#checks.set(key, check)
    }
    return check.then(
      (accepted) => (accepted ? this.#accept(subject) : BAD_CREDENTIALS),
      (error: unknown) => {
        if (error instanceof BrokerError && error.code === 'OVERLOADED') return refused(0x89, error.message)
        throw error
      },
    )
  }

  async #reload(): Promise<void> {
    const before = await this.#fingerprint()
    if (before === this.#lastRead) return
    this.#lastRead = before
    try {
      this.#adopt(await this.#read())
      const { path } = this.#options
      this.#options.logger.info(
        { path, users: this.#current.rules.users.size },
        'Users and permissions were read again',
      )
    } catch (error) {
      this.#reloadFailures++
      const problem = error instanceof Error ? error.message : String(error)
      this.#options.logger.error({ problem }, 'Changed users or permissions cannot be used; the old ones stay')
    }
  }

  #adopt(rules: FileRuleSet): void {
    this.#current.rules = rules
    this.#generation++
  }

  async #read(): Promise<FileRuleSet> {
    const { path, aclPath } = this.#options
    const users = parseUsersFile(await readText(path), path)
    if (aclPath === null) return new FileRuleSet(users)
    if (users.acl !== null) {
      throw new BrokerError('CONFIG_INVALID', `Cannot use both "${aclPath}" and the section "acl:" of "${path}"`)
    }
    return new FileRuleSet({ ...users, acl: parseAclFile(await readText(aclPath), aclPath) })
  }

  async #fingerprint(): Promise<string> {
    const { path, aclPath } = this.#options
    const users = await fingerprint(path)
    return aclPath === null ? users : `${users} ${await fingerprint(aclPath)}`
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'there is no such file; "flockmq passwd" makes one' : (code ?? String(cause))
    throw new BrokerError('CONFIG_INVALID', `Cannot read "${path}": ${why}`, { cause })
  }
}

function refused(reasonCode: number, reason: string): AuthResult {
  return { result: 'refused', reasonCode, reason }
}
