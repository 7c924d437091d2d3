// @ts-check
import { decodeNumber, FORMAT, FORMAT_KEY, NUMBER_KEY } from './layout.js'
import { SideFile } from './side-file.js'

/**
 * The storage worker: the thread that lands groups of batches, since a write blocks until the disk has it.
 *
 * One message from the engine is one group, one message back says that it is landed. A failed write is the last one: what
 * is on disk after a failed fsync is unknown, and asking again would be told a lie.
 */

/** @typedef {{ sidePath: string, acceptLoss: boolean }} Setup */
/**
 * What writes groups into a database; all of it blocks, and throws when the disk fails.
 * @typedef {object} Lander
 * @property {number} syncs synced writes so far
 * @property {(key: Uint8Array) => Uint8Array | undefined} getOwn one of the engine's own keys
 * @property {(key: Uint8Array, value: Uint8Array) => void} putOwn durable
 * @property {() => void} resume ends what a crash has left half done
 * @property {(group: Uint8Array, first: number, sync: boolean) => void} land `first` is the number of its first batch
 * @property {() => void} sync makes durable what has landed
 * @property {() => void} close
 */
/** @typedef {{ type: 'group', buffer: ArrayBuffer, bytes: number, first: number, count: number, sync: boolean }} Group */
/** @typedef {Group | { type: 'close' }} Request */
/**
 * @typedef {{ type: 'opened', number: number, lost: number }
 *   | { type: 'landed', durable: number, syncs: number, buffer: ArrayBuffer }
 *   | { type: 'failed', message: string } | { type: 'closed' }} Reply
 */

/** Least time between two writes of the side file. */
const SIDE_FILE_MS = 100

export class StorageWorker {
  #port
  #lander
  #side = /** @type {SideFile | null} */ (null)
  #landed = 0
  #durable = 0
  #sideMs = 0
  #sideTimer = /** @type {NodeJS.Timeout | null} */ (null)
  #failed = false

  /**
   * @param {import('node:worker_threads').MessagePort} port
   * @param {Lander} lander
   * @param {Setup} setup
   */
  constructor(port, lander, setup) {
    this.#port = port
    this.#lander = lander
    this.#open(setup)
    port.on('message', (request) => this.#take(request))
  }

  /** @param {Setup} setup */
  #open({ sidePath, acceptLoss }) {
    const format = this.#lander.getOwn(FORMAT_KEY)
    const number = decodeNumber(this.#lander.getOwn(NUMBER_KEY))
    if (format !== undefined && Buffer.from(format).readUInt32BE() > FORMAT) {
      throw new Error(
        `its format ${Buffer.from(format).readUInt32BE()} is newer than ${FORMAT}, which this version reads`,
      )
    }
    const side = new SideFile(sidePath)
    const known = side.number
    if (!acceptLoss && known === null && number > 0) {
      throw new Error(
        `"${sidePath}" is missing or damaged, so nobody knows whether batches after ${number} are lost; --accept-loss starts all the same`,
      )
    }
    const lost = Math.max(0, (known ?? 0) - number)
    if (!acceptLoss && lost > 0) {
      const found = number === 0 ? 'holds none' : `ends at batch ${number}`
      throw new Error(
        `batch ${known} was durable, but the database ${found}: its log is damaged, acknowledged writes are lost; --accept-loss starts without them`,
      )
    }
    if (format === undefined || Buffer.from(format).readUInt32BE() < FORMAT) {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(FORMAT)
      this.#lander.putOwn(FORMAT_KEY, bytes)
    }
    this.#lander.resume()
    this.#landed = number
    this.#durable = number
    if (known !== number) side.write(number)
    this.#side = side
    this.#post({ type: 'opened', number, lost })
  }

  /** @param {Request} request */
  #take(request) {
    this.#try(() => (request.type === 'group' ? this.#land(request) : this.#close()))
  }

  /** @param {() => void} work */
  #try(work) {
    if (this.#failed) return
    try {
      work()
    } catch (error) {
      this.#failed = true
      if (this.#sideTimer !== null) clearTimeout(this.#sideTimer)
      this.#post({ type: 'failed', message: /** @type {Error} */ (error).message })
    }
  }

  /** @param {Group} group */
  #land({ buffer, bytes, first, count, sync }) {
    this.#lander.land(new Uint8Array(buffer, 0, bytes), first, sync)
    this.#landed = first + count - 1
    if (sync) this.#durable = this.#landed
    this.#post({ type: 'landed', durable: this.#durable, syncs: this.#lander.syncs, buffer }, [buffer])
    if (sync) this.#noteDurable()
  }

  #noteDurable() {
    const waitMs = this.#sideMs + SIDE_FILE_MS - performance.now()
    if (waitMs <= 0) this.#writeSide()
    else this.#sideTimer ??= setTimeout(() => this.#try(() => this.#writeSide()), waitMs)
  }

  #writeSide() {
    if (this.#sideTimer !== null) clearTimeout(this.#sideTimer)
    this.#sideTimer = null
    this.#sideMs = performance.now()
    this.#side?.write(this.#durable)
  }

  #close() {
    if (this.#landed > this.#durable) this.#lander.sync()
    this.#durable = this.#landed
    this.#writeSide()
    this.#side?.close()
    this.#lander.close()
    this.#post({ type: 'closed' })
    this.#port.close()
  }

  /**
   * @param {Reply} reply
   * @param {ArrayBuffer[]} [transfer]
   */
  #post(reply, transfer) {
    this.#port.postMessage(reply, transfer)
  }
}
