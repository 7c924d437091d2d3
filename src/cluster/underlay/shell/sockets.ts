import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { createServer, isIP, type Server } from 'node:net'
import { BrokerError } from '../../../base/errors.ts'
import type { Endpoint } from './addresses.ts'

/** Datagrams wait here while the process stands still; the kernel may allow less. */
const RECEIVE_BYTES = 1_048_576
/** Of a port that is free for TCP and taken for UDP. */
const ATTEMPTS_MAX = 20

/** One port, UDP and TCP. */
export interface Sockets {
  ip: string
  port: number
  udp: UdpSocket
  tcp: Server
}

/** Listens on an IP address; port 0: on any that is free for both. */
export async function bindSockets(ip: string, port: number): Promise<Sockets> {
  for (let attempt = 1; ; attempt++) {
    const tcp = await listen(ip, port)
    const bound = portOf(tcp)
    try {
      return { ip, port: bound, udp: await bind(ip, bound), tcp }
    } catch (cause) {
      tcp.close()
      const again = port === 0 && (cause as NodeJS.ErrnoException).code === 'EADDRINUSE' && attempt < ATTEMPTS_MAX
      if (!again) throw bindError('UDP', ip, bound, cause)
    }
  }
}

function listen(ip: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (cause) => reject(bindError('TCP', ip, port, cause)))
    server.listen({ host: ip, port, exclusive: true }, () => {
      server.removeAllListeners('error')
      // Such as too many open files: the others try again.
      server.on('error', () => {})
      resolve(server)
    })
  })
}

function bind(ip: string, port: number): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({ type: isIP(ip) === 6 ? 'udp6' : 'udp4', recvBufferSize: RECEIVE_BYTES })
    socket.once('error', (error) => {
      socket.close()
      reject(error)
    })
    socket.bind({ address: ip, port, exclusive: true }, () => {
      socket.removeAllListeners('error')
      // Of one datagram, such as a port that nobody listens on: the loss of it is normal.
      socket.on('error', () => {})
      resolve(socket)
    })
  })
}

function portOf(server: Server): number {
  const address = server.address()
  return address !== null && typeof address === 'object' ? address.port : 0
}

function bindError(what: string, ip: string, port: number, cause: unknown): BrokerError {
  const { code, message } = cause as NodeJS.ErrnoException
  const advice = code === 'EADDRINUSE' ? 'it is in use; choose another cluster.port' : message
  return new BrokerError('UNAVAILABLE', `Cannot listen on ${ip} port ${port} (${what}): ${advice}`, { cause })
}

/** A socket of IPv6 sends to IPv4 by mapped addresses. */
export function sendDatagram(sockets: Sockets, to: Endpoint, bytes: Uint8Array, failed: () => void): void {
  const mapped = isIP(sockets.ip) === 6 && isIP(to.host) === 4
  sockets.udp.send(bytes, to.port, mapped ? `::ffff:${to.host}` : to.host, (error) => {
    if (error !== null) failed()
  })
}

export type { RemoteInfo }
