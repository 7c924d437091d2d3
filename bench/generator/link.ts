/**
 * One client connection of the generator: a raw socket, the scanner, and one output slab shared by all of them.
 *
 * Hot path. All sockets read into one static buffer instead of a new one per chunk.
 * A packet cut by the end of a chunk is kept by its link and put back in front of the next chunk.
 * Output of one turn of one link is collected in the slab and written at once; a slab is free again as soon as
 * the socket has taken all of it, which it nearly always does in the call itself.
 */
import { connect, type Socket } from 'node:net'
import type { Version } from '../spec.ts'
import {
  CONNACK,
  encodeConnect,
  encodeSubscribe,
  type Received,
  receiveMaximum,
  refusedCode,
  SUBACK,
  scan,
  writeAck,
} from './codec.ts'
import { clockMicros } from './latency.ts'

const chunkBytes = 256 * 1024
/** Room for a cut packet in front of a chunk; longer ones take the slow path. */
const carryBytesMax = 64 * 1024
const slabBytes = 1024 * 1024
const filtersPerSubscribe = 200
const answerTimeoutMs = 30_000

const input = Buffer.allocUnsafeSlow(carryBytesMax + chunkBytes)
const chunk = input.subarray(carryBytesMax)
const inputView = new DataView(input.buffer, input.byteOffset, input.length)

let slab = Buffer.allocUnsafeSlow(slabBytes)
let slabEnd = 0

export interface LinkOptions {
  host: string
  port: number
  version: Version
  clientId: string
  clean?: boolean
  sessionExpirySeconds?: number
  will?: boolean
  /** Source address, to have more than 28,000 ports on loopback. */
  localAddress?: string
}

/** Called when a connection ends that nobody has closed. */
let onLost: (error: Error) => void = (error) => {
  throw error
}
export function setOnLost(handler: (error: Error) => void): void {
  onLost = handler
}

interface Waiting {
  type: number
  resolve(): void
  reject(error: Error): void
}

export class Link implements Received {
  readonly options: LinkOptions
  /** From CONNACK: QoS > 0 publishes that the broker takes unacknowledged. */
  receiveMaximum = 65535
  sessionPresent = false
  /** The bytes that `onPublish` offsets point into. */
  protected bytes: Buffer = input
  protected view: DataView = inputView
  /** When the chunk being scanned was read, in microseconds of the generator's clock. */
  protected now = 0
  #socket: Socket | undefined
  #carry: Buffer | undefined
  #waiting: Waiting | undefined
  #closing = false
  #onClosed: (() => void) | undefined
  readonly #v5: boolean

  constructor(options: LinkOptions) {
    this.options = options
    this.#v5 = options.version === 5
  }

  /** Connects; resolves with CONNACK. */
  open(overrides: Partial<LinkOptions> = {}): Promise<void> {
    const {
      host,
      port,
      localAddress,
      will,
      version,
      clientId,
      clean = true,
      ...rest
    } = { ...this.options, ...overrides }
    this.#closing = false
    this.#carry = undefined
    const socket = connect({
      host,
      port,
      noDelay: true,
      ...(localAddress === undefined ? {} : { localAddress }),
      onread: {
        buffer: chunk,
        callback: (bytes) => {
          this.#onChunk(bytes)
          return true
        },
      },
    })
    this.#socket = socket
    socket.on('error', (error) => this.#onEnd(error))
    socket.on('close', () => this.#onEnd(new Error('the broker closed the connection')))
    const expiry = rest.sessionExpirySeconds
    const packet = encodeConnect({
      version,
      clientId,
      clean,
      ...(expiry === undefined ? {} : { sessionExpirySeconds: expiry }),
      ...(will ? { will: { topic: `will/${clientId}`, payload: 'gone', qos: 1 } } : {}),
    })
    const answer = this.#answer(CONNACK)
    socket.write(packet)
    return answer
  }

  async subscribe(filters: readonly string[], qos: 0 | 1 | 2): Promise<void> {
    for (let i = 0; i < filters.length; i += filtersPerSubscribe) {
      const some = filters.slice(i, i + filtersPerSubscribe)
      const answer = this.#answer(SUBACK)
      this.#socket?.write(encodeSubscribe(this.options.version, 1 + i / filtersPerSubscribe, some, qos))
      await answer
    }
  }

  /** Writes `last` (a DISCONNECT), then closes; resolves when the socket is closed. */
  close(last?: Uint8Array): Promise<void> {
    const socket = this.#socket
    this.#closing = true
    if (!socket || socket.destroyed) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onClosed = resolve
      if (last) socket.end(last, () => socket.destroy())
      else socket.destroy()
    })
  }

