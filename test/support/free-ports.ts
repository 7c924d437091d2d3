import { createServer } from 'node:net'

/** Ports that were free a moment ago, all different, below those that the system gives to whoever connects. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  for (let port = 10_000 + ((process.pid * 101) % 15_000); ports.length < count; port++) {
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
