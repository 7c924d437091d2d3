import type { HostId } from '../../base/ids.ts'
import type { UnderlayPort } from '../../cluster/underlay/index.ts'
import { identityOf } from './identity.ts'

/**
 * Tells the nodes that live and run `role`, this one among them, now and at each change: in the same order everywhere.
 * The returned function ends it.
 */
export function watchAlive(
  underlay: UnderlayPort,
  role: string,
  listener: (nodes: readonly HostId[]) => void,
): () => void {
  let told = ''
  const tell = () => {
    const others = underlay.members().filter((host) => {
      return (host.state === 'alive' || host.state === 'suspect') && identityOf(host).roles.includes(role)
    })
    const nodes = [underlay.self.id, ...others.map(({ id }) => id)].sort()
    if (told === nodes.join()) return
    told = nodes.join()
    listener(nodes)
  }
  tell()
  return underlay.on(tell)
}
