import { BrokerError } from '../../base/errors.ts'
import type { MetaCommand } from './contract.ts'

/** All of it is held in memory on every node, so all of it is small. */
export const META_LIMITS = {
  /** Of a host id, a service, a feature, a section, a name: bytes of UTF-8. */
  nameBytesMax: 512,
  valueBytesMax: 64 * 1024,
  /** Settings together: names and values. */
  settingsBytesMax: 16 * 2 ** 20,
  settingsMax: 100_000,
  changesMax: 100,
  featuresMax: 256,
  membersMax: 256,
} as const

/** What a command counts for in queues: few are under way, and most are small. */
export const META_RANGE_BYTES = 1_024

/** Throws INVALID_ARGUMENT where a command must not be proposed. */
export function checkCommand(command: MetaCommand): void {
  for (const name of namesOf(command)) checkName(name)
  if ('incarnation' in command && !(Number.isSafeInteger(command.incarnation) && command.incarnation >= 0)) {
    refuse(`"${command.incarnation}" is no incarnation`)
  }
  if (command.type === 'register' && command.features.length > META_LIMITS.featuresMax) {
    refuse(`${command.features.length} features are more than ${META_LIMITS.featuresMax}`)
  }
  if (command.type !== 'set') return
  const { changes } = command
  if (changes.length === 0 || changes.length > META_LIMITS.changesMax) {
    refuse(`it must make 1 to ${META_LIMITS.changesMax} changes, not ${changes.length}`)
  }
  for (const { name, value, expected } of changes) {
    if (value !== null && value.length > META_LIMITS.valueBytesMax) {
      refuse(`the value of "${name}" has ${value.length} bytes, more than ${META_LIMITS.valueBytesMax}`)
    }
    if (expected !== null && !(Number.isSafeInteger(expected) && expected >= 0)) refuse(`"${expected}" is no version`)
  }
  const keys = new Set(changes.map(({ section, name }) => `${section}\0${name}`))
  if (keys.size < changes.length) refuse('it changes a setting twice')
}

function namesOf(command: MetaCommand): readonly string[] {
  switch (command.type) {
    case 'found':
      return [command.id, command.name, command.founder, ...command.services]
    case 'assign':
      return [command.service, command.store, ...(command.expected === null ? [] : [command.expected])]
    case 'created':
      return [command.service, command.store]
    case 'set':
      return command.changes.flatMap(({ section, name }) => [section, name])
    case 'register':
      return [command.host, ...command.features]
    default:
      return [command.host]
  }
}

function checkName(name: string): void {
  if (name === '' || name.includes('\0')) refuse(`"${name}" is no name: it must not be empty, nor hold U+0000`)
  if (Buffer.byteLength(name) > META_LIMITS.nameBytesMax) {
    refuse(`a name has ${Buffer.byteLength(name)} bytes, more than ${META_LIMITS.nameBytesMax}`)
  }
}

function refuse(why: string): never {
  throw new BrokerError('INVALID_ARGUMENT', `Cannot change the cluster's records: ${why}`)
}
