import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import { CHANNEL, type IncomingCall, jsonCodec, type Peers, type RequestChannel } from '../../rpc/index.ts'

/** What one node asks another; a later version may ask more. */
interface Question {
  ask: 'status'
}

const CONTROL: RequestChannel<Question, object> = {
  type: 'request',
  number: CHANNEL.control,
  name: 'control',
  kind: 'deliveries',
  request: jsonCodec(),
  answer: jsonCodec(),
}
const DEADLINE_MS = 3_000

/** Questions of operators to one node of the cluster, whichever node they are put to. */
export class Control {
  readonly #peers: Peers
  /** Null: this node starts or stops. */
  #status: (() => object) | null = null

  constructor(peers: Peers) {
    this.#peers = peers
    peers.handleRequests(CONTROL, (question, call) => this.#answer(question, call))
  }

  /** From now on this node answers; null: it answers no more. */
  serve(status: (() => object) | null): void {
    this.#status = status
  }

  statusOf(node: HostId): Promise<object> {
    return new Promise((resolve, reject) => {
      this.#peers.request(node, CONTROL, { ask: 'status' }, { deadlineMs: DEADLINE_MS }, (error, answer) => {
        if (error !== null) reject(error)
        else resolve(answer!)
      })
    })
  }

  #answer(question: Question | null, call: IncomingCall<object>): void {
    if (question?.ask !== 'status') {
      return call.fail(new BrokerError('INVALID_ARGUMENT', 'Cannot answer: this version knows no such question'))
    }
    if (this.#status === null) call.fail(new BrokerError('UNAVAILABLE', 'Cannot answer: the node starts or stops'))
    else call.answer(this.#status())
  }
}
