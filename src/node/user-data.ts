import type { Engine } from '../kv/engine/engine.ts'

const FAMILIES = ['dist', 'inbox', 'retain'] as const

/** Whether anything of users is stored: a session, a subscription, a retained message. */
export function hasStoredData(engine: Engine): boolean {
  return FAMILIES.some((family) => {
    const cursor = engine.cursor(family, {})
    try {
      return cursor.next()
    } finally {
      cursor.close()
    }
  })
}
