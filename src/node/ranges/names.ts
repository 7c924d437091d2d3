import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { Member } from '../cluster/roster.ts'

/** Nodes by the names that operators give them. */
export class Names {
  readonly #members: () => readonly Member[]

  constructor(members: () => readonly Member[]) {
    this.#members = members
  }

  /** The id itself where its node is not known any more. */
  of(id: string): string {
    return this.#members().find((member) => member.id === id)?.name ?? id
  }

  /** The node of that name, or of that id. */
  find(nameOrId: string): HostId {
    const members = this.#members().filter(({ state }) => state !== 'left')
    const byId = members.find(({ id }) => id === nameOrId)
    const found = byId === undefined ? members.filter(({ name }) => name === nameOrId) : [byId]
    if (found.length === 1) return found[0]!.id
    if (found.length > 1) {
      const message = `${found.length} nodes have the name "${nameOrId}": give the id, one of ${found.map(({ id }) => id).join(', ')}`
      throw new BrokerError('INVALID_ARGUMENT', message)
    }
    const known = [...new Set(members.map(({ name }) => name))].join(', ')
    throw new BrokerError('NOT_FOUND', `There is no node "${nameOrId}"; there are ${known}`)
  }

  /** Names in place of ids, in sentences. */
  inText(text: string): string {
    let named = text
    for (const { id, name } of this.#members()) named = named.replaceAll(id, name)
    return named
  }
}
