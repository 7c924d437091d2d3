import type { Response } from './command.ts'
import type { Draft } from './draft.ts'
import { closeMember } from './group.ts'
import { setSweeping } from './index-head.ts'
import { allNodes, isChanging, writeNode } from './nodes.ts'
import { letGo } from './session.ts'
import { walk } from './walk.ts'

/** Inboxes that one command looks at. */
const SWEEP_SLICE = 256

/** Detaches the next slice of what a fenced node held. */
export function sweep(draft: Draft): Response {
  const nodes = allNodes(draft)
  const next = nodes.find(({ record }) => record.swept !== null)
  if (next === undefined) {
    setSweeping(draft, false)
    return 'none'
  }
  // What this batch has brought before is not found by a walk.
  if (isChanging(draft, next.node)) return 'none'
  const { node, record } = next
  const { start, end } = draft.context.boundary
  let left = SWEEP_SLICE
  let sessions = 0
  const from = record.swept!.length === 0 ? start : record.swept!
  record.swept = walk(draft.reader, { start: from, end }, (key) => {
    if (left-- === 0) return false
    if (detachFenced(draft, key, node, record.fenced)) sessions++
    return true
  })
  writeNode(draft, node, record, false, sessions)
  if (nodes.every((each) => each.record.swept === null)) setSweeping(draft, false)
  return 'done'
}

function detachFenced(draft: Draft, key: Uint8Array, node: string, fenced: number): boolean {
  const box = draft.box(key)
  const group = box.isGroup ? box.group.get() : null
  for (const member of group?.members ?? []) {
    if (member.connection === '' || member.node !== node || member.nodeIncarnation > fenced) continue
    closeMember(draft, { type: 'member-close', key, member: member.inbox, connection: member.connection })
  }
  const session = box.session.get()
  if (!session?.attached || session.node !== node || session.nodeIncarnation > fenced) return false
  // How far it sent is not known: all that it might have.
  letGo(draft, box, session, { expirySeconds: null, discardWill: false, sentUpTo: Number.MAX_SAFE_INTEGER })
  return true
}
