import type { HostId } from '../../../src/base/ids.ts'
import type { Address, HostRecord, HostState } from '../../../src/cluster/underlay/core/index.ts'
import type { Message } from '../../../src/cluster/underlay/core/message.ts'
import { addressOf } from './sim-cluster.ts'

/**
 * Messages as the scripts write them. Host `h3` listens at place 3 unless its record says `at h9`; its life is 3000
 * unless said so; a sequence number is `#1`, `#2`, ... in the order in which the machine used them.
 *
 * `ping #1 h2`, `ping-req #1 h2`, `ack #1 h2`, `nack #1`, `alive h2@3 at h9 life 7 zone=b`, `suspect h2@3 by h1`,
 * `left h2@3`, `push-pull`, `state dead h2@3 alive@2 age 5`, `payload 100`
 */
export class Text {
  readonly #seqs: number[] = []

  parse(text: string): Message {
    const words = text.trim().split(/ +/)
    const [type = '', ...rest] = words
    switch (type) {
      case 'ping':
        return { type, seq: this.#seq(rest[0]), target: idOf(rest[1] ?? '') }
      case 'ping-req':
        return { type, seq: this.#seq(rest[0]), target: idOf(rest[1]!), address: placeOf(rest[1]!) }
      case 'ack':
        return { type, seq: this.#seq(rest[0]), id: idOf(rest[1]!) }
      case 'nack':
        return { type, seq: this.#seq(rest[0]) }
      case 'alive':
        return { type, record: recordOf(rest) }
      case 'suspect':
      case 'dead':
        return { type, ...subjectOf(rest[0]!), by: idOf(after(rest, 'by')!) }
      case 'left':
        return { type, ...subjectOf(rest[0]!) }
      case 'push-pull':
        return { type }
      case 'state': {
        const { id, incarnation } = subjectOf(rest[1]!)
        const record = { ...recordOf(rest.slice(1)), incarnation: Number(after(rest, 'said') ?? incarnation), id }
        return { type, state: rest[0] as HostState, incarnation, ageSeconds: Number(after(rest, 'age') ?? 0), record }
      }
      case 'payload':
        return { type, bytes: new Uint8Array(Number(rest[0])) }
      default:
        throw new Error(`No message: ${text}`)
    }
  }

  show(message: Message): string {
    switch (message.type) {
      case 'ping':
        return `ping ${this.name(message.seq)} ${message.target || 'anybody'}`
      case 'ping-req':
        return `ping-req ${this.name(message.seq)} ${message.target} at ${place(message.address)}`
      case 'ack':
        return `ack ${this.name(message.seq)} ${message.id}`
      case 'nack':
        return `nack ${this.name(message.seq)}`
      case 'alive':
        return `alive ${showRecord(message.record)}`
      case 'suspect':
      case 'dead':
        return `${message.type} ${message.id}@${message.incarnation} by ${message.by}`
      case 'left':
        return `left ${message.id}@${message.incarnation}`
      case 'push-pull':
        return 'push-pull'
      case 'state': {
        const { state, record, incarnation, ageSeconds } = message
        const said = record.incarnation === incarnation ? '' : ` said ${record.incarnation}`
        return `${state} ${showRecord({ ...record, incarnation })}${said}${ageSeconds === 0 ? '' : ` age ${ageSeconds}`}`
      }
      case 'payload':
        return `payload ${message.bytes.length}`
      case 'hello':
        return 'hello'
    }
  }

  /** `#0` is nobody's; others are numbered as they appear, whoever chose them. */
  name(seq: number): string {
    if (seq === 0) return '#0'
    if (seq >= 1_000 && seq < 2_000) return `#${seq - 1_000 + 100}`
    let at = this.#seqs.indexOf(seq)
    if (at < 0) at = this.#seqs.push(seq) - 1
    return `#${at + 1}`
  }

  /** `#100` and above are the script's own. */
  #seq(word = ''): number {
    const number = Number(word.slice(1))
    if (number === 0) return 0
    return number >= 100 ? 1_000 + number - 100 : (this.#seqs[number - 1] ?? 999)
  }
}

export function showRecord(record: HostRecord): string {
  const index = record.id.replace(/^h/, '')
  const parts = [`${record.id}@${record.incarnation}`]
  if (record.address !== addressOf(Number(index))) parts.push(`at ${place(record.address)}`)
  if (record.life !== Number(index) * 1_000 && record.life < 1e9) parts.push(`life ${record.life}`)
  for (const [key, value] of record.metadata) parts.push(`${key}=${value}`)
  return parts.join(' ')
}

/** The host that listens there by default. */
export function place(address: Address): string {
  const [, , high, low] = address.split(':')[0]!.split('.').map(Number)
  return `h${high! * 256 + low!}`
}

export function placeOf(host: string): Address {
  return addressOf(Number(host.replace(/^h/, '')))
}

function idOf(text: string): HostId {
  return text as HostId
}

function subjectOf(text: string): { id: HostId; incarnation: number } {
  const [id = '', incarnation = '1'] = text.split('@')
  return { id: idOf(id), incarnation: Number(incarnation) }
}

function recordOf(words: string[]): HostRecord {
  const { id, incarnation } = subjectOf(words[0]!)
  const metadata = new Map(
    words.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string]),
  )
  const life = Number(after(words, 'life') ?? Number(id.slice(1)) * 1_000)
  return { id, incarnation, life, address: placeOf(after(words, 'at') ?? id), metadata }
}

function after(words: string[], word: string): string | undefined {
  const at = words.indexOf(word)
  return at < 0 ? undefined : words[at + 1]
}
