import { unreachable } from '../../base/assert.ts'
import type { InboxId } from '../../base/ids.ts'
import type { GroupMember, Receiver } from '../contract.ts'
import { packOptions, unpackOptions } from '../options.ts'
import { HashIndex, mix, Records } from './arena.ts'
import { Interner } from './interner.ts'

/** The trie's list that the route is in; see `trie.ts`. */
const LIST = 0
/** Name of the node, inbox, plugin's receiver or group member. */
const NAME = 1
/** `id of the group's or the plugin broker's name | kind 3 bits`. */
const KIND = 2
/** Packed options of an inbox, count of a group's node. */
const DETAIL = 3
const INCARNATION_HIGH = 4
const INCARNATION_LOW = 5
const NEXT = 6
const PREVIOUS = 7
const CHAIN = 8
/** Number of the load that saw the route last. */
const STAMP = 9
const STRIDE = 10

export const KIND_NODE = 0
export const KIND_INBOX = 1
export const KIND_PLUGIN = 2
export const KIND_GROUP_NODE = 3
export const KIND_GROUP_INBOX = 4
/** Added to the kinds of a group where it is ordered. */
const ORDERED = 2
const KIND_BITS = 3
const KIND_MASK = 7

/**
 * The routes of all filters: doubly linked lists of records, one list a filter, found by (list, receiver).
 *
 * A million inboxes on one filter and a million filters with one inbox cost the same: no list is ever searched.
 */
export class RouteLists {
  readonly #records = new Records(STRIDE)
  readonly #index = new HashIndex(this.#records, CHAIN, (id) => this.#hash(id))
  readonly #names: Interner

  constructor(seed: number) {
    this.#names = new Interner(seed)
  }

  get count(): number {
    return this.#records.count
  }

  /** Above every id in use: for walks over all routes. */
  get limit(): number {
    return this.#records.limit
  }

  get bytes(): number {
    return this.#records.bytes + this.#index.bytes + this.#names.bytes
  }

