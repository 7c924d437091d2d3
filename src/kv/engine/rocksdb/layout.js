// @ts-check
/** What RocksDB's engine and its storage worker share, beside the bytes of `disk/layout.js`. */

/** Column family of the engine's own keys: RocksDB wants one of this name. */
export const OWN_FAMILY = 'default'
/** A batch with a large deleteRange that is not executed to its end yet. */
export const PENDING_KEY = Buffer.from('pending')

/** Place in the shared state: odd while a batch lands in several steps, so that readers wait. */
export const STATE_VERSION = 0
