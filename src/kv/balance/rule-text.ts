import { BrokerError } from '../../base/errors.ts'
import { BALANCERS, type BalancerName } from './contract.ts'
import { checkRules, isEnabled, RULES, type Rules, SERVICE_RULES, type ServiceRules, serviceRules } from './rules.ts'

/** A rule as operators set it and as it is kept: a name such as `services.inbox.voters`, and a text. */
export type RuleText = readonly [name: string, text: string]

/**
 * The rules in force: the built-in ones with these in their place. Throws CONFIG_INVALID, naming the rule, where one
 * cannot be read or all together make no sense.
 *
 *     enabled.merge = true      coolDownMs = 60000      services.dist.learnersOn = mqtt,dist
 *     services.inbox.preSplit = 61,6d    (keys in hexadecimal)
 */
export function rulesFrom(texts: Iterable<RuleText>): Rules {
  const rules: Rules = { ...RULES, enabled: { ...RULES.enabled }, services: {} }
  const services: Record<string, Partial<ServiceRules>> = {}
  for (const [service, own] of Object.entries(RULES.services)) services[service] = { ...own }
  for (const [name, text] of texts) setRule(rules, services, name, text)
  const result = { ...rules, services }
  checkRules(result)
  return result
}

/** All rules with their texts, each of which {@link rulesFrom} reads back: those of these services too. */
export function textsFrom(rules: Rules, services: readonly string[]): RuleText[] {
  const switches = BALANCERS.map((name): RuleText => [`enabled.${name}`, String(isEnabled(rules, name))])
  const figures = Object.entries(rules).flatMap(([name, value]): RuleText[] =>
    typeof value === 'number' ? [[name, String(value)]] : [],
  )
  const own = services.flatMap((service) =>
    Object.entries(serviceRules(rules, service)).map(([rule, value]): RuleText => {
      return [`services.${service}.${rule}`, textOf(value as ServiceRules[keyof ServiceRules])]
    }),
  )
  return [...switches, ...figures, ...own]
}

function textOf(value: ServiceRules[keyof ServiceRules]): string {
  if (typeof value === 'number') return String(value)
  return value.map((item) => (typeof item === 'string' ? item : Buffer.from(item).toString('hex'))).join()
}

function setRule(rules: Rules, services: Record<string, Partial<ServiceRules>>, name: string, text: string): void {
  const [first = '', second = '', third = '', ...rest] = name.split('.')
  if (rest.length > 0) refuse(name, 'is no rule')
  if (first === 'enabled' && BALANCERS.includes(second as BalancerName) && third === '') {
    if (text !== 'true' && text !== 'false') refuse(name, `is "${text}" and must be true or false`)
    rules.enabled[second as BalancerName] = text === 'true'
  } else if (first === 'services' && /^[a-z]+$/.test(second) && Object.hasOwn(SERVICE_RULES, third)) {
    const value = serviceValue(name, third as keyof ServiceRules, text)
    services[second] = { ...services[second], [third]: value }
  } else if (second === '' && Object.hasOwn(RULES, first) && typeof RULES[first as keyof Rules] === 'number') {
    Object.assign(rules, { [first]: numberOf(name, text) })
  } else refuse(name, 'is no rule')
}

function serviceValue(name: string, rule: keyof ServiceRules, text: string): ServiceRules[keyof ServiceRules] {
  const items = text === '' ? [] : text.split(',')
  if (rule === 'learnersOn') return items
  return rule === 'preSplit' ? items.map((item) => keyOf(name, item)) : numberOf(name, text)
}

function numberOf(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) refuse(name, `is "${text}" and must be a whole number`)
  return Number(text)
}

function keyOf(name: string, text: string): Uint8Array {
  if (!/^([0-9a-f]{2})+$/i.test(text)) refuse(name, `holds "${text}" and must hold keys in hexadecimal`)
  return Uint8Array.from(text.match(/../g)!, (pair) => Number.parseInt(pair, 16))
}

function refuse(name: string, why: string): never {
  throw new BrokerError('CONFIG_INVALID', `Cannot balance by these rules: "${name}" ${why}`)
}