  onPublish(_head: number, _packetId: number, _payload: number, _end: number): void {}
  onAck(_type: number, _packetId: number, _failed: boolean): void {}

  onControl(type: number, body: number, end: number): void {
    const waiting = this.#waiting
    if (waiting?.type !== type) {
      if (type === 14) this.#onEnd(new Error(`the broker sent DISCONNECT 0x${(this.bytes[body] ?? 0).toString(16)}`))
      return
    }
    this.#waiting = undefined
    const failure = this.#failure(type, body, end)
    if (failure) waiting.reject(new Error(failure))
    else waiting.resolve()
  }

  /** All packets of a chunk have been reported; acks in the slab are flushed by the override. */
  protected onChunkEnd(): void {}

  protected append(from: Buffer, start: number, end: number): void {
    if (end - start > slab.length - slabEnd) {
      this.flush()
      if (end - start > slab.length) {
        this.#socket?.write(Buffer.from(from.subarray(start, end)))
        return
      }
    }
    from.copy(slab, slabEnd, start, end)
    slabEnd += end - start
  }

  protected appendAck(type: number, packetId: number): void {
    if (slab.length - slabEnd < 4) this.flush()
    slabEnd = writeAck(slab, slabEnd, type, packetId)
  }

  /** Hands the slab to the socket. Nothing may be appended for another link before. */
  protected flush(): void {
    if (slabEnd === 0) return
    const output = slab.subarray(0, slabEnd)
    slabEnd = 0
    const socket = this.#socket
    if (!socket || socket.destroyed) return
    if (socket.writableLength > 0) {
      socket.write(Buffer.from(output))
      return
    }
    socket.write(output)
    if (socket.writableLength > 0) slab = Buffer.allocUnsafeSlow(slabBytes)
  }

  #onChunk(bytes: number): void {
    this.now = clockMicros()
    const carry = this.#carry
    if (carry === undefined) {
      this.#parse(input, inputView, carryBytesMax, carryBytesMax + bytes)
    } else if (carry.length <= carryBytesMax) {
      const start = carryBytesMax - carry.length
      carry.copy(input, start)
      this.#parse(input, inputView, start, carryBytesMax + bytes)
    } else {
      const joined = Buffer.concat([carry, chunk.subarray(0, bytes)])
      this.#parse(joined, new DataView(joined.buffer, joined.byteOffset, joined.length), 0, joined.length)
    }
    this.onChunkEnd()
  }

  #parse(bytes: Buffer, view: DataView, start: number, end: number): void {
    this.bytes = bytes
    this.view = view
    const rest = scan(bytes, start, end, this.#v5, this)
    this.#carry = rest === end ? undefined : Buffer.from(bytes.subarray(rest, end))
  }

  #answer(type: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer of type ${type} within 30 s`)), answerTimeoutMs)
      const settle = (then: () => void) => {
        clearTimeout(timer)
        then()
      }
      this.#waiting = { type, resolve: () => settle(resolve), reject: (error) => settle(() => reject(error)) }
    })
  }

  #failure(type: number, body: number, end: number): string | null {
    if (type === CONNACK) {
      const code = this.bytes[body + 1]!
      if (code !== 0) return `the broker refused CONNECT with 0x${code.toString(16)}`
      this.sessionPresent = (this.bytes[body]! & 1) === 1
      if (this.#v5) this.receiveMaximum = receiveMaximum(this.bytes, body, end)
      return null
    }
    const code = refusedCode(this.bytes, body, end, this.#v5)
    return code > 0 ? `the broker refused SUBSCRIBE with 0x${code.toString(16)}` : null
  }

  #onEnd(error: Error): void {
    if (this.#closing) {
      this.#onClosed?.()
      return
    }
    this.#closing = true
    const waiting = this.#waiting
    this.#waiting = undefined
    const named = new Error(`Client "${this.options.clientId}": ${error.message}`, { cause: error })
    if (waiting) waiting.reject(named)
    else onLost(named)
  }
}
