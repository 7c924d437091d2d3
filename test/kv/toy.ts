import { BrokerError } from '../../src/base/errors.ts'
import { hashOfKey } from '../../src/kv/engine/bytes.ts'
import type { Write } from '../../src/kv/engine/engine.ts'
import type {
  Applied,
  Coprocessor,
  MutateContext,
  Mutation,
  RangeDescriptor,
  RangeObserver,
  Reader,
} from '../../src/kv/range/coprocessor.ts'

/** `append` puts a word behind the key's text; `expire` (timed work) removes the key. */
export type ToyCommand =
  | { type: 'append'; key: string; word: string; expiresMs?: number }
  | { type: 'expire'; key: string }
  | { type: 'fail' }
  | { type: 'stray'; key: string }
export type ToyResponse = { length: number; nowMs: number } | null
export type ToyQuery = { key: string }
export type ToyEffect = { key: string; word: string }

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (data: Uint8Array): string => new TextDecoder().decode(data)

/** The least coprocessor that shows order, repetition and loss: each key holds the words appended to it. */
export class Toy implements Coprocessor<ToyCommand, ToyResponse, ToyQuery, string | null, ToyEffect> {
  readonly service = 'inbox'
  version = 1

  encode(commands: readonly ToyCommand[]): Uint8Array {
    return bytes(JSON.stringify(commands))
  }

  decode(entry: Uint8Array): ToyCommand[] {
    try {
      return JSON.parse(text(entry)) as ToyCommand[]
    } catch (cause) {
      throw new BrokerError('STORAGE_FAILED', 'Cannot read a toy entry', { cause })
    }
  }

  mutate(commands: readonly ToyCommand[], reader: Reader, context: MutateContext): Mutation<ToyResponse, ToyEffect> {
    const state = new Map<string, string>()
    const writes: Write[] = []
    const effects: ToyEffect[] = []
    const responses = commands.map((command): ToyResponse => {
      if (command.type === 'fail') throw new Error('poison')
      const key = bytes(`k${command.key}`)
      if (command.type === 'stray') {
        writes.push({ type: 'put', key, value: key })
        return null
      }
      if (command.type === 'expire') {
        writes.push({ type: 'delete', key }, { type: 'delete', key: bytes(`k${command.key}!due`) })
        state.set(command.key, '')
        return null
      }
      const stored = reader.get(key)
      const before = state.get(command.key) ?? (stored === undefined ? '' : text(stored))
      const after = before === '' ? command.word : `${before} ${command.word}`
      state.set(command.key, after)
      writes.push({ type: 'put', key, value: bytes(after) })
      if (command.expiresMs !== undefined) {
        writes.push({ type: 'put', key: bytes(`k${command.key}!due`), value: bytes(String(command.expiresMs)) })
      }
      effects.push({ key: command.key, word: command.word })
      return { length: after.split(' ').length, nowMs: context.nowMs }
    })
    return { writes, responses, effects }
  }

  query(query: ToyQuery, reader: Reader): string | null {
    const value = reader.get(bytes(`k${query.key}`))
    return value === undefined ? null : text(value)
  }

  due(reader: Reader, nowMs: number, limit: number): ToyCommand[] {
    return this.#dues(reader)
      .filter((each) => each.dueMs <= nowMs)
      .slice(0, limit)
      .map(({ key }) => ({ type: 'expire', key }))
  }

  nextDueMs(reader: Reader): number | null {
    const times = this.#dues(reader).map((each) => each.dueMs)
    return times.length === 0 ? null : Math.min(...times)
  }

  #dues(reader: Reader): { key: string; dueMs: number }[] {
    const cursor = reader.cursor()
    const found: { key: string; dueMs: number }[] = []
    while (cursor.next()) {
      const key = text(cursor.key)
      if (key.endsWith('!due')) found.push({ key: key.slice(1, -4), dueMs: Number(text(cursor.value)) })
    }
    cursor.close()
    return found
  }
}

/** Derived state as a service keeps it: all keys of the node, from what it is told alone. */
export class ToyObserver implements RangeObserver<ToyEffect> {
  readonly state = new Map<string, string>()
  readonly log: string[] = []

  opened(range: RangeDescriptor, reader: Reader): void {
    this.log.push(`opened ${range.id}`)
    const cursor = reader.cursor()
    while (cursor.next()) this.state.set(text(cursor.key), text(cursor.value))
    cursor.close()
  }

  applied(_range: RangeDescriptor, applied: Applied<ToyEffect>): void {
    for (const write of applied.writes) {
      if (write.type === 'put') {
        const landed = applied.reader.get(write.key)
        if (landed === undefined) throw new Error('An observer was told before the write was readable')
        this.state.set(text(write.key), text(write.value))
      } else if (write.type === 'delete') this.state.delete(text(write.key))
    }
    for (const { key, word } of applied.effects) this.log.push(`${key} ${word}`)
  }

  closed(range: RangeDescriptor): void {
    this.log.push(`closed ${range.id}`)
    for (const key of this.state.keys()) {
      const at = bytes(key)
      const inside =
        (range.start === undefined || key >= text(range.start)) && (range.end === undefined || key < text(range.end))
      if (inside && at.length > 0) this.state.delete(key)
    }
  }
}

/** Two keys of one hash. */
export function collidingKeys(): [Uint8Array, Uint8Array] {
  const seen = new Map<number, Uint8Array>()
  for (let n = 0; ; n++) {
    const key = bytes(`key ${n}`)
    const other = seen.get(hashOfKey(key))
    if (other !== undefined) return [other, key]
    seen.set(hashOfKey(key), key)
  }
}
