import { isShared, isValidTopicFilter } from '../../base/topic.ts'
import type { AclSubject } from './acl.ts'

type Name = 'clientId' | 'user' | 'tenant'
const NAMES: Readonly<Record<string, Name>> = { c: 'clientId', u: 'user', t: 'tenant' }

/** One level of the pattern: fixed texts with names between them. */
type Level = readonly (string | { readonly name: Name })[]

/**
 * A topic pattern of a rule: an MQTT filter in which `%c` stands for the client id, `%u` for the user, `%t` for the
 * tenant and `%%` for a percent sign.
 *
 * Clients choose their names. One that is empty, holds `+`, `#`, `/` or U+0000, or begins with `$` is never filled in:
 * an allowing pattern then allows nothing, a denying one denies the whole level.
 */
export class TopicTemplate {
  readonly usesClientId: boolean
  readonly #levels: readonly Level[]
  readonly #fixed: string | null

  private constructor(levels: readonly Level[]) {
    const names = levels.flat().filter((part) => typeof part !== 'string')
    this.#levels = levels
    this.usesClientId = names.some((part) => part.name === 'clientId')
    this.#fixed = names.length === 0 ? levels.map((level) => level.join('')).join('/') : null
  }

  /** The template, or what is wrong with it, to stand after "topic pattern ... ". */
  static parse(text: string): TopicTemplate | string {
    const levels: Level[] = []
    for (const level of text.split('/')) {
      const parts = parseLevel(level)
      if (typeof parts === 'string') return parts
      levels.push(parts)
    }
    const example = levels.map((level) => level.map((part) => (typeof part === 'string' ? part : 'x')).join(''))
    const filter = example.join('/')
    if (!isValidTopicFilter(filter)) return 'is no topic filter'
    if (isShared(filter)) return 'is a shared filter; name the filter inside it'
    return new TopicTemplate(levels)
  }

  /** The filter for one client; null where its names may not be filled in and the rule allows. */
  fill(subject: AclSubject, effect: 'allow' | 'deny'): string | null {
    if (this.#fixed !== null) return this.#fixed
    const filled: string[] = []
    for (const level of this.#levels) {
      const text = fillLevel(level, subject)
      if (text === null && effect === 'allow') return null
      filled.push(text ?? '+')
    }
    return filled.join('/')
  }
}

function parseLevel(level: string): Level | string {
  const parts: (string | { name: Name })[] = []
  for (const token of level.match(/%.?|[^%]+/gsu) ?? []) {
    if (token === '%%') parts.push('%')
    else if (!token.startsWith('%')) parts.push(token)
    else if (NAMES[token.slice(1)] !== undefined) parts.push({ name: NAMES[token.slice(1)]! })
    else return `holds ${JSON.stringify(token)}: expected %c (client id), %u (user), %t (tenant) or %%`
  }
  return parts
}

function fillLevel(level: Level, subject: AclSubject): string | null {
  let text = ''
  for (const part of level) {
    if (typeof part === 'string') text += part
    else if (isSafe(subject[part.name])) text += subject[part.name]
    else return null
  }
  return text
}

function isSafe(name: string): boolean {
  if (name === '' || name.charCodeAt(0) === 0x24) return false
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    if (code === 0x2b || code === 0x23 || code === 0x2f || code === 0) return false
  }
  return true
}
