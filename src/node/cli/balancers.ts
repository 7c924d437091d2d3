import type { BalancerList, RuleInfo } from '../ranges/steering.ts'
import { askNode } from './ask.ts'
import { EXIT } from './exit.ts'
import type { ConfigFlags } from './settings.ts'
import { formatTable } from './table.ts'

type Flags = ConfigFlags & { json?: boolean }

/** Prints what each balancer is, and what they all would do now. */
export async function balancers(flags: Flags): Promise<number> {
  return print(flags, await askList(flags), formatBalancers)
}

/** Prints all rules in force. */
export async function rules(flags: Flags): Promise<number> {
  const { rules: found } = await askList(flags)
  return print(flags, found, formatRules)
}

export async function setRule(name: string, value: string, flags: Flags): Promise<number> {
  const rule = await askNode<RuleInfo>(flags, {
    ...{ to: 'set a rule', method: 'PUT', path: `/balancers/rules/${encodeURIComponent(name)}` },
    body: { value },
  })
  return print(flags, rule, sentence)
}

export async function unsetRule(name: string, flags: Flags): Promise<number> {
  const rule = await askNode<RuleInfo>(flags, {
    ...{ to: 'unset a rule', method: 'DELETE', path: `/balancers/rules/${encodeURIComponent(name)}` },
  })
  return print(flags, rule, sentence)
}

function askList(flags: Flags): Promise<BalancerList> {
  return askNode<BalancerList>(flags, { to: 'list the balancers', path: '/balancers' })
}

function print<Shown>(flags: Flags, shown: Shown, format: (shown: Shown) => string): number {
  process.stdout.write(flags.json ? `${JSON.stringify(shown, null, 2)}\n` : format(shown))
  return EXIT.ok
}

export function formatBalancers({ balancers: all, plan }: BalancerList): string {
  const rows = all.map(({ name, enabled, source }) => {
    const items = plan.filter(({ balancer }) => balancer === name).length
    return [name, enabled ? 'on' : 'off', source, items === 0 ? '-' : String(items)]
  })
  const table = formatTable([['BALANCER', 'STATE', 'SOURCE', 'WOULD DO'], ...rows])
  if (plan.length === 0) return `${table}\nThey would do nothing now.\n`
  const lines = plan.map(({ balancer, range, node, action, reason }) => [range, balancer, action, node, reason])
  return `${table}\nThey would do now:\n${formatTable([['RANGE', 'BALANCER', 'ACTION', 'BY', 'REASON'], ...lines])}`
}

export function formatRules(found: readonly RuleInfo[]): string {
  const rows = found.map(({ name, value, source, otherwise }) => {
    return [name, value === '' ? '-' : value, source, source === 'set' ? otherwise : '-']
  })
  return formatTable([['RULE', 'VALUE', 'SOURCE', 'IF UNSET'], ...rows])
}

function sentence({ name, value, source }: RuleInfo): string {
  return `${name} is ${value === '' ? 'empty' : value} (${source})\n`
}
