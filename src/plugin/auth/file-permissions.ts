import type { Permissions } from '../contract.ts'
import type { AclSubject, ClientAcl } from './acl.ts'

/** What the file says now, for one client. A new object after every reload. */
export interface FileRules {
  /** False where the user is gone from the file: nothing is allowed any more. */
  admits(subject: FileSubject): boolean
  /** True where no rule can forbid this user anything. */
  permitsAll(subject: FileSubject): boolean
  compile(subject: FileSubject): ClientAcl
}

export interface FileSubject extends AclSubject {
  /** How the client came in: by password, by certificate, or without a name. */
  by: 'password' | 'certificate' | 'anonymous'
}

/**
 * The permissions of one connection. They follow the file: after a reload the next check asks the new rules.
 *
 * The rules are filled in at the first check, so that an idle connection holds four fields. Hot path: a publisher
 * mostly repeats its last topic, so that answer is kept.
 */
export class FilePermissions implements Permissions {
  readonly #current: { readonly rules: FileRules }
  readonly #subject: FileSubject
  #rules: FileRules | null = null
  #acl: ClientAcl | null = null
  #admitted = false
  #lastTopic: string | null = null
  #lastAnswer = false

  constructor(current: { readonly rules: FileRules }, subject: FileSubject) {
    this.#current = current
    this.#subject = subject
  }

  get all(): boolean {
    const { rules } = this.#current
    return rules.admits(this.#subject) && rules.permitsAll(this.#subject)
  }

  publish(topic: string): boolean {
    if (this.#rules !== this.#current.rules) this.#follow()
    else if (topic === this.#lastTopic) return this.#lastAnswer
    this.#lastAnswer = this.#admitted && (this.#acl === null || this.#acl.publish(topic))
    this.#lastTopic = topic
    return this.#lastAnswer
  }

  subscribe(filter: string): boolean {
    if (this.#rules !== this.#current.rules) this.#follow()
    return this.#admitted && (this.#acl === null || this.#acl.subscribe(filter))
  }

  receive(topic: string): boolean {
    if (this.#rules !== this.#current.rules) this.#follow()
    return this.#admitted && (this.#acl === null || this.#acl.receive(topic))
  }

  #follow(): void {
    const { rules } = this.#current
    this.#rules = rules
    this.#admitted = rules.admits(this.#subject)
    this.#acl = this.#admitted && !rules.permitsAll(this.#subject) ? rules.compile(this.#subject) : null
  }
}
