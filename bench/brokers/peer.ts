/** Brokers that are a script of ours under peers/. */
import { fileURLToPath } from 'node:url'
import { brokerCore, startPinned } from './child.ts'
import type { Launch, Launched } from './index.ts'

export const launchAedes = (launch: Launch): Promise<Launched> => launchPeer('aedes', launch)
export const launchCeiling = (launch: Launch): Promise<Launched> => launchPeer('ceiling', launch)

async function launchPeer(name: string, { port }: Launch): Promise<Launched> {
  const script = fileURLToPath(new URL(`../peers/${name}.js`, import.meta.url))
  return { child: startPinned(brokerCore, process.execPath, [script, String(port)]), apiPort: 0 }
}
