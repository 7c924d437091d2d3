import type { HostId } from '../../base/ids.ts'
import type { UnderlayPort } from '../../cluster/underlay/index.ts'
import { identityOf, livingHosts } from './identity.ts'

/**
 * Tells the nodes that live and have `role`, this one too where it has it, now and at each change: in the same order
 * everywhere. The returned function ends it.
 */
export function watchAlive(
  underlay: UnderlayPort,
  role: string,
  listener: (nodes: readonly HostId[]) => void,
): () => void {
  let told: string | null = null
  const tell = () => {
    const living = livingHosts(underlay).filter((host) => identityOf(host).roles.includes(role))
    const nodes = living.map(({ id }) => id).sort()
    if (told === nodes.join()) return
    told = nodes.join()
    listener(nodes)
  }
  tell()
  return underlay.on(tell)
}
