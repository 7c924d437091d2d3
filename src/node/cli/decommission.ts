import { setTimeout as delay } from 'node:timers/promises'
import type { DepartureInfo } from '../ranges/departure.ts'
import { askNode } from './ask.ts'
import { CommandError, EXIT } from './exit.ts'
import type { ConfigFlags } from './settings.ts'

type Flags = ConfigFlags & { cancel?: boolean; yes?: boolean; json?: boolean }

const LOOK_MS = 1_000
const WRITE_MS_MAX = 30_000

/** Frees a node of all its replicas for ever, and waits until it is gone; or takes that back. */
export async function decommission(node: string, flags: Flags): Promise<number> {
  const request = { to: 'decommission a node', path: `/decommission/${encodeURIComponent(node)}`, msMax: WRITE_MS_MAX }
  if (flags.cancel) return tell(flags, await askNode(flags, { ...request, method: 'DELETE' }))
  let info: DepartureInfo = await askNode(flags, { ...request, method: 'POST', body: { yes: flags.yes === true } })
  for (let told = ''; ; ) {
    const now = flags.json ? JSON.stringify(info) : sentence(info)
    if (now !== told) process.stdout.write(`${now}\n`)
    told = now
    if (info.state === 'gone') return EXIT.ok
    if (info.state === 'member')
      throw new CommandError(EXIT.failed, `The decommission of ${node} was taken back meanwhile`)
    await delay(LOOK_MS)
    // By its id: the name is forgotten with the node.
    const next = await look(flags, `/decommission/${info.id}`)
    if (next === null) return endedWith(info)
    info = next
  }
}

/** Null: the node that was asked runs no more. */
async function look(flags: Flags, path: string): Promise<DepartureInfo | null> {
  try {
    return await askNode<DepartureInfo>(flags, { to: 'decommission a node', path })
  } catch (error) {
    if (error instanceof CommandError && error.exitCode === EXIT.notRunning) return null
    throw error
  }
}

/** The one that was asked may be the one that leaves. */
function endedWith({ node, plan }: DepartureInfo): number {
  if ((plan?.replicas ?? 0) > 0)
    throw new CommandError(EXIT.notRunning, `The node that was asked stopped while ${node} was leaving`)
  process.stdout.write(`the node that was asked has stopped: ask another one what has become of ${node}\n`)
  return EXIT.ok
}

function tell(flags: Flags, info: DepartureInfo): number {
  process.stdout.write(`${flags.json ? JSON.stringify(info) : sentence(info)}\n`)
  return EXIT.ok
}

function sentence({ node, state, plan }: DepartureInfo): string {
  if (state === 'gone') return `${node} is gone for ever: its data folder is of no use any more`
  if (state === 'member') return `${node} stays`
  const { replicas, leaders, remaining } = plan!
  const first = remaining[0]
  const waits = first === undefined ? '' : `, range ${first.range} waits for ${first.waits}`
  return `${node} is leaving: ${replicas} replicas are left, ${leaders} of them lead${waits}`
}
