import type { Clock } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import { compareBytes, within } from '../../kv/engine/bytes.ts'
import type { RangeDescriptor } from '../../kv/range/coprocessor.ts'
import type { RangeStats } from '../../kv/store/figures.ts'
import type { Store } from '../../kv/store/store.ts'
import type { Control, Question } from '../cluster/control.ts'
import type { Gather } from './gather.ts'
import type { Names } from './names.ts'

export interface ByHandOptions {
  control: Control
  gather: Gather
  names: Names
  store: Pick<Store, 'ranges' | 'split' | 'transfer' | 'change' | 'merge'>
  self: HostId
  /** Where a cut near that key may lie; null: nowhere near. */
  cutNear(range: RangeDescriptor, key: Uint8Array): Uint8Array | null
  /** Where about half of the bytes lie before; null: nowhere. */
  middleOf(range: RangeDescriptor): Promise<Uint8Array | null>
  /** Balancers leave the range alone for some seconds. */
  hold(range: string): void
  clock: Clock
  log: Logger
}

/** What an operator wants of a range; nodes by host id. */
export type Act =
  /** `key` in hexadecimal; null: in the middle. */
  | { type: 'split'; key: string | null }
  | { type: 'transfer'; to: HostId }
  | { type: 'move'; from: HostId; to: HostId }
  | { type: 'merge' }

export interface Done {
  /** False: it goes on by itself. */
  done: boolean
  message: string
}

const ASK = 'act'
const DEADLINE_MS = 60_000
/** A move that takes longer goes on without whoever asked. */
const MOVE_ANSWER_MS_MAX = 20_000
const LOOK_MS = 100
/** Entries: who lacks no more is as good as caught up. */
const CAUGHT_UP = 100
/** A copy that takes longer is given up: the balancers see to what is left of it. */
const COPY_MS_MAX = 3_600_000

/** Does what operators ask of a range, on the store that leads it. */
export class ByHand {
  readonly #options: ByHandOptions

  constructor(options: ByHandOptions) {
    this.#options = options
    options.control.handle(ASK, (question) => this.#perform(...actOf(question)))
  }

  /** From whichever node. */
  async act(range: string, act: Act): Promise<Done> {
    const { gather, control, self } = this.#options
    const { range: found } = await gather.range(range)
    if (found.leader === null) throw new BrokerError('NO_QUORUM', `Range "${range}" has no leader: nothing can be done`)
    const leader = found.leader.id as HostId
    if (leader === self) return await this.#perform(range, act)
    return (await control.ask(leader, { ask: ASK, range, act }, DEADLINE_MS)) as Done
  }

  async #perform(id: string, act: Act): Promise<Done> {
    const { names, store } = this.#options
    const { descriptor } = this.#led(id)
    switch (act.type) {
      case 'split':
        return await this.#split(descriptor, act.key)
      case 'transfer': {
        const replica = descriptor.replicas.find(({ store: at }) => at === act.to)
        if (replica?.role !== 'voter') throw wrong(`Node ${names.of(act.to)} holds no voter of range "${id}"`)
        await store.transfer(id, act.to)
        return { done: true, message: `${names.of(act.to)} leads range "${id}"` }
      }
      case 'move':
        return await this.#move(descriptor, act.from, act.to)
      case 'merge':
        return await this.#merge(descriptor)
    }
  }

