import { DEFAULT_TENANT } from '../../base/ids.ts'
import { AclIndex, type ClientAcl } from './acl.ts'
import type { FileRules, FileSubject } from './file-permissions.ts'
import { costMicroseconds, decoyPassword, type StoredPassword, verifyPassword } from './password.ts'
import { type FileUser, type UsersFile, userKey } from './users-file.ts'

/** Compiled rules that several connections share are kept for so many users. */
const SHARED_MAX = 10_000

/** One reading of the files, ready to be asked. Never changes; a reload makes another one. */
export class FileRuleSet implements FileRules {
  readonly users: ReadonlyMap<string, FileUser>
  /** Checked in place of an unknown user's password; as costly as the costliest. */
  readonly decoy: StoredPassword
  readonly #anonymous: boolean
  readonly #acl: AclIndex | null
  readonly #shared = new Map<string, ClientAcl>()

  constructor(file: UsersFile) {
    const passwords = [...file.users.values()].map((user) => user.password)
    this.users = file.users
    this.decoy = decoyPassword(passwords.filter((password) => password !== null))
    this.#anonymous = file.anonymous
    this.#acl = file.acl === null ? null : new AclIndex(file.acl)
  }

  static empty(): FileRuleSet {
    return new FileRuleSet({ users: new Map(), anonymous: false, acl: null })
  }

  /** Takes the same time for every user and for none. */
  async verify(stored: StoredPassword, password: Uint8Array): Promise<boolean> {
    const right = await verifyPassword(stored, password)
    if (costMicroseconds(stored) < costMicroseconds(this.decoy)) await verifyPassword(this.decoy, password)
    return right
  }

  /** A certificate needs no entry in the file: who signed it admits. */
  admits(subject: FileSubject): boolean {
    switch (subject.by) {
      case 'certificate':
        return true
      case 'anonymous':
        return this.#anonymous && subject.tenant === DEFAULT_TENANT
      case 'password':
        return this.users.has(userKey(subject.tenant, subject.user))
    }
  }

  permitsAll(subject: FileSubject): boolean {
    if (this.#acl === null) return true
    return subject.by !== 'anonymous' && this.users.get(userKey(subject.tenant, subject.user))?.superuser === true
  }

  compile(subject: FileSubject): ClientAcl {
    const key = userKey(subject.tenant, subject.user)
    const known = this.#shared.get(key)
    if (known !== undefined) return known
    const { acl, shared } = this.#acl!.compile(subject)
    if (shared && this.#shared.size < SHARED_MAX) this.#shared.set(key, acl)
    return acl
  }
}
