import type { HostId } from '../../base/ids.ts'
import { ByteFieldReader, ByteFieldWriter } from '../../cluster/fields.ts'
import { CHANNEL, type MessageChannel, type Peers } from '../../rpc/index.ts'
import type { Answer, MatchMessage } from '../lease/index.ts'
import { BYTES } from './bytes-codec.ts'

/** On the connection of heartbeats: a lease lives as long as they are heard. */
const LEASE: MessageChannel<Uint8Array> = {
  type: 'message',
  number: CHANNEL.lease,
  name: 'lease',
  kind: 'raft',
  message: BYTES,
}

/** Match leases are of replicas of `dist`, node leases of the front ends of sessions; the messages look alike. */
export type LeaseKind = 'match' | 'node'

/** Takes what other nodes say about the leases of a range. */
export type LeaseReceiver = (from: HostId, range: string, message: MatchMessage) => void

interface Letter {
  kind: LeaseKind
  range: string
  message: MatchMessage
}

/** Carries the messages of leases: those of one turn to one node in one frame. What is lost is asked again. */
export class LeaseLinks {
  /** Messages that a link did not take. */
  refused = 0
  /** Frames that could not be read. */
  malformed = 0
  readonly #peers: Peers
  readonly #receivers = new Map<LeaseKind, LeaseReceiver>()
  #letters = new Map<HostId, Letter[]>()

  constructor(peers: Peers) {
    this.#peers = peers
    peers.handleMessages(LEASE, {
      received: (from, frame) => {
        const letters = decodeLetters(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength))
        if (letters === null) this.malformed++
        else for (const { kind, range, message } of letters) this.#receivers.get(kind)?.(from, range, message)
      },
    })
  }

  /** From now on what comes in of this kind goes to `receiver`; before, it is lost. */
  attach(kind: LeaseKind, receiver: LeaseReceiver): void {
    this.#receivers.set(kind, receiver)
  }

  send(to: HostId, kind: LeaseKind, range: string, message: MatchMessage): void {
    if (this.#letters.size === 0) this.#peers.beforeFrames(() => this.#flush())
    const letter = { kind, range, message }
    const known = this.#letters.get(to)
    if (known === undefined) this.#letters.set(to, [letter])
    else known.push(letter)
  }

  #flush(): void {
    const all = this.#letters
    this.#letters = new Map()
    for (const [to, letters] of all) {
      if (this.#peers.send(to, LEASE, encodeLetters(letters)) !== 'accepted') this.refused += letters.length
    }
  }
}

const FORMAT = 1
const KINDS = ['match', 'node'] as const
const TYPES = ['ask', 'applied', 'granted', 'refused'] as const
const REASONS = ['not-ready', 'version', 'fenced'] as const

class Reader extends ByteFieldReader {
  /** A number that counts something. */
  whole(): number {
    const value = this.float64()
    if (!Number.isSafeInteger(value) || value < 0) this.bad = true
    return this.bad ? 0 : value
  }

  one<Word>(words: readonly Word[]): Word {
    const word = words[this.uint8()]
    if (word === undefined) this.bad = true
    return word ?? words[0]!
  }
}

/** `format u8 | (kind u8 | range | type u8 | holder | incarnation f64 | fields) ...`, big endian. */
function encodeLetters(letters: readonly Letter[]): Uint8Array {
  const writer = new ByteFieldWriter()
  writer.uint8(FORMAT)
  for (const { kind, range, message } of letters) {
    writer.uint8(KINDS.indexOf(kind))
    writer.longText(range)
    const { type, value } = flat(message)
    writer.uint8(TYPES.indexOf(type))
    writer.longText(value.holder)
    writer.float64(value.incarnation)
    if ('ask' in value) writer.float64(value.ask)
    if ('applied' in value) writer.float64(value.applied)
    if ('version' in value) writer.float64(value.version)
    if ('index' in value) {
      writer.float64(value.index)
      writer.float64(value.forMs)
    }
    if ('reason' in value) writer.uint8(REASONS.indexOf(value.reason))
  }
  return writer.bytes()
}

function flat(message: MatchMessage) {
  if (message.type === 'answer') return { type: message.answer.type, value: message.answer }
  if (message.type === 'ask') return { type: message.type, value: message.ask }
  return { type: message.type, value: message.report }
}

/** Null where the bytes make no sense. */
function decodeLetters(bytes: Buffer): Letter[] | null {
  const reader = new Reader(bytes)
  if (reader.uint8() !== FORMAT) return null
  const letters: Letter[] = []
  while (reader.left > 0) {
    const kind = reader.one(KINDS)
    const range = reader.longText()
    letters.push({ kind, range, message: readMessage(reader) })
  }
  return reader.bad ? null : letters
}

function readMessage(reader: Reader): MatchMessage {
  const type = reader.one(TYPES)
  const who = { holder: reader.longText(), incarnation: reader.whole() }
  switch (type) {
    case 'ask':
      return { type, ask: { ...who, ask: reader.whole(), applied: reader.whole(), version: reader.whole() } }
    case 'applied':
      return { type, report: { ...who, applied: reader.whole() } }
    default:
      return { type: 'answer', answer: readAnswer(reader, type, who) }
  }
}

function readAnswer(reader: Reader, type: Answer['type'], who: { holder: string; incarnation: number }): Answer {
  const ask = reader.whole()
  if (type === 'refused') return { type, ...who, ask, reason: reader.one(REASONS) }
  const index = reader.whole()
  const forMs = reader.float64()
  // No lease is longer than an hour, whatever anybody says.
  if (!(forMs >= 0 && forMs <= 3_600_000)) reader.bad = true
  return { type, ...who, ask, index, forMs }
}
