/** What the shell counts, beside the core. */
export class ShellCounters {
  /** Packets refused before the core saw them: see EnvelopeFault. */
  plain = 0
  encrypted = 0
  undecryptable = 0
  replayed = 0
  /** Datagrams and TCP frames longer than allowed. */
  oversized = 0
  /** Connections that came in, and those refused for a limit, ended by their deadline, closed without a whole frame. */
  connections = 0
  connectionsRefused = 0
  connectionsOverdue = 0
  connectionsBroken = 0
  /** Datagrams that the kernel refused to send; exchanges not begun for a limit. */
  sendFailures = 0
  exchangesRefused = 0
  /** Names of seeds that were not found. */
  lookupsFailed = 0
}