  /** The route of `receiver` in `list`; 0 = none. */
  find(list: number, receiver: Receiver): number {
    const name = this.#names.find(nameOf(receiver))
    const owner = ownerOf(receiver)
    const ownerId = owner === '' ? 0 : this.#names.find(owner)
    if (name === 0 || (owner !== '' && ownerId === 0)) return 0
    const kind = (ownerId << KIND_BITS) | kindOf(receiver)
    for (let id = this.#index.head(hashOf(list, name, kind)); id !== 0; id = this.#records.get(id, CHAIN)) {
      const same = this.#records.get(id, LIST) === list && this.#records.get(id, NAME) === name
      if (same && this.#records.get(id, KIND) === kind) return id
    }
    return 0
  }

  /** Adds a route at the front of `list`, whose first one was `head`; returns the new first one. */
  add(list: number, head: number, receiver: Receiver): number {
    const id = this.#records.alloc()
    const owner = ownerOf(receiver)
    const ownerId = owner === '' ? 0 : this.#names.acquire(owner)
    this.#records.set(id, LIST, list)
    this.#records.set(id, NAME, this.#names.acquire(nameOf(receiver)))
    this.#records.set(id, KIND, (ownerId << KIND_BITS) | kindOf(receiver))
    this.#records.set(id, NEXT, head)
    if (head !== 0) this.#records.set(head, PREVIOUS, id)
    this.#index.insert(this.#hash(id), id)
    return id
  }

  /** Writes what is not in the key of a route; true where a match looks different for it. */
  update(id: number, receiver: Receiver, incarnation: number, stamp: number): boolean {
    const detail = detailOf(receiver) | 0
    const high = Math.floor(incarnation / 0x1_0000_0000)
    const low = incarnation | 0
    const newer = this.#records.get(id, INCARNATION_HIGH) !== high || this.#records.get(id, INCARNATION_LOW) !== low
    const changed = this.#records.get(id, DETAIL) !== detail || (newer && namesInbox(this.kind(id)))
    this.#records.set(id, DETAIL, detail)
    this.#records.set(id, INCARNATION_HIGH, high)
    this.#records.set(id, INCARNATION_LOW, low)
    this.#records.set(id, STAMP, stamp)
    return changed
  }

  /** Takes a route out of its list, whose first one was `head`; returns the first one of what is left. */
  remove(id: number, head: number): number {
    const next = this.#records.get(id, NEXT)
    const previous = this.#records.get(id, PREVIOUS)
    if (next !== 0) this.#records.set(next, PREVIOUS, previous)
    if (previous !== 0) this.#records.set(previous, NEXT, next)
    this.#index.remove(this.#hash(id), id)
    const owner = this.#records.get(id, KIND) >>> KIND_BITS
    if (owner !== 0) this.#names.release(owner)
    this.#names.release(this.#records.get(id, NAME))
    this.#records.free(id)
    return previous === 0 ? next : head
  }

  next(id: number): number {
    return this.#records.get(id, NEXT)
  }

  /** The list of the route; 0 where `id` is not in use. */
  list(id: number): number {
    return this.#records.get(id, NAME) === 0 ? 0 : this.#records.get(id, LIST)
  }

  stamp(id: number): number {
    return this.#records.get(id, STAMP)
  }

  /** One of the KIND_ constants: a group's without its order. */
  kind(id: number): number {
    const kind = this.#records.get(id, KIND) & KIND_MASK
    return kind > KIND_GROUP_INBOX ? kind - ORDERED : kind
  }

  ordered(id: number): boolean {
    return (this.#records.get(id, KIND) & KIND_MASK) > KIND_GROUP_INBOX
  }

  /** The same number for the routes of one group: its name and its order, as long as they live. */
  groupKey(id: number): number {
    const kind = this.#records.get(id, KIND)
    return ((kind >>> KIND_BITS) << 1) | ((kind & KIND_MASK) > KIND_GROUP_INBOX ? 1 : 0)
  }

  nameId(id: number): number {
    return this.#records.get(id, NAME)
  }

  name(id: number): string {
    return this.#names.text(this.#records.get(id, NAME))
  }

  /** Name of the group or of the plugin's broker. */
  owner(id: number): string {
    return this.#names.text(this.#records.get(id, KIND) >>> KIND_BITS)
  }

  detail(id: number): number {
    return this.#records.get(id, DETAIL) >>> 0
  }

  incarnation(id: number): number {
    const high = this.#records.get(id, INCARNATION_HIGH)
    return high * 0x1_0000_0000 + (this.#records.get(id, INCARNATION_LOW) >>> 0)
  }

  member(id: number): GroupMember {
    return this.kind(id) === KIND_GROUP_NODE
      ? { kind: 'node', node: this.name(id), count: this.detail(id) }
      : { kind: 'inbox', inbox: this.name(id) as InboxId, incarnation: this.incarnation(id) }
  }

  receiver(id: number): Receiver {
    const kind = this.kind(id)
    if (kind === KIND_NODE) return { kind: 'node', node: this.name(id) }
    if (kind === KIND_PLUGIN) return { kind: 'plugin', broker: this.owner(id), receiver: this.name(id) }
    if (kind !== KIND_INBOX) {
      return { kind: 'group', group: this.owner(id), ordered: this.ordered(id), member: this.member(id) }
    }
    return { kind: 'inbox', inbox: this.name(id) as InboxId, options: unpackOptions(this.detail(id)) }
  }

  #hash(id: number): number {
    return hashOf(this.#records.get(id, LIST), this.#records.get(id, NAME), this.#records.get(id, KIND))
  }
}

function hashOf(list: number, name: number, kind: number): number {
  return mix(mix(list, name), kind)
}

/** Whether a match carries the incarnation. */
function namesInbox(kind: number): boolean {
  return kind === KIND_INBOX || kind === KIND_GROUP_INBOX
}

function kindOf(receiver: Receiver): number {
  switch (receiver.kind) {
    case 'node':
      return KIND_NODE
    case 'inbox':
      return KIND_INBOX
    case 'plugin':
      return KIND_PLUGIN
    case 'group':
      return (receiver.member.kind === 'node' ? KIND_GROUP_NODE : KIND_GROUP_INBOX) + (receiver.ordered ? ORDERED : 0)
    default:
      return unreachable(receiver)
  }
}

function nameOf(receiver: Receiver): string {
  switch (receiver.kind) {
    case 'node':
      return receiver.node
    case 'inbox':
      return receiver.inbox
    case 'plugin':
      return receiver.receiver
    case 'group':
      return receiver.member.kind === 'node' ? receiver.member.node : receiver.member.inbox
    default:
      return unreachable(receiver)
  }
}

/** The second name of a receiver; '' where it has one only. */
function ownerOf(receiver: Receiver): string {
  if (receiver.kind === 'group') return receiver.group
  return receiver.kind === 'plugin' ? receiver.broker : ''
}

function detailOf(receiver: Receiver): number {
  if (receiver.kind === 'inbox') return packOptions(receiver.options)
  return receiver.kind === 'group' && receiver.member.kind === 'node' ? receiver.member.count : 0
}
