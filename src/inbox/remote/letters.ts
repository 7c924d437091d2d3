/**
 * What nodes say to each other about feeds, as bytes. `name` is `nameOf(start)` of an inbox.
 *
 *     letters: format u8 | stream varint | (type u8 | name | fields)...      to a node that leads
 *     news:    format u8 | (type u8 | name | fields)...                      a chunk of the stream back
 *
 * Hot path: an entry that is pushed is written once, and what several queues get of one message once a chunk.
 */
import type { Message } from '../../base/message.ts'
import type { FeedEntry } from '../contract.ts'
import type { EndedEffect } from '../store/command.ts'
import { decodeEntry, EntryCache, packetIdOf, RELEASED_VALUE } from '../store/entry.ts'
import { damaged, Reading, Writer } from '../store/wire.ts'

export type Letter =
  /** What happens to the queue, or with a connection to what that member of the group gets, is to be told. */
  | { type: 'watch'; name: string; connection: string }
  | { type: 'unwatch'; name: string; connection: string }
  /** Entries up to this sequence may be pushed; of later ones it is enough to know that they are there. */
  | { type: 'limit'; name: string; upTo: number }
  | PassLetter

/** A QoS 0 message for a session that is thought to be there; `hops`: how often it was sent on already. */
export interface PassLetter {
  type: 'pass'
  name: string
  incarnation: number
  hops: number
  message: Message
  retain: boolean
  subscriptionIds: readonly number[]
}

export type News =
  /** From here on everything is told: what was before is to be asked for. */
  | { type: 'watching'; name: string; connection: string }
  /** Nothing more is told: this node does not lead the range. */
  | { type: 'lost'; name: string; connection: string }
  | { type: 'tail'; name: string; sequence: number }
  | { type: 'grown'; name: string; entry: FeedEntry; bytes: number }
  | { type: 'assigned'; name: string; member: string; connection: string; entry: FeedEntry }
  | { type: 'attached'; name: string; incarnation: number; connection: string }
  | { type: 'ended'; name: string; incarnation: number; reason: EndedEffect['reason'] }

const FORMAT = 1
const LETTERS = ['watch', 'unwatch', 'limit', 'pass'] as const
const NEWS = ['watching', 'lost', 'tail', 'grown', 'assigned', 'attached', 'ended'] as const
const REASONS = ['expired', 'removed', 'replaced'] as const

/** Letters of one turn to one node. */
export class LetterWriter {
  readonly #writer = new Writer(1_024)
  #empty = true

  get length(): number {
    return this.#empty ? 0 : this.#writer.length
  }

  /** @param stream number of the stream that they belong to; 0 = none */
  write(stream: number, letter: Letter): void {
    const writer = this.#writer
    if (this.#empty) {
      writer.u8(FORMAT)
      writer.varint(stream)
      this.#empty = false
    }
    writer.u8(LETTERS.indexOf(letter.type))
    writer.text(letter.name)
    if (letter.type === 'limit') writer.varint(letter.upTo)
    else if (letter.type === 'pass') writePass(writer, letter)
    else writer.text(letter.connection)
  }

  finish(): Buffer {
    this.#empty = true
    return this.#writer.finish()
  }
}

function writePass(writer: Writer, { incarnation, hops, message, retain, subscriptionIds }: PassLetter): void {
  writer.varint(incarnation)
  writer.u8(hops)
  writer.u8(retain ? 1 : 0)
  writer.varint(subscriptionIds.length)
  for (const id of subscriptionIds) writer.varint(id)
  writer.message(message)
}

/** Throws STORAGE_FAILED where they make no sense. */
export function readLetters(bytes: Uint8Array): { stream: number; letters: Letter[] } {
  const reading = begin(bytes)
  const stream = reading.varint()
  const letters: Letter[] = []
  while (reading.left > 0) letters.push(readLetter(reading))
  return { stream, letters }
}

function readLetter(reading: Reading): Letter {
  const type = oneOf(LETTERS, reading.u8())
  const name = reading.text()
  if (type === 'limit') return { type, name, upTo: reading.varint() }
  if (type !== 'pass') return { type, name, connection: reading.text() }
  const incarnation = reading.varint()
  const hops = reading.u8()
  const retain = reading.u8() === 1
  const subscriptionIds = readIds(reading)
  return { type, name, incarnation, hops, message: kept(reading.message()), retain, subscriptionIds }
}

