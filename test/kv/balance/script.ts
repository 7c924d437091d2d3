import {
  balance,
  checkRules,
  decommissionPlan,
  explain,
  type Proposal,
  RULES,
  type Rules,
  type ServiceRules,
} from '../../../src/kv/balance/index.ts'
import { parseCommand } from '../../golden.ts'
import { Cluster, type ModelRange } from './model.ts'

type Options = Record<string, string | number | true>

/** Says what balancers propose, and does it when told to. */
export class ScriptedCluster {
  readonly #cluster = new Cluster()
  #rules: Rules = { ...RULES, services: {} }
  #last: Proposal[] = []

  run(command: string): string[] {
    const { name, options } = parseCommand(command)
    const [id = ''] = Object.keys(options)
    try {
      return this.#execute(name, id, options)
    } catch (error) {
      return [(error as Error).message]
    }
  }

  #execute(name: string, id: string, options: Options): string[] {
    switch (name) {
      case 'store':
      case 'stores':
        return this.#stores(options)
      case 'range':
        return this.#range(id, options)
      case 'set':
        return this.#set(id, options)
      case 'rule':
        return this.#rule(options)
      case 'switch':
        this.#rules = { ...this.#rules, enabled: { ...this.#rules.enabled, [id]: options.on === true } }
        checkRules(this.#rules)
        return []
      case 'plan':
        return this.#plan(typeof options.of === 'string' ? options.of : null)
      case 'do':
        return this.#do()
      case 'pass':
        this.#cluster.pass(Number(options.seconds ?? 0) * 1_000 + Number(options.minutes ?? 0) * 60_000, !options.slow)
        return []
      case 'settle':
        return this.#settle()
      case 'show':
        return [...this.#cluster.ranges.values()].sort(byId).map(show)
      case 'explain':
        return explain(this.#cluster.landscape(), this.#cluster.nowMs, this.#rules, id)
      case 'decommission-plan':
        return this.#decommission(id)
      default:
        return [`unknown command ${name}`]
    }
  }

  #stores(options: Options): string[] {
    const ids = Object.keys(options).filter((key) => options[key] === true)
    for (const id of ids) {
      this.#cluster.addStore(id, {
        ...(options.zone === undefined ? {} : { zone: String(options.zone) }),
        ...(options.roles === undefined ? {} : { roles: String(options.roles).split(',') }),
      })
    }
    return []
  }

  #range(id: string, options: Options): string[] {
    const list = (value: Options[string] | undefined) => (value === undefined ? [] : String(value).split(','))
    const service = (options.service ?? 'inbox') as 'inbox'
    const range = this.#cluster.addRange(id, service, list(options.voters), list(options.learners))
    if (options.start !== undefined) range.descriptor.start = bytes(options.start)
    if (options.end !== undefined) range.descriptor.end = bytes(options.end)
    return this.#set(id, options)
  }

  /** Changes a store or a range. */
  #set(id: string, options: Options): string[] {
    const store = this.#cluster.stores.get(id)
    if (store !== undefined) {
      if (options.dead !== undefined) Object.assign(store, { alive: false, deadForMs: minutes(options.dead) })
      if (options.alive) Object.assign(store, { alive: true, deadForMs: 0 })
      if (options.draining) store.draining = true
      if (options.decommissioning) store.decommissioning = true
      if (options.roles !== undefined) store.roles = String(options.roles).split(',')
      if (options.full !== undefined) store.full = options.full !== 'no'
      if (options.freeMiB !== undefined) store.freeBytes = Number(options.freeMiB) * 2 ** 20
      this.#cluster.pass(0, false)
      return []
    }
    const range = this.#cluster.ranges.get(id)!
    if (options.leader !== undefined) range.leaderStore = options.leader === 'none' ? null : String(options.leader)
    if (options.sizeMiB !== undefined) range.sizeBytes = Number(options.sizeMiB) * 2 ** 20
    if (options.writes !== undefined) range.writeLoad = Number(options.writes)
    if (options.queries !== undefined) range.queryLoad = Number(options.queries)
    if (options.hint !== undefined) range.splitHint = bytes(options.hint)
    if (options.middle !== undefined) range.middleKey = bytes(options.middle)
    if (options.busy) range.busy = true
    if (options.changed !== undefined) range.changedForMs = Number(options.changed) * 1_000
    if (options.led !== undefined) range.ledForMs = Number(options.led) * 1_000
    for (const [key, value] of Object.entries(options)) {
      if (key.startsWith('lag.')) range.lag[key.slice(4)] = Number(value)
    }
    return []
  }

  #rule(options: Options): string[] {
    const { service, ...rest } = options
    const values: Record<string, unknown> = {}
    for (const [key, value] of Object.entries(rest)) {
      if (key === 'learnersOn') values[key] = String(value).split(',')
      else if (key === 'preSplit') values[key] = String(value).split(',').map(bytes)
      else if (key.endsWith('MiB')) values[`${key.slice(0, -3)}Bytes`] = Number(value) * 2 ** 20
      else values[key] = value
    }
    if (service === undefined) this.#rules = { ...this.#rules, ...values }
    else {
      const own: Partial<ServiceRules> = { ...this.#rules.services[String(service)], ...values }
      this.#rules = { ...this.#rules, services: { ...this.#rules.services, [String(service)]: own } }
    }
    checkRules(this.#rules)
    return []
  }

  #plan(self: string | null): string[] {
    this.#last = balance(this.#cluster.landscape(self), this.#cluster.nowMs, this.#rules)
    return this.#last.length === 0 ? ['nothing to do'] : this.#last.map(sayProposal)
  }

  #do(): string[] {
    const lines = this.#plan(null)
    for (const proposal of this.#last) this.#cluster.apply(proposal)
    return lines
  }

  /** Does what is proposed until nothing more is; a minute passes after each round, and learners catch up. */
  #settle(): string[] {
    const lines: string[] = []
    for (let round = 1; round <= 100; round++) {
      const said = this.#do()
      if (this.#last.length === 0) return [...lines, `at rest after ${round - 1} rounds`]
      lines.push(...said.map((line) => `${round}: ${line}`))
      this.#cluster.pass(60_000)
    }
    return [...lines, 'no rest after 100 rounds']
  }

  #decommission(id: string): string[] {
    const plan = decommissionPlan(this.#cluster.landscape(), this.#cluster.nowMs, this.#rules, id)
    const lines = [`${plan.replicas} replicas and ${plan.leaders} leaders left`]
    if (plan.done) lines.push('done')
    lines.push(...plan.refused.map((why) => `refused: ${why}`))
    lines.push(...plan.warnings.map((why) => `warning: ${why}`))
    return [...lines, ...plan.remaining.map(({ range, role, waits }) => `${range} ${role}: waits for ${waits}`)]
  }
}

