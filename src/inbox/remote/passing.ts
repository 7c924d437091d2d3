import type { HostId } from '../../base/ids.ts'
import type { Peers } from '../../rpc/index.ts'
import { WATCH } from './channels.ts'
import { LetterWriter, type PassLetter } from './letters.ts'

/** Letters that are gathered before they leave: of more than one turn where there are so many. */
const LETTERS_BYTES = 256 * 1024

/** Sends QoS 0 messages to the nodes of their sessions, now or never: those of one turn to one node in one frame. */
export class Passing {
  readonly #peers: Peers
  readonly #refused: (letters: readonly PassLetter[]) => void
  readonly #writers = new Map<HostId, { writer: LetterWriter; letters: PassLetter[] }>()
  #planned = false

  /** @param refused letters that a link did not take: their messages are lost */
  constructor(peers: Peers, refused: (letters: readonly PassLetter[]) => void) {
    this.#peers = peers
    this.#refused = refused
  }

  send(node: HostId, letter: PassLetter): void {
    // A link would keep it until it is open again, and who publishes may be elsewhere by then.
    if (this.#peers.linkState(node, WATCH.kind) === 'waiting') return this.#refused([letter])
    let own = this.#writers.get(node)
    if (own === undefined) this.#writers.set(node, (own = { writer: new LetterWriter(), letters: [] }))
    own.writer.write(0, letter)
    own.letters.push(letter)
    if (own.writer.length >= LETTERS_BYTES) this.#flush(node)
    if (this.#planned) return
    this.#planned = true
    this.#peers.beforeFrames(() => {
      this.#planned = false
      for (const to of [...this.#writers.keys()]) this.#flush(to)
    })
  }

  #flush(node: HostId): void {
    const { writer, letters } = this.#writers.get(node)!
    this.#writers.delete(node)
    if (this.#peers.send(node, WATCH, writer.finish()) !== 'accepted') this.#refused(letters)
  }
}
