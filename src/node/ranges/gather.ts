import type { Clock } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import { explain, type Landscape, type Rules } from '../../kv/balance/index.ts'
import type { RangeStats } from '../../kv/store/figures.ts'
import type { Control, Question } from '../cluster/control.ts'
import type { Member } from '../cluster/roster.ts'
import type { Names } from './names.ts'
import type { HeardRange } from './tidings.ts'
import {
  type AskedNode,
  mergePages,
  pageOf,
  type RangeInfo,
  type RangeList,
  type RangeQuery,
  rangeOf,
  type ToldPage,
} from './views.ts'

export interface GatherOptions {
  control: Control
  members(): readonly Member[]
  names: Names
  /** Of this store. */
  ranges(): RangeStats[]
  heard(): HeardRange[]
  /** All, as balancers see it. */
  landscape(): Landscape
  rules(): Rules
  clock: Clock
}

export interface Explained {
  range: RangeInfo
  nodes: AskedNode[]
  sentences: string[]
}

const ASK = 'ranges'
/** Ranges in one answer. */
export const PAGE_MAX = 1_000

/** The ranges of all nodes, asked for over the control channel. A node that does not answer is named. */
export class Gather {
  readonly #options: GatherOptions

  constructor(options: GatherOptions) {
    this.#options = options
    options.control.handle(ASK, (question) => pageOf(options.ranges(), queryOf(question)))
  }

  async list(query: RangeQuery): Promise<RangeList> {
    const { members, names, heard } = this.#options
    const asked = members().filter(({ state }) => state !== 'left')
    const pages = new Map<string, ToldPage>()
    const nodes = await Promise.all(asked.map((member) => this.#ask(member, query, pages)))
    const { groups, next } = mergePages(pages, heard(), query)
    const nameOf = (store: string) => names.of(store)
    return { nodes, ranges: groups.map((group) => rangeOf(group, nameOf, (store) => pages.has(store))), next }
  }

  /** Throws NOT_FOUND where nobody knows the range. */
  async range(id: string): Promise<{ range: RangeInfo; nodes: AskedNode[] }> {
    const { ranges, nodes } = await this.list({ service: null, id, after: '', limit: 1 })
    const range = ranges[0]
    if (range === undefined) {
      const silent = nodes.filter(({ error }) => error !== null).map(({ name }) => name)
      const lacking = silent.length === 0 ? '' : `, as far as is known without ${silent.join(', ')}`
      throw new BrokerError('NOT_FOUND', `There is no range "${id}"${lacking}`)
    }
    return { range, nodes }
  }

  async explain(id: string): Promise<Explained> {
    const { names, landscape, rules, clock } = this.#options
    const { range, nodes } = await this.range(id)
    const sentences = explain(landscape(), clock.now(), rules(), id)
    for (const { node, note } of range.replicas) if (note !== 'ok') sentences.push(`The replica on ${node}: ${note}`)
    return { range, nodes, sentences: sentences.map((sentence) => names.inText(sentence)) }
  }

  async #ask(member: Member, query: RangeQuery, pages: Map<string, ToldPage>): Promise<AskedNode> {
    const { name, id, state, self } = member
    const told = (error: string | null): AskedNode => ({ name, id, state, error })
    if (state === 'dead') return told('it is dead')
    try {
      const page = self ? pageOf(this.#options.ranges(), query) : await this.#askOther(id, query)
      pages.set(id, page)
      return told(null)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return told(this.#options.names.inText(error.message))
    }
  }

  async #askOther(id: HostId, query: RangeQuery): Promise<ToldPage> {
    const page = (await this.#options.control.ask(id, { ask: ASK, ...query })) as Partial<ToldPage>
    if (!Array.isArray(page.ranges)) throw new BrokerError('UNAVAILABLE', 'Its answer is not understood')
    return page as ToldPage
  }
}

/** Bounded, whatever is asked. */
function queryOf({ service, id, after, limit }: Question): RangeQuery {
  const text = (value: unknown) => (typeof value === 'string' ? value : null)
  const most = typeof limit === 'number' && limit >= 1 ? Math.min(PAGE_MAX, Math.floor(limit)) : PAGE_MAX
  return { service: text(service), id: text(id), after: text(after) ?? '', limit: most }
}
