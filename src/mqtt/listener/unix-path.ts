import { lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { BrokerError } from '../../base/errors.ts'

/** Longest path that fits into a socket address of Linux, its terminating zero excluded. */
const PATH_BYTES_MAX = 107

/**
 * Makes way for a unix socket: removes what a crashed process left there, and nothing else. Rejects with
 * CONFIG_INVALID where somebody listens, or the path is something other than a socket.
 */
export async function clearUnixPath(listener: string, path: string): Promise<void> {
  const refuse = (problem: string) =>
    new BrokerError('CONFIG_INVALID', `mqtt.listeners.${listener}.path: "${path}" ${problem}`)
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) throw refuse(`is longer than ${PATH_BYTES_MAX} bytes`)
  const file = await lstat(path).catch(() => null)
  if (file === null) return
  if (!file.isSocket()) throw refuse('exists and is not a socket; choose another path, or remove it')
  if (await isListenedOn(path)) throw refuse('is in use by another process; stop that one, or choose another path')
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw refuse(`is left over and cannot be removed: ${error.code}`)
  })
}

/** Only a refused connection shows that nobody listens: a full backlog or missing permission does not. */
function isListenedOn(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT')
    })
  })
}
