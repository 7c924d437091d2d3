import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { FAMILIES } from '../engine.ts'
import type { Group } from './group.ts'

/** What the engine asks of the storage worker: one group at a time. */
export interface Writer {
  /** Takes the group's memory. Resolves once it is landed, and durable where it asks for that; rejects if the disk fails. */
  land(group: Group, first: number): Promise<Landed>
  close(): Promise<void>
}

export interface Landed {
  /** Number of the last durable batch. */
  durable: number
  /** Synced writes so far. */
  syncs: number
  /** The group's memory, to be used again. */
  buffer: ArrayBuffer
}

export interface WriterSetup {
  /** The engine's own `worker.js`. */
  worker: URL
  sidePath: string
  acceptLoss: boolean
  /** What the engine's worker wants besides. */
  data: object
}

/** Called once when the disk or the worker fails, also when nothing waits for it. */
export type OnFailure = (error: Error) => void

/** What the worker found when it opened. */
export interface Opened {
  /** Number of the last batch in the database. */
  number: number
  /** How many durable batches after it are lost; above 0 only with `acceptLoss`. */
  lost: number
}

type Reply =
  | ({ type: 'opened' } & Opened)
  | ({ type: 'landed' } & Landed)
  | { type: 'failed'; message: string }
  | { type: 'closed' }

/** The thread that writes. */
export class WorkerWriter implements Writer {
  readonly #worker: Worker
  #waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | null = null
  #failure: Error | null = null
  #closing = false
  readonly #onFailure: OnFailure

  private constructor(setup: WriterSetup, onFailure: OnFailure) {
    this.#onFailure = onFailure
    const { worker, data, sidePath, acceptLoss } = setup
    this.#worker = new Worker(worker, {
      name: 'storage',
      workerData: { ...data, sidePath, acceptLoss, families: FAMILIES },
    })
    this.#worker.on('message', (reply: Reply) => this.#take(reply))
    this.#worker.on('error', (error) => this.#fail(error))
    this.#worker.on('exit', () => this.#fail(new Error('the storage worker ended')))
  }

  /** Starts the thread; rejects where the database may not be used, naming why. */
  static async open(setup: WriterSetup, onFailure: OnFailure): Promise<{ writer: WorkerWriter; opened: Opened }> {
    const writer = new WorkerWriter(setup, onFailure)
    const opened = await writer.#reply('opened')
    return { writer, opened }
  }

  land(group: Group, first: number): Promise<Landed> {
    const { bytes, used, batches, sync } = group
    const buffer = bytes.buffer as ArrayBuffer
    const landed = this.#reply('landed')
    if (this.#failure === null) {
      this.#worker.postMessage({ type: 'group', buffer, bytes: used, first, count: batches.length, sync }, [buffer])
    }
    return landed
  }

  async close(): Promise<void> {
    this.#closing = true
    if (this.#failure === null) {
      const closed = this.#reply('closed')
      const exited = once(this.#worker, 'exit')
      this.#worker.postMessage({ type: 'close' })
      await closed
      await exited
    }
    await this.#worker.terminate()
  }

  async #reply<Type extends Reply['type']>(type: Type): Promise<Reply & { type: Type }> {
    const reply = await new Promise<Reply>((resolve, reject) => {
      if (this.#failure === null) this.#waiting = { resolve, reject }
      else reject(this.#failure)
    })
    if (reply.type !== type) throw new Error(`the storage worker answered "${reply.type}" to "${type}"`)
    return reply as Reply & { type: Type }
  }

  #take(reply: Reply): void {
    const waiting = this.#waiting
    this.#waiting = null
    if (reply.type === 'failed') this.#fail(new Error(reply.message), waiting)
    else waiting?.resolve(reply)
  }

  #fail(cause: Error, waiting = this.#waiting): void {
    this.#waiting = null
    const isFirst = this.#failure === null
    this.#failure ??= cause
    waiting?.reject(this.#failure)
    if (isFirst && !this.#closing) this.#onFailure(cause)
  }
}
