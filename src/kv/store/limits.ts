/** What a store takes at once. */
export interface StoreLimits {
  /** Most commands and bytes under way for each range: beyond, OVERLOADED. Default 131,072 and 128 MiB. */
  commandsMax: number
  bytesMax: number
  /** Most commands and bytes of one entry: bounds a turn. Default 4,096 and 4 MiB; one batch always fits. */
  entryCommandsMax: number
  entryBytesMax: number
  /** Most commands of timed work in one entry. Default 256. */
  dueMax: number
  /** Log entries kept that need not be: of a replica that is alone, just what was last. Default 1 MiB. */
  logBytesAlone: number
  /** In a group, what one that was away for a moment lacks. Default 16 MiB. */
  logBytesGroup: number
  /** The same and what a follower has not answered; while one is sent a state, four times as much. Default 64 MiB. */
  logBytesMax: number
  /**
   * Where much comes to groups, batches begin so far apart, in ms: what comes meanwhile shares one write, one fdatasync and one frame
   * to each other store. Default 3.
   */
  gatherMs: number
}

export const STORE_LIMITS: StoreLimits = {
  commandsMax: 131_072,
  bytesMax: 128 * 1024 * 1024,
  entryCommandsMax: 4_096,
  entryBytesMax: 4 * 1024 * 1024,
  dueMax: 256,
  logBytesAlone: 1 << 20,
  logBytesGroup: 16 << 20,
  logBytesMax: 64 << 20,
  gatherMs: 3,
}
