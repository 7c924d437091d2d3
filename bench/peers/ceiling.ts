/**
 * An experiment, not a broker: the least work that forwards QoS 0 by exact topic, to show how fast the load
 * generator can go. It checks nothing, bounds nothing, and knows CONNECT, SUBSCRIBE and PUBLISH only.
 * `node ceiling.js <port>`
 *
 * Neighbouring frames of one chunk with the same topic are forwarded as one byte range; each socket is written
 * once per event-loop turn.
 */
import { createServer, type Socket } from 'node:net'

const slabBytes = 256 * 1024

class Peer {
  readonly socket: Socket
  v5 = false
  #slab = Buffer.allocUnsafeSlow(8192)
  #end = 0

  constructor(socket: Socket) {
    this.socket = socket
  }

  append(bytes: Buffer, start: number, end: number): void {
    if (this.#end === 0) dirty.push(this)
    const needed = this.#end + end - start
    if (needed > this.#slab.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(slabBytes, 2 * needed))
      this.#slab.copy(larger, 0, 0, this.#end)
      this.#slab = larger
    }
    bytes.copy(this.#slab, this.#end, start, end)
    this.#end = needed
  }

  flush(): void {
    this.socket.write(this.#slab.subarray(0, this.#end))
    this.#end = 0
    if (this.socket.writableLength > 0) this.#slab = Buffer.allocUnsafeSlow(slabBytes)
  }
}

const routes = new Map<string, Peer[]>()
const nobody: Peer[] = []
const dirty: Peer[] = []
let scheduled = false

createServer({ noDelay: true }, (socket) => {
  const peer = new Peer(socket)
  let rest: Buffer | null = null
  socket.on('error', () => socket.destroy())
  socket.on('close', () => {
    for (const peers of routes.values()) if (peers.includes(peer)) peers.splice(peers.indexOf(peer), 1)
  })
  socket.on('data', (data) => {
    const bytes = rest ? Buffer.concat([rest, data]) : data
    const end = parse(peer, bytes)
    rest = end < bytes.length ? bytes.subarray(end) : null
    if (scheduled || dirty.length === 0) return
    scheduled = true
    setImmediate(flushAll)
  })
}).listen(Number(process.argv[2]), '127.0.0.1')
process.once('SIGTERM', () => process.exit(0))

function parse(peer: Peer, bytes: Buffer): number {
  let at = 0
  let runStart = 0
  let topicAt = 0
  let topicLength = -1
  let targets = nobody
  while (bytes.length - at >= 2) {
    let body = at + 1
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[body++] ?? 0
      length += (byte & 127) << shift
      if (byte < 128) break
    }
    if (body + length > bytes.length) break
    const type = bytes[at]! >> 4
    const newLength = type === 3 ? bytes.readUInt16BE(body) : -1
    if (newLength !== topicLength || !sameBytes(bytes, topicAt, body + 2, newLength)) {
      for (const target of targets) target.append(bytes, runStart, at)
      runStart = at
      topicAt = body + 2
      topicLength = newLength
      targets = nobody
      if (type === 3) targets = routes.get(bytes.toString('latin1', topicAt, topicAt + newLength)) ?? nobody
    }
    if (type !== 3) answer(peer, bytes, type, body, body + length)
    at = body + length
  }
  for (const target of targets) target.append(bytes, runStart, at)
  return at
}

function sameBytes(bytes: Buffer, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false
  return true
}

function answer(peer: Peer, bytes: Buffer, type: number, body: number, end: number): void {
  if (type === 1) {
    peer.v5 = bytes[body + 2 + bytes.readUInt16BE(body)] === 5
    peer.socket.write(Buffer.from(peer.v5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0]))
  } else if (type === 8) {
    let at = body + (peer.v5 ? 3 : 2)
    const topic = bytes.toString('latin1', at + 2, (at += 2 + bytes.readUInt16BE(at)))
    if (at + 1 < end) throw new Error('ceiling takes one filter per SUBSCRIBE')
    routes.set(topic, [...(routes.get(topic) ?? []), peer])
    peer.socket.write(Buffer.from([0x90, peer.v5 ? 4 : 3, bytes[body]!, bytes[body + 1]!, ...(peer.v5 ? [0] : []), 0]))
  }
}

function flushAll(): void {
  scheduled = false
  for (const peer of dirty) peer.flush()
  dirty.length = 0
}
