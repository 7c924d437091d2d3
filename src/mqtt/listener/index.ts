import type { ConnectionHandler, Listener, ListenerContext, ListenerOptions } from './contract.ts'
import { OpenListener } from './listener.ts'

export { Admission } from './admission.ts'
export type * from './contract.ts'
export { ListenerMetrics } from './metrics.ts'

/**
 * Opens all listeners or none. `handler` gets each connection once it may speak MQTT; it must set the transport's
 * slots within the call. Rejects with CONFIG_INVALID and one sentence that names the option.
 */
export async function openListeners(
  options: readonly ListenerOptions[],
  handler: ConnectionHandler,
  context: ListenerContext,
): Promise<Listener[]> {
  const listeners = options.map((entry) => new OpenListener(entry, handler, context))
  try {
    for (const listener of listeners) await listener.open()
  } catch (error) {
    await Promise.all(listeners.map((listener) => listener.close()))
    throw error
  }
  return listeners
}
