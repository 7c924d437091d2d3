import { Histogram } from '../../../base/metrics.ts'

const SIZES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000]
const SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]

/** What the links of one kind count, all peers together. */
export class LinkMeters {
  framesSent = 0
  framesReceived = 0
  bytesSent = 0
  bytesReceived = 0
  messagesSent = 0
  messagesReceived = 0
  /** Sent again after a reconnect. */
  framesResent = 0
  /** Received a second time, and dropped by number. */
  framesDuplicate = 0
  acksAlone = 0
  connectionsOpened = 0
  connectionsBroken = 0
  attemptsFailed = 0
  /** Packets that break the protocol; each one breaks its connection. */
  violations = 0
  refusals = 0
  sessionsLost = 0
  /** Given up with a session: they may have arrived. */
  messagesDiscarded = 0
  bytesDiscarded = 0
  /** Not taken because the buffer was full. */
  messagesRefused = 0
  /** From the first message of a frame until the frame was first written. */
  readonly queueSeconds = new Histogram(SECONDS)
  readonly batchMessages = new Histogram(SIZES)
}
