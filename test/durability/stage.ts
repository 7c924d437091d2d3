import type { Until } from './fleet.ts'
import type { Surroundings } from './peer.ts'
import { Talker } from './talker.ts'

/** A node that can be killed, in a process of its own or in a simulation, and the time that its clients live in. */
export interface Stage {
  readonly surroundings: Surroundings
  readonly until: Until
  crash(): Promise<void>
  /** Resolves when clients may dial; a simulated node may not be ready yet. */
  start(): Promise<void>
  /** Lets time pass, because time is what the test is about. */
  pause(ms: number): Promise<void>
}

/** Connects; null where the connection broke before its CONNACK, or was refused. */
export async function tryConnect(
  { surroundings, until }: Stage,
  ...request: Parameters<Talker['connect']>
): Promise<{ talker: Talker; sessionPresent: boolean } | null> {
  const talker = new Talker(surroundings.dial, until)
  try {
    const { reasonCode, sessionPresent } = await talker.connect(...request)
    if (reasonCode === 0) return { talker, sessionPresent }
  } catch {
    // The broker went away.
  }
  talker.drop()
  return null
}

/** Tries until it is connected. */
export async function mustConnect(
  stage: Stage,
  ...request: Parameters<Talker['connect']>
): Promise<{ talker: Talker; sessionPresent: boolean }> {
  for (let tries = 0; tries < 100; tries++) {
    const connected = await tryConnect(stage, ...request)
    if (connected !== null) return connected
    await stage.pause(50)
  }
  throw new Error(`"${request[0]}" is not let in`)
}
