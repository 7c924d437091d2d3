import type { Logger } from '../base/logging.ts'
import type { InboxRanges } from './feed-host.ts'
import type { Answer } from './store/command.ts'

/** Inboxes looked at in one read. */
const PAGE = 256

/**
 * Detaches what an earlier life of this node's process held: its connections ended with it. So their sessions expire,
 * their wills fire, and their groups' entries go to others.
 *
 * @param isOwn connections of this life, which may attach meanwhile
 */
export async function sweepEarlierLife(
  ranges: InboxRanges,
  node: string,
  isOwn: (connection: string) => boolean,
  log: Logger,
): Promise<void> {
  let sessions = 0
  for (let from: Uint8Array | null = new Uint8Array(0); from !== null; ) {
    const answer: Answer = await ranges.query(from, { type: 'held', node, from, limit: PAGE })
    if (answer === null || typeof answer === 'string' || !('type' in answer) || answer.type !== 'held') return
    const members = answer.members.filter(({ connection }) => !isOwn(connection))
    const ended = answer.sessions.filter(({ connection }) => !isOwn(connection))
    await Promise.all([
      ...members.map((member) => ranges.mutate(member.key, { type: 'member-close', ...member })),
      // How far it sent is not known: all that it might have.
      ...ended.map((session) =>
        ranges.mutate(session.key, {
          ...{ type: 'detach', ...session, expirySeconds: null },
          ...{ discardWill: false, sentUpTo: Number.MAX_SAFE_INTEGER },
        }),
      ),
    ])
    sessions += ended.length
    from = answer.next
  }
  if (sessions > 0) log.info({ sessions }, 'Detached sessions that an earlier process of this node held')
}
