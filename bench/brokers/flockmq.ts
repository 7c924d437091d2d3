/** FlockMQ as users start it. Needs `npm run build` before. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { brokerCore, freePort, startPinned } from './child.ts'
import type { Launch, Launched } from './index.ts'

/** The program, seen from build/dev/bench/brokers. */
const program = fileURLToPath(new URL('../../../main.js', import.meta.url))

export function flockmqProgram(): string {
  if (existsSync(program)) return program
  throw new Error(`Cannot start broker "flockmq": no ${program}; run "npm run build" first`)
}

export async function launchFlockmq({ port, folder, set, allCores }: Launch): Promise<Launched> {
  const [apiPort, wsPort] = [await freePort(), await freePort()]
  const settings = [
    `mqtt.listeners.tcp.port=${port}`,
    `mqtt.listeners.ws.port=${wsPort}`,
    `api.port=${apiPort}`,
    'cluster.port=0',
    'rpc.port=0',
    'log.level=warn',
    ...set,
  ]
  // As `npm start` and the command itself start it.
  const args = [
    '--max-semi-space-size=32',
    flockmqProgram(),
    'start',
    '--data',
    folder,
    ...settings.flatMap((setting) => ['--set', setting]),
  ]
  return { child: startPinned(allCores ? null : brokerCore, process.execPath, args), apiPort }
}