  async #split(descriptor: RangeDescriptor, hex: string | null): Promise<Done> {
    const { store, cutNear, middleOf } = this.#options
    const { id, service, start } = descriptor
    const key = hex === null ? await middleOf(descriptor) : new Uint8Array(Buffer.from(hex, 'hex'))
    if (key === null)
      throw wrong(`Range "${id}" has no middle: it holds too few keys, or one thing that must stay whole`)
    if (!within(key, descriptor) || (start !== undefined && compareBytes(key, start) === 0)) {
      throw wrong(`Key ${hexOf(key)} is not inside range "${id}": it must be behind its first key`)
    }
    const cut = cutNear(descriptor, key)
    if (cut === null || compareBytes(cut, key) !== 0) {
      const near = cut === null ? '' : `; the nearest is ${hexOf(cut)}`
      throw wrong(`Range "${id}" cannot be cut at ${hexOf(key)}, which would cut through what belongs together${near}`)
    }
    await store.split(service, key)
    return { done: true, message: `Range "${id}" ends before ${hexOf(key)}; a new one begins there` }
  }

  async #merge({ id, end }: RangeDescriptor): Promise<Done> {
    const { store, gather } = this.#options
    if (end === undefined) throw wrong(`Range "${id}" has no right neighbour: it is the last one`)
    const service = this.#led(id).descriptor.service
    const right = await this.#rightOf(service, hexOf(end), gather)
    if (right === null) throw new BrokerError('NOT_FOUND', `The right neighbour of range "${id}" is not known`)
    await store.merge(id, right)
    return { done: true, message: `Range "${id}" has taken over range "${right}"` }
  }

  async #rightOf(service: string, start: string, gather: Gather): Promise<string | null> {
    let after: string | null = ''
    while (after !== null) {
      const page = await gather.list({ service, id: null, after, limit: 1_000 })
      const found = page.ranges.find((range) => range.start === start)
      if (found !== undefined) return found.id
      after = page.next
    }
    return null
  }

  async #move(descriptor: RangeDescriptor, from: HostId, to: HostId): Promise<Done> {
    const { names, store, log, clock } = this.#options
    const { id, replicas } = descriptor
    const leaves = replicas.find((replica) => replica.store === from)
    const known = replicas.find((replica) => replica.store === to)
    const [fromName, toName] = [names.of(from), names.of(to)]
    if (leaves === undefined) throw wrong(`Node ${fromName} holds no replica of range "${id}"`)
    if (known?.role === 'voter') throw wrong(`Node ${toName} holds a voter of range "${id}" already`)
    const heir = from === this.#options.self ? heirOf(this.#led(id)) : null
    if (heir !== null) {
      // Who leaves should not lead: else nobody would, for the time of an election.
      await store.transfer(id, heir)
      return await this.act(id, { type: 'move', from, to })
    }
    this.#options.hold(id)
    if (known === undefined) await store.change(id, [{ store: to, role: 'learner' }])
    const finished = this.#finishMove(id, from, to, leaves.role)
    const moved = { done: true, message: `The replica of range "${id}" on ${fromName} is on ${toName} now` }
    let stop = () => {}
    const late = new Promise<null>((resolve) => {
      stop = clock.after(MOVE_ANSWER_MS_MAX, () => resolve(null))
    })
    finished.catch((error: unknown) =>
      log.warn({ range: id, err: error }, 'A replica was not moved as an operator asked'),
    )
    const ended = await Promise.race([finished.then(() => true), late])
    stop()
    if (ended !== null) return moved
    return {
      done: false,
      message: `${toName} is being given a copy of range "${id}"; when it has caught up, ${fromName} leaves`,
    }
  }

  /** The new replica catches up, then it takes the other one's place. */
  async #finishMove(id: string, from: HostId, to: HostId, role: 'voter' | 'learner'): Promise<void> {
    const { store, hold, clock } = this.#options
    const untilMs = clock.monotonic() + COPY_MS_MAX
    for (;;) {
      const { lag, lastIndex } = this.#led(id)
      const behind = lag[to] ?? null
      // Who has nothing yet lacks all of a log, however short that is.
      if (behind !== null && behind <= CAUGHT_UP && behind < lastIndex) break
      if (clock.monotonic() > untilMs) throw new BrokerError('TIMEOUT', `The copy of range "${id}" has not caught up`)
      hold(id)
      await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve))
    }
    hold(id)
    await store.change(id, [
      { store: to, role },
      { store: from, role: 'none' },
    ])
  }

  #led(id: string): RangeStats {
    const found = this.#options.store.ranges().find(({ descriptor }) => descriptor.id === id)
    if (found?.leads === true) return found
    throw new BrokerError('NOT_LEADER', `Range "${id}" has another leader by now: try again`)
  }
}

/** Another voter, that lacks next to nothing; null: there is none. */
function heirOf({ descriptor, lag, leads }: RangeStats): string | null {
  const voters = descriptor.replicas.filter(({ role }) => role === 'voter').map(({ store }) => store)
  return leads ? (voters.find((store) => (lag[store] ?? Number.POSITIVE_INFINITY) <= CAUGHT_UP) ?? null) : null
}

/** What another node asks is looked at before it is believed. */
function actOf({ range, act }: Question): [string, Act] {
  const { type, key, to, from } = (act ?? {}) as Record<string, unknown>
  const isText = (value: unknown) => typeof value === 'string'
  const valid =
    (type === 'split' && (key === null || isText(key))) ||
    (type === 'transfer' && isText(to)) ||
    (type === 'move' && isText(to) && isText(from)) ||
    type === 'merge'
  if (!isText(range) || !valid) throw wrong('This version knows no such act')
  return [range as string, act as Act]
}

function wrong(message: string): BrokerError {
  return new BrokerError('INVALID_ARGUMENT', message)
}

function hexOf(key: Uint8Array): string {
  return Buffer.from(key).toString('hex')
}
