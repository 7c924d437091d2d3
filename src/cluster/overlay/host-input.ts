import type { UnderlayNotice } from '../underlay/contract.ts'
import type { Input } from './core/index.ts'

type HostInput = Extract<Input, { type: 'host-up' | 'host-down' }>

/** What news of the underlay mean here; null: nothing. A suspect is kept until it is dead. */
export function hostInput(notice: UnderlayNotice): HostInput | null {
  switch (notice.type) {
    case 'joined':
    case 'alive':
    case 'suspect':
    case 'dead':
    case 'left':
    case 'restarted':
    case 'changed':
    case 'forgotten': {
      const { id: host, life, state } = notice.host
      return state === 'alive' || state === 'suspect' ? { type: 'host-up', host, life } : { type: 'host-down', host }
    }
    default:
      return null
  }
}
