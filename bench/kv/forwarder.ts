import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Carries connections to a target, until it goes silent: then nothing passes, and nothing is closed. */
export class Forwarder {
  target = ''
  readonly address: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #silent = false

  private constructor(server: Server) {
    this.#server = server
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    server.on('connection', (socket) => this.#accept(socket))
  }

  static async open(): Promise<Forwarder> {
    const server = createServer({ pauseOnConnect: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Forwarder(server)
  }

  set silent(silent: boolean) {
    this.#silent = silent
    // A pipe that was taken apart would lose what is in it: pausing both ends keeps it.
    for (const socket of this.#sockets) {
      if (silent) socket.pause()
      else socket.resume()
    }
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #accept(near: Socket): void {
    const [host, port] = this.target.split(':')
    const far = connect(Number(port), host)
    this.#carry(near, far)
    this.#carry(far, near)
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.setNoDelay(true)
    from.on('data', (chunk: Buffer) => {
      if (to.write(chunk)) return
      from.pause()
      to.once('drain', () => {
        if (!this.#silent) from.resume()
      })
    })
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
    if (this.#silent) from.pause()
    else from.resume()
  }
}
