import type { Logger } from '../../base/logging.ts'

type Write = (fields: object, message: string) => void

/**
 * A log in which hosts have their nodes' names: where the fields name a host by its id, the sentence has the name. The
 * fields keep the id, which is unique.
 */
export function namingLog(log: Logger, nameOf: (id: string) => string | null): Logger {
  const naming =
    (write: Write): Write =>
    (fields, message) =>
      write(fields, nameAll(fields, message, nameOf))
  return {
    debug: naming((fields, message) => log.debug(fields, message)),
    info: naming((fields, message) => log.info(fields, message)),
    warn: naming((fields, message) => log.warn(fields, message)),
    error: naming((fields, message) => log.error(fields, message)),
  }
}

function nameAll(fields: object, message: string, nameOf: (id: string) => string | null): string {
  const { host, by } = fields as { host?: unknown; by?: unknown }
  let named = message
  for (const id of [host, by]) {
    if (typeof id !== 'string') continue
    const name = nameOf(id)
    if (name !== null) named = named.replaceAll(id, name)
  }
  return named
}
