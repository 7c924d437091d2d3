import { BrokerError } from '../../base/errors.ts'
import { BALANCERS, type BalancerName } from './contract.ts'

/** What balancers strive for, kept in the `meta` range. */
export interface Rules {
  /** Switches; a balancer that is not named is on, except `merge`. `catch-up` finishes what others began: never off. */
  enabled: Partial<Record<BalancerName, boolean>>
  /** By service; what is not named is as in {@link SERVICE_RULES}. */
  services: Readonly<Record<string, Partial<ServiceRules>>>
  /** A store that is dead for longer is not expected back: its replicas are replaced. */
  replaceDeadAfterMs: number
  /** A range that changed, or a leader that was elected, less long ago is left alone by whatever can wait. */
  coolDownMs: number
  /** Two cold neighbours are merged when neither has changed for so long. */
  mergeCoolDownMs: number
  /** Replicas being copied at one time: in the cluster, and to one store. */
  copiesMax: number
  copiesPerStoreMax: number
  /** Proposals in one round, of all stores together, beside those that empty a draining store. */
  proposalsMax: number
  /** A replica that is at most so many entries behind has caught up. */
  caughtUpEntries: number
  /** A store with less free space gets neither replicas nor leaders. */
  freeBytesMin: number
  /** Differences of replica or leader counts below max(2, this part of the mean) are left alone, in percent. */
  slackPercent: number
}

export interface ServiceRules {
  /** Wished; there are never more than live stores, and always an odd number. */
  voters: number
  /** Every store with one of these roles holds a replica: a learner, where it is no voter. */
  learnersOn: readonly string[]
  /** A larger range is split in the middle. */
  splitBytes: number
  /** Commands and queries a second: a range with more is split where the service hints. */
  splitLoad: number
  /** No more ranges of this service than that, whatever their size or load. 1 = never split. */
  rangesMax: number
  /** Keys that begin a range, ascending. */
  preSplit: readonly Uint8Array[]
  /** Neighbours that are smaller together, and under a quarter of `splitLoad`, may be merged. */
  mergeBytes: number
}

export const SERVICE_RULES: ServiceRules = {
  voters: 3,
  learnersOn: [],
  splitBytes: 512 * 2 ** 20,
  splitLoad: 20_000,
  rangesMax: 1_024,
  preSplit: [],
  mergeBytes: 64 * 2 ** 20,
}

export const RULES: Rules = {
  enabled: {},
  // The cluster's own records are one small range: a copy more than a majority needs costs nothing.
  services: { dist: { learnersOn: ['mqtt'] }, cluster: { voters: 5, rangesMax: 1 } },
  replaceDeadAfterMs: 15 * 60_000,
  coolDownMs: 30_000,
  mergeCoolDownMs: 3_600_000,
  copiesMax: 8,
  copiesPerStoreMax: 2,
  proposalsMax: 16,
  caughtUpEntries: 1_000,
  freeBytesMin: 2 * 2 ** 30,
  slackPercent: 10,
}

/** Balancers that do nothing unless they are switched on. */
const OFF: readonly BalancerName[] = ['merge']

export function isEnabled(rules: Rules, name: BalancerName): boolean {
  return name === 'catch-up' || (rules.enabled[name] ?? !OFF.includes(name))
}

export function serviceRules(rules: Rules, service: string): ServiceRules {
  return { ...SERVICE_RULES, ...rules.services[service] }
}

/** Throws CONFIG_INVALID, naming the rule, where a rule makes no sense or two would undo each other's work. */
export function checkRules(rules: Rules): void {
  for (const name of Object.keys(rules.enabled)) {
    if (!BALANCERS.includes(name as BalancerName)) refuse(`enabled.${name}`, `is none of ${BALANCERS.join(', ')}`)
  }
  if (rules.enabled['catch-up'] === false) refuse('enabled.catch-up', 'cannot be switched off')
  for (const [name, value] of Object.entries(rules)) {
    if (typeof value === 'number' && !(value >= 0)) refuse(name, `is ${value} and must be 0 or more`)
  }
  for (const name of ['copiesMax', 'copiesPerStoreMax', 'proposalsMax'] as const) {
    if (rules[name] < 1) refuse(name, `is ${rules[name]} and must be 1 or more`)
  }
  for (const service of Object.keys(rules.services)) checkService(service, serviceRules(rules, service))
}

function checkService(service: string, rules: ServiceRules): void {
  const { voters, rangesMax, splitBytes, mergeBytes, preSplit } = rules
  if (!Number.isInteger(voters) || voters < 1 || voters % 2 === 0 || voters > 9) {
    refuse(`services.${service}.voters`, `is ${voters} and must be 1, 3, 5, 7 or 9`)
  }
  if (!(rangesMax >= 1)) refuse(`services.${service}.rangesMax`, `is ${rangesMax} and must be 1 or more`)
  if (!(splitBytes > 0)) refuse(`services.${service}.splitBytes`, `is ${splitBytes} and must be positive`)
  if (!(rules.splitLoad > 0)) refuse(`services.${service}.splitLoad`, `is ${rules.splitLoad} and must be positive`)
  if (!(mergeBytes <= splitBytes / 2)) {
    refuse(`services.${service}.mergeBytes`, `is ${mergeBytes} and must not be above half of splitBytes`)
  }
  if (preSplit.length >= rangesMax) refuse(`services.${service}.preSplit`, `makes more than ${rangesMax} ranges`)
}

function refuse(rule: string, why: string): never {
  throw new BrokerError('CONFIG_INVALID', `Cannot balance by these rules: "${rule}" ${why}`)
}
