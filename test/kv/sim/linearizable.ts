/** One call on one key. `start` and `end` are places in the order of all events. */
export interface Operation {
  kind: 'put' | 'cas' | 'add' | 'read'
  /** What is put; of an `add`, the number. */
  value: string
  /** Of a `cas`. */
  expect: string
  start: number
  /** Infinity: nobody knows whether it happened. */
  end: number
  /** The answer: the value after it, of a `cas` that found another one, that. Null where `end` is Infinity. */
  result: string | null
  /** Of a `cas`: it found what it expected. */
  done: boolean
}

export type Verdict = 'linearizable' | 'not linearizable' | 'undecided'

interface Configuration {
  state: string
  /** Calls that have had their effect and not their answer. */
  early: readonly number[]
}

/**
 * Whether one order of the calls, in which each has its effect at one moment between start and end, explains all answers.
 *
 * Goes through calls and answers as they came, with every configuration that explains what was seen until then. Effects
 * are placed as late as possible: only where an answer demands it.
 *
 * Source: Lowe, "Testing for linearizability", Concurrency and Computation 29(4), 2017, 5 (just-in-time), after Wing and
 * Gong, J. Parallel Distrib. Comput. 17, 1993.
 *
 * @param stepsMax configurations looked at; beyond, the history is undecided
 */
export function checkLinearizable(
  operations: readonly Operation[],
  initial: string,
  stepsMax = 200_000,
): { verdict: Verdict; at: Operation | null } {
  const known = operations.filter(({ kind, end }) => kind !== 'read' || end !== Number.POSITIVE_INFINITY)
  const events = known.flatMap((operation, id) => {
    const begin = { at: operation.start, id, ends: false }
    return operation.end === Number.POSITIVE_INFINITY ? [begin] : [begin, { at: operation.end, id, ends: true }]
  })
  events.sort((a, b) => a.at - b.at)
  const pending = new Set<number>()
  let configurations: Configuration[] = [{ state: initial, early: [] }]
  let steps = 0
  for (const { id, ends } of events) {
    if (!ends) {
      pending.add(id)
      continue
    }
    const next = new Map<string, Configuration>()
    const seen = new Set<string>()
    const work = configurations
    for (let each = work.pop(); each !== undefined; each = work.pop()) {
      if (++steps > stepsMax) return { verdict: 'undecided', at: null }
      if (each.early.includes(id)) {
        const settled = { state: each.state, early: each.early.filter((other) => other !== id) }
        next.set(nameOf(settled), settled)
        continue
      }
      for (const other of pending) {
        if (each.early.includes(other)) continue
        const state = effectOf(known[other]!, each.state)
        if (state === null) continue
        const further = { state, early: [...each.early, other].sort((a, b) => a - b) }
        const name = nameOf(further)
        if (seen.has(name)) continue
        seen.add(name)
        work.push(further)
      }
    }
    if (next.size === 0) return { verdict: 'not linearizable', at: known[id]! }
    pending.delete(id)
    configurations = [...next.values()]
  }
  return { verdict: 'linearizable', at: null }
}

function nameOf({ state, early }: Configuration): string {
  return `${early.join(' ')}/${state}`
}

/** The state after the call; null where its answer says that it cannot have happened now. */
function effectOf({ kind, value, expect, result, done }: Operation, state: string): string | null {
  switch (kind) {
    case 'read':
      return result === state ? state : null
    case 'put':
      return value
    case 'add': {
      const after = String(Number(state) + Number(value))
      return result === null || result === after ? after : null
    }
    default: {
      const fits = state === expect
      if (result === null) return fits ? value : state
      if (done !== fits) return null
      if (fits) return value
      return result === state ? state : null
    }
  }
}

/** One call on a list of words that are all different: an `append` makes it `length` long; a read found it so. */
export interface ListCall {
  kind: 'append' | 'read'
  /** Of an `append`. */
  word: string
  start: number
  end: number
  /** Null where nobody knows. */
  length: number | null
  /** Of a read. */
  words: readonly string[]
}

/**
 * What is wrong with the calls on a list that is `final` in the end; null: nothing. The list itself is the order of all
 * appends, so that calls and answers need only be compared with it.
 */
export function checkList(calls: readonly ListCall[], final: readonly string[]): string | null {
  const places = new Map<string, number>()
  for (const [at, word] of final.entries()) {
    if (places.has(word)) return `"${word}" is there twice`
    places.set(word, at + 1)
  }
  /** By place: the list had `before` words when the call had its effect, and then `after`. */
  const seen: { before: number; after: number; start: number; end: number; name: string }[] = []
  for (const { kind, word, start, end, length, words } of calls) {
    if (kind === 'read') {
      if (length === null) continue
      for (const [at, each] of words.entries()) {
        if (final[at] !== each) return `a read found "${each}" at ${at + 1}, where "${final[at]}" is`
      }
      seen.push({ before: words.length, after: words.length, start, end, name: `a read of ${words.length} words` })
      continue
    }
    const place = places.get(word)
    if (place === undefined) {
      if (end !== Number.POSITIVE_INFINITY) return `"${word}" was acknowledged and is lost`
      continue
    }
    if (length !== null && length !== place) return `"${word}" was answered with place ${length} and stands at ${place}`
    seen.push({ before: place - 1, after: place, start, end, name: `"${word}"` })
  }
  return checkOrder(seen)
}

/** Who began after another one's end saw at least as much. */
function checkOrder(
  seen: readonly { before: number; after: number; start: number; end: number; name: string }[],
): string | null {
  const begins = seen.toSorted((a, b) => a.start - b.start)
  const ends = seen.filter(({ end }) => end !== Number.POSITIVE_INFINITY).sort((a, b) => a.end - b.end)
  let most = { after: 0, name: '' }
  let at = 0
  for (const each of begins) {
    while (at < ends.length && ends[at]!.end < each.start) {
      if (ends[at]!.after > most.after) most = ends[at]!
      at++
    }
    if (each.before < most.after) return `${each.name} was asked after the answer to ${most.name}, and did not see it`
  }
  return null
}
