import { BrokerError } from '../../../src/base/errors.ts'
import type { Write } from '../../../src/kv/engine/engine.ts'
import type {
  Applied,
  Coprocessor,
  MutateContext,
  Mutation,
  RangeDescriptor,
  RangeObserver,
  Reader,
} from '../../../src/kv/range/coprocessor.ts'

/**
 * What clients do to one key. Its value is a text: a register, a number, or a list of words; `arm` sets an alarm, which
 * the range's timed work rings: `ring` puts the alarm's name behind the list, where it is still set.
 */
export type Command =
  | { type: 'put'; key: string; value: string }
  | { type: 'cas'; key: string; expect: string; value: string }
  | { type: 'add'; key: string; by: number }
  | { type: 'append'; key: string; word: string }
  | { type: 'arm'; key: string; word: string; dueMs: number }
  | { type: 'ring'; key: string; word: string; dueMs: number }

/** `value`: after the command, of a list its length. `done`: false where a `cas` found another value. */
export interface Response {
  done: boolean
  value: string
}

export interface Query {
  key: string
}

export interface Effect {
  key: string
  word: string
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
export const bytes = (text: string): Uint8Array => encoder.encode(text)
export const text = (data: Uint8Array): string => decoder.decode(data)
export const wordsOf = (value: string): string[] => (value === '' ? [] : value.split(' '))

const ALARM = '!'

export class Logic implements Coprocessor<Command, Response, Query, string, Effect> {
  readonly service = 'inbox'
  readonly version = 1

  encode(commands: readonly Command[]): Uint8Array {
    return bytes(JSON.stringify(commands))
  }

  decode(entry: Uint8Array): Command[] {
    try {
      return JSON.parse(text(entry)) as Command[]
    } catch (cause) {
      throw new BrokerError('STORAGE_FAILED', 'Cannot read an entry', { cause })
    }
  }

  mutate(commands: readonly Command[], reader: Reader, context: MutateContext): Mutation<Response, Effect> {
    const state = new Map<string, string>()
    const rung = new Set<string>()
    const writes: Write[] = []
    const effects: Effect[] = []
    const responses = commands.map((command): Response => {
      const { key } = command
      const before = state.get(key) ?? read(reader, key)
      if (command.type === 'arm') {
        writes.push({ type: 'put', key: alarmKey(command), value: bytes(String(command.dueMs)) })
        return { done: true, value: '' }
      }
      if (command.type === 'cas' && command.expect !== before) return { done: false, value: before }
      if (command.type === 'ring') {
        if (command.dueMs > context.nowMs) throw new Error('An alarm rings before its time')
        if (rung.has(command.word) || reader.get(alarmKey(command)) === undefined) return { done: false, value: '' }
        rung.add(command.word)
        writes.push({ type: 'delete', key: alarmKey(command) })
      }
      const after = next(command, before)
      state.set(key, after)
      writes.push({ type: 'put', key: bytes(key), value: bytes(after) })
      const isList = command.type === 'append' || command.type === 'ring'
      if (isList) effects.push({ key, word: command.word })
      return { done: true, value: isList ? String(wordsOf(after).length) : after }
    })
    return { writes, responses, effects }
  }

  query({ key }: Query, reader: Reader): string {
    return read(reader, key)
  }

  due(reader: Reader, nowMs: number, limit: number): Command[] {
    return this.#alarms(reader)
      .filter(({ dueMs }) => dueMs <= nowMs)
      .slice(0, limit)
  }

  nextDueMs(reader: Reader): number | null {
    const alarms = this.#alarms(reader)
    return alarms.length === 0 ? null : Math.min(...alarms.map(({ dueMs }) => dueMs))
  }

  #alarms(reader: Reader): Extract<Command, { type: 'ring' }>[] {
    const cursor = reader.cursor()
    const found: Extract<Command, { type: 'ring' }>[] = []
    while (cursor.next()) {
      const [key, word] = text(cursor.key).split(ALARM)
      if (word !== undefined) found.push({ type: 'ring', key: key!, word, dueMs: Number(text(cursor.value)) })
    }
    cursor.close()
    return found
  }
}

function next(command: Exclude<Command, { type: 'arm' }>, before: string): string {
  switch (command.type) {
    case 'put':
    case 'cas':
      return command.value
    case 'add':
      return String(Number(before) + command.by)
    default:
      return before === '' ? command.word : `${before} ${command.word}`
  }
}

function read(reader: Reader, key: string): string {
  const value = reader.get(bytes(key))
  return value === undefined ? '' : text(value)
}

function alarmKey({ key, word }: { key: string; word: string }): Uint8Array {
  return bytes(`${key}${ALARM}${word}`)
}

/** All that a store has been told, as a service's memory keeps it; and whom it tells. */
export class Observer implements RangeObserver<Effect> {
  readonly state = new Map<string, string>()
  readonly #witness: Witness

  constructor(witness: Witness) {
    this.#witness = witness
  }

  opened(range: RangeDescriptor, reader: Reader): void {
    this.#forget(range)
    const cursor = reader.cursor()
    while (cursor.next()) this.state.set(text(cursor.key), text(cursor.value))
    cursor.close()
    this.#witness.opened(range, reader)
  }

  split(_parent: RangeDescriptor, child: RangeDescriptor, reader: Reader): void {
    this.#witness.split(child, reader)
  }

  merged(_left: RangeDescriptor, right: RangeDescriptor): void {
    this.#witness.merged(right)
  }

  applied(range: RangeDescriptor, applied: Applied<Effect>): void {
    for (const write of applied.writes) {
      if (write.type === 'put') this.state.set(text(write.key), text(write.value))
      else if (write.type === 'delete') this.state.delete(text(write.key))
    }
    this.#witness.applied(range, applied)
  }

  closed(range: RangeDescriptor): void {
    this.#forget(range)
  }

  #forget({ start, end }: RangeDescriptor): void {
    for (const key of this.state.keys()) {
      if ((start === undefined || key >= text(start)) && (end === undefined || key < text(end))) this.state.delete(key)
    }
  }
}

export interface Witness {
  opened(range: RangeDescriptor, reader: Reader): void
  split(child: RangeDescriptor, reader: Reader): void
  merged(right: RangeDescriptor): void
  applied(range: RangeDescriptor, applied: Applied<Effect>): void
}