function readIds(reading: Reading): number[] {
  const ids: number[] = []
  for (let left = reading.varint(); left > 0; left--) ids.push(reading.varint())
  return ids
}

/** One chunk of news. */
export class NewsWriter {
  readonly #writer = new Writer(4_096)
  readonly #cache = new EntryCache()
  #last: Uint8Array | null = null
  #empty = true

  get length(): number {
    return this.#empty ? 0 : this.#writer.length
  }

  watch(type: 'watching' | 'lost', name: string, connection: string): void {
    this.#begin(type, name)
    this.#writer.text(connection)
  }

  tail(name: string, sequence: number): void {
    this.#begin('tail', name)
    this.#writer.varint(sequence)
  }

  grown(name: string, entry: FeedEntry): void {
    this.#begin('grown', name)
    this.#entry(entry)
  }

  assigned(name: string, member: string, connection: string, entry: FeedEntry): void {
    this.#begin('assigned', name)
    this.#writer.text(member)
    this.#writer.text(connection)
    this.#entry(entry)
  }

  attached(name: string, incarnation: number, connection: string): void {
    this.#begin('attached', name)
    this.#writer.varint(incarnation)
    this.#writer.text(connection)
  }

  ended(name: string, incarnation: number, reason: EndedEffect['reason']): void {
    this.#begin('ended', name)
    this.#writer.varint(incarnation)
    this.#writer.u8(REASONS.indexOf(reason))
  }

  finish(): Buffer {
    if (this.#empty) this.#writer.u8(FORMAT)
    this.#empty = true
    this.#last = null
    return this.#writer.finish()
  }

  #begin(type: News['type'], name: string): void {
    if (this.#empty) this.#writer.u8(FORMAT)
    this.#empty = false
    this.#writer.u8(NEWS.indexOf(type))
    this.#writer.text(name)
  }

  /** No bytes: the same as those of the entry before. */
  #entry({ sequence, message, qos, retain, subscriptionIds }: FeedEntry): void {
    const value = message === null ? RELEASED_VALUE : this.#cache.encode(message, qos, retain, subscriptionIds)
    this.#writer.varint(sequence)
    if (value === this.#last) this.#writer.varint(0)
    else this.#writer.bytes(value)
    this.#last = value
  }
}

/** Throws STORAGE_FAILED where they make no sense. */
export function readNews(bytes: Uint8Array): News[] {
  const reading = begin(bytes)
  const values: { last: Uint8Array | null } = { last: null }
  const news: News[] = []
  while (reading.left > 0) news.push(readOne(reading, values))
  return news
}

function readOne(reading: Reading, values: { last: Uint8Array | null }): News {
  const type = oneOf(NEWS, reading.u8())
  const name = reading.text()
  switch (type) {
    case 'tail':
      return { type, name, sequence: reading.varint() }
    case 'grown': {
      const entry = readEntry(reading, values)
      if (entry.qos > 0) entry.packetId = packetIdOf(entry.sequence)
      return { type, name, entry, bytes: values.last!.length }
    }
    case 'assigned':
      return { type, name, member: reading.text(), connection: reading.text(), entry: readEntry(reading, values) }
    case 'attached':
      return { type, name, incarnation: reading.varint(), connection: reading.text() }
    case 'ended':
      return { type, name, incarnation: reading.varint(), reason: oneOf(REASONS, reading.u8()) }
    default:
      return { type, name, connection: reading.text() }
  }
}

function readEntry(reading: Reading, values: { last: Uint8Array | null }): FeedEntry {
  const sequence = reading.varint()
  const given = reading.bytes()
  // Out of the link's frame: it may stay for long.
  if (given.length > 0) values.last = Buffer.from(given)
  if (values.last === null) throw damaged('an entry has no value')
  const entry = decodeEntry(sequence, 0, false, values.last)
  if (entry.qos > 2) throw damaged('an entry has no quality of service')
  return entry
}

function begin(bytes: Uint8Array): Reading {
  const reading = new Reading(bytes)
  if (reading.u8() !== FORMAT) throw damaged('it is of another format')
  return reading
}

function oneOf<Word>(words: readonly Word[], at: number): Word {
  const word = words[at]
  if (word === undefined) throw damaged(`there is no kind ${at}`)
  return word
}

/** The message with bytes of its own. */
function kept(message: Message): Message {
  return { ...message, payload: Buffer.from(message.payload), properties: Buffer.from(message.properties) }
}
