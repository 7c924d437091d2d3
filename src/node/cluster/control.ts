import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import { CHANNEL, type IncomingCall, jsonCodec, type Peers, type RequestChannel } from '../../rpc/index.ts'

/** What one node asks another; a later version may ask more, and `more` by the question. */
export interface Question {
  ask: string
  readonly [more: string]: unknown
}

export type Answerer = (question: Question) => object | Promise<object>

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
  readonly #answerers = new Map<string, Answerer>()
  /** Null: this node starts or stops. */
  #status: (() => object) | null = null

  constructor(peers: Peers) {
    this.#peers = peers
    this.#answerers.set('status', () => this.#status!())
    peers.handleRequests(CONTROL, (question, call) => this.#answer(question, call))
  }

  /** From now on this node answers; null: it answers no more. */
  serve(status: (() => object) | null): void {
    this.#status = status
  }

  /** Who answers a question of that name. */
  handle(ask: string, answerer: Answerer): void {
    this.#answerers.set(ask, answerer)
  }

  statusOf(node: HostId): Promise<object> {
    return this.ask(node, { ask: 'status' })
  }

  ask(node: HostId, question: Question, deadlineMs = DEADLINE_MS): Promise<object> {
    return new Promise((resolve, reject) => {
      this.#peers.request(node, CONTROL, question, { deadlineMs }, (error, answer) => {
        if (error !== null) reject(error)
        else resolve(answer!)
      })
    })
  }

  #answer(question: Question | null, call: IncomingCall<object>): void {
    const answerer = this.#answerers.get(question?.ask ?? '')
    if (question === null || answerer === undefined) {
      return call.fail(new BrokerError('INVALID_ARGUMENT', 'Cannot answer: this version knows no such question'))
    }
    if (this.#status === null) {
      return call.fail(new BrokerError('UNAVAILABLE', 'Cannot answer: the node starts or stops'))
    }
    answered(answerer, question).then(
      (answer) => call.answer(answer),
      (error: unknown) => call.fail(expected(error)),
    )
  }
}

async function answered(answerer: Answerer, question: Question): Promise<object> {
  return await answerer(question)
}

/** What another node asks must not end this process. */
function expected(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error
  return new BrokerError('UNAVAILABLE', `Cannot answer: ${(error as Error).message}`, { cause: error })
}
