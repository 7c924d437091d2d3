import { fail, type Handshake, plainAddress } from './handshake.ts'
import { parseProxyHeader } from './proxy-protocol.ts'

/**
 * Reads the PROXY header of a fresh connection, takes its address over, and puts the bytes behind it back, so that the
 * next stage reads them first. A malformed header closes the connection.
 */
export function readProxyHeader(handshake: Handshake, next: (handshake: Handshake) => void): void {
  const { socket, transport } = handshake
  let received: Buffer | null = null

  const onData = (chunk: Buffer) => {
    const input = received === null ? chunk : Buffer.concat([received, chunk])
    const header = parseProxyHeader(input)
    if (header.state === 'malformed') return fail(handshake, 'proxyMalformed')
    if (header.state === 'incomplete') {
      // A copy: the chunk may be the buffer that all reads share.
      received = received === null ? Buffer.from(chunk) : input
      return
    }
    if (header.source !== null) {
      const { family, address, port } = header.source
      handshake.remoteAddress = family === 'unix' ? `unix:${address}` : plainAddress(address)
      handshake.remotePort = port
    }
    const rest = Buffer.from(input.subarray(header.bytes))
    if (transport === null) {
      socket.off('data', onData)
      socket.pause()
      if (rest.length > 0) socket.unshift(rest)
      next(handshake)
    } else {
      // The other way round: this socket flows, and what is put back comes at once.
      next(handshake)
      if (rest.length > 0) socket.unshift(rest)
    }
  }

  if (transport !== null) {
    transport.onData = onData
    transport.start()
    return
  }
  socket.on('data', onData)
  socket.resume()
}