function sayProposal({ balancer, range, store, action, reason }: Proposal): string {
  return `${store} ${range} ${balancer}: ${sayAction(action)} (${reason})`
}

function sayAction(action: Proposal['action']): string {
  switch (action.type) {
    case 'change':
      return action.changes.map(({ store, to }) => `${store}=${to}`).join(' ')
    case 'transfer':
      return `${action.to} leads`
    case 'split':
      return `split at ${text(action.key)}`
    case 'merge':
      return `merge with ${action.right}`
  }
}

function show(range: ModelRange): string {
  const { id, start, end, replicas } = range.descriptor
  const names = replicas.map(({ store, role }) => {
    const late = (range.lag[store] ?? 0) > 0 ? '*' : ''
    return `${store}${store === range.leaderStore ? '!' : ''}${role === 'learner' ? '(learner)' : ''}${late}`
  })
  const boundary = start === undefined && end === undefined ? '' : ` [${text(start)}, ${text(end)})`
  return `${id}${boundary}: ${names.join(' ')}`
}

function byId(a: ModelRange, b: ModelRange): number {
  return a.descriptor.id < b.descriptor.id ? -1 : 1
}

function bytes(value: string | number | true): Uint8Array {
  return Buffer.from(String(value))
}

function text(key: Uint8Array | undefined): string {
  return key === undefined ? '' : Buffer.from(key).toString()
}

function minutes(value: string | number | true): number {
  return Number(value) * 60_000
}
