import { existsSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { TokenBucket } from '../../../src/mqtt/listener/admission.ts'
import { Admission, openListeners } from '../../../src/mqtt/listener/index.ts'
import { hookAccept } from '../../../src/mqtt/listener/socket-accept.ts'
import { cleanup, dial, listenerContext, listenerOptions, open, temporaryFolder, until } from './harness.ts'

describe.each([
  ['static read buffer', true],
  ['data events', false],
])('tcp, %s', (_name, staticReadBuffer) => {
  test('bytes pass both ways, and the client is described', async () => {
    const { listener, seen, context } = await open({}, { staticReadBuffer })
    const client = dial(listener)
    client.socket.write('hello')
    await until(() => seen[0]?.text() === 'hello')
    const { transport, info } = seen[0]!
    expect(info).toMatchObject({
      listener: 'test',
      type: 'tcp',
      remoteAddress: '127.0.0.1',
      remotePort: client.socket.localPort,
      secure: false,
      certificate: null,
      certificateTenant: null,
    })
    expect(transport.write(Buffer.from('world'))).toBe(true)
    expect(transport.writableBytes).toBe(0)
    await until(() => client.received === 'world')
    // More than Node's mark, and taken by the kernel at once all the same.
    expect(transport.write(Buffer.alloc(64 * 1024))).toBe(true)
    expect(listener.counters).toMatchObject({ accepted: 1, open: 1, handshaking: 0 })
    expect(context.admission.open).toBe(1)
    client.socket.destroy()
    await until(() => seen[0]!.closed !== undefined)
    expect(context.admission.open).toBe(0)
    expect(listener.counters.open).toBe(0)
  })

  test('reads of many clients do not mix', async () => {
    const { listener, seen } = await open({}, { staticReadBuffer })
    const clients = Array.from({ length: 20 }, () => dial(listener))
    const payloads = clients.map((_, i) => Buffer.alloc(200_000, 65 + i))
    clients.forEach((client, i) => {
      client.socket.write(payloads[i]!)
    })
    await until(() => seen.length === 20 && seen.every((entry) => entry.bytes === 200_000))
    const got = seen.map((entry) => new Set(Buffer.concat(entry.received)))
    expect(got.every((bytes) => bytes.size === 1)).toBe(true)
    expect(new Set(got.flatMap((bytes) => [...bytes])).size).toBe(20)
  })

  test('pause stops reading, from the first byte on, and resume goes on', async () => {
    const { listener, seen } = await open({}, { staticReadBuffer }, ({ transport }) => transport.pause())
    const client = dial(listener)
    const total = 12 * 1024 * 1024
    client.socket.write(Buffer.alloc(total))
    // The kernel's buffers are full: the client cannot send more until somebody reads.
    let left = -1
    await until(() => {
      const stuck = left === client.socket.bytesWritten - client.socket.writableLength && seen.length === 1
      left = client.socket.bytesWritten - client.socket.writableLength
      return stuck
    })
    expect(seen[0]!.bytes).toBe(0)
    seen[0]!.transport.resume()
    await until(() => seen[0]!.bytes > 0)
    seen[0]!.transport.pause()
    const paused = seen[0]!.bytes
    expect(paused).toBeLessThan(total)
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    expect(seen[0]!.bytes).toBe(paused)
    seen[0]!.transport.resume()
    await until(() => seen[0]!.bytes === total)
  })

  test('a client that does not read: write says so, drain tells when it took all', async () => {
    const { listener, seen } = await open({}, { staticReadBuffer })
    const client = dial(listener)
    client.socket.pause()
    await until(() => seen.length === 1)
    const { transport } = seen[0]!
    let sent = 0
    while (transport.write(Buffer.alloc(256 * 1024))) sent += 256 * 1024
    sent += 256 * 1024
    expect(transport.writableBytes).toBeGreaterThan(0)
    expect(seen[0]!.drained).toBe(0)
    client.socket.resume()
    await until(() => seen[0]!.drained === 1)
    expect(transport.writableBytes).toBe(0)
    await until(() => client.bytes === sent)
  })

  test('end sends what waits, then closes; late input is thrown away and does not reset', async () => {
    const { listener, seen } = await open({}, { staticReadBuffer })
    const client = dial(listener, { allowHalfOpen: true })
    await until(() => seen.length === 1)
    seen[0]!.transport.write(Buffer.from('one '))
    seen[0]!.transport.end(Buffer.from('two'))
    expect(seen[0]!.transport.write(Buffer.from('three'))).toBe(false)
    client.socket.write('late')
    await until(() => client.ended)
    expect(client.received).toBe('one two')
    client.socket.end()
    await until(() => seen[0]!.closed !== undefined)
    expect(seen[0]!.closed).toBe(null)
    expect(seen[0]!.bytes).toBe(0)
    expect(client.error).toBe(null)
  })

  test('destroy closes at once; a reset is reported', async () => {
    const { listener, seen } = await open({}, { staticReadBuffer })
    const client = dial(listener)
    await until(() => seen.length === 1)
    seen[0]!.transport.destroy()
    expect(seen[0]!.transport.write(Buffer.from('x'))).toBe(false)
    await until(() => client.closed && seen[0]!.closed === null)
    const second = dial(listener)
    second.socket.write('x')
    await until(() => seen[1]?.bytes === 1)
    second.socket.resetAndDestroy()
    await until(() => seen[1]!.closed !== undefined)
    expect(seen[1]!.closed).toMatchObject({ code: 'ECONNRESET' })
  })

  test('a client that closes its side is closed', async () => {
    const { listener, seen } = await open({}, { staticReadBuffer })
    const client = dial(listener)
    client.socket.end('bye')
    await until(() => seen[0]?.closed === null && client.closed)
    expect(seen[0]!.text()).toBe('bye')
  })

  test('limits: connections of the process, of the listener, and a second', async () => {
    const admission = new Admission(2)
    const { listener, seen } = await open({}, { admission, staticReadBuffer })
    const clients = [dial(listener), dial(listener)]
    await until(() => seen.length === 2)
    const third = dial(listener)
    await until(() => third.closed)
    expect(listener.counters).toMatchObject({ accepted: 2, refusedConnections: 1, open: 2 })
    clients[0]!.socket.destroy()
    await until(() => admission.open === 1)
    dial(listener)
    await until(() => seen.length === 3)

    const narrow = await open({ connectionsMax: 1 }, { staticReadBuffer })
    dial(narrow.listener)
    await until(() => narrow.seen.length === 1)
    const refused = dial(narrow.listener)
    await until(() => refused.closed)
    expect(narrow.listener.counters.refusedConnections).toBe(1)

    let now = 0
    const clock = { ...listenerContext().clock, monotonic: () => now }
    const slow = await open({}, { clock, connectionRatePerSecond: 2, staticReadBuffer })
    const burst = [dial(slow.listener), dial(slow.listener), dial(slow.listener)]
    await until(() => slow.listener.counters.refusedRate === 1)
    await until(() => burst.filter((client) => client.closed).length === 1)
    now = 500
    dial(slow.listener)
    await until(() => slow.seen.length === 3)
  })

  test('close frees the port and leaves transports open', async () => {
    const { listener, seen } = await open({}, { staticReadBuffer })
    const client = dial(listener)
    await until(() => seen.length === 1)
    const { port } = listener
    await listener.close()
    const again = await open({ port }, { staticReadBuffer })
    expect(again.listener.port).toBe(port)
    client.socket.write('still here')
    await until(() => seen[0]!.text() === 'still here')
  })
})

describe('the internal hook', () => {
  const hooks = {
    admit: () => true,
    accepted: () => {
      throw new Error('not expected')
    },
  }

  test('works on this Node: all reads come in one buffer', async () => {
    const buffers = new Set<ArrayBufferLike>()
    const { listener, seen } = await open({}, {}, ({ transport }) => {
      const record = transport.onData
      transport.onData = (buffer) => {
        buffers.add(buffer.buffer)
        record(buffer)
      }
    })
    dial(listener).socket.write('one')
    dial(listener).socket.write('two')
    await until(() => seen.length === 2 && seen.every((entry) => entry.bytes === 3))
    expect([...buffers].map((buffer) => buffer.byteLength)).toEqual([64 * 1024])
  })

  test('is left alone where a Node has other internals', () => {
    for (const server of [{}, { _handle: null }, { _handle: { onconnection: 1 } }]) {
      expect(hookAccept(server as unknown as Server, hooks)).toBe(false)
    }
  })

  test('gives back what it cannot read from: errors, and handles without the method', () => {
    const calls: unknown[][] = []
    const handle = { onconnection: (...args: unknown[]) => calls.push(args) }
    expect(hookAccept({ _handle: handle } as unknown as Server, hooks)).toBe(true)
    const odd = { close: () => {} }
    handle.onconnection(-24, undefined)
    handle.onconnection(0, odd)
    expect(calls).toEqual([
      [-24, undefined],
      [0, odd],
    ])
  })
})

describe('lingering', () => {
  test('end does not wait for ever for a client that never closes', async () => {
    const { listener, seen } = await open()
    const client = dial(listener, { allowHalfOpen: true })
    await until(() => seen.length === 1)
    seen[0]!.transport.end()
    await until(() => client.ended)
    expect(seen[0]!.closed).toBe(undefined)
    await until(() => seen[0]!.closed !== undefined)
    expect(listener.counters.open).toBe(0)
  })
})

describe('PROXY protocol', () => {
  const V2 = Buffer.from('0d0a0d0a000d0a515549540a2111000c0a010203c0a800011f90075b', 'hex')

  test.each([true, false])('the address is replaced, and the bytes behind the header come first', async (fast) => {
    const { listener, seen } = await open({ proxyProtocol: 'required' }, { staticReadBuffer: fast })
    const first = dial(listener)
    first.socket.write('PROXY TCP4 9.8.7.6 5.5.5.5 4321 1883\r\nhello')
    await until(() => seen[0]?.text() === 'hello')
    expect(seen[0]!.info).toMatchObject({ remoteAddress: '9.8.7.6', remotePort: 4321 })
    first.socket.write(' again')
    await until(() => seen[0]!.text() === 'hello again')

    const second = dial(listener)
    second.socket.setNoDelay(true)
    for (const byte of V2) {
      second.socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => seen.length === 2)
    expect(seen[1]!.info).toMatchObject({ remoteAddress: '10.1.2.3', remotePort: 8080 })
    expect(listener.counters).toMatchObject({ handshaking: 0, proxyMalformed: 0 })
  })

  test('headers of many clients, each in two parts, do not mix', async () => {
    const { listener, seen } = await open({ proxyProtocol: 'required' })
    const clients = Array.from({ length: 10 }, () => dial(listener))
    clients.forEach(({ socket }, i) => {
      socket.write(`PROXY TCP4 10.0.0.${i} 5.5.`)
    })
    await until(() => listener.counters.handshaking === 10 && clients.every(({ socket }) => socket.bytesWritten === 24))
    await turns(20)
    for (const { socket } of clients) socket.write('5.5 4321 1883\r\nx')
    await until(() => seen.length === 10)
    const addresses = seen.map(({ info }) => info.remoteAddress).sort()
    expect(addresses).toEqual(clients.map((_, i) => `10.0.0.${i}`))
  })

  test('bytes behind the header wait while the connection is paused', async () => {
    const { listener, seen } = await open({ proxyProtocol: 'required' }, {}, ({ transport }) => transport.pause())
    dial(listener).socket.write('PROXY UNKNOWN\r\nhello')
    await until(() => seen.length === 1)
    await new Promise((resolve) => setImmediate(resolve))
    expect(seen[0]!.bytes).toBe(0)
    expect(seen[0]!.info.remoteAddress).toBe('127.0.0.1')
    seen[0]!.transport.resume()
    await until(() => seen[0]!.text() === 'hello')
  })

  test('malformed, silent and vanishing clients are closed and counted', async () => {
    const { listener, seen, context } = await open({ proxyProtocol: 'required' }, { handshakeTimeoutMs: 50 })
    const mqtt = dial(listener)
    mqtt.socket.write(Buffer.from('100c00044d5154540402003c0000', 'hex'))
    await until(() => mqtt.closed)
    expect(listener.counters.proxyMalformed).toBe(1)
    const silent = dial(listener)
    silent.socket.write('PROXY TCP4')
    await until(() => silent.closed)
    expect(listener.counters.handshakeTimeouts).toBe(1)
    dial(listener).socket.end('PROXY')
    await until(() => listener.counters.handshakeAborted === 1)
    expect(listener.counters).toMatchObject({ handshaking: 0, open: 0 })
    expect(context.admission.open).toBe(0)
    expect(seen).toEqual([])
  })

  test('close drops unfinished handshakes', async () => {
    const { listener } = await open({ proxyProtocol: 'required' })
    const client = dial(listener)
    await until(() => listener.counters.handshaking === 1)
    await listener.close()
    await until(() => client.closed)
    expect(listener.counters.handshaking).toBe(0)
  })
})

describe('unix', () => {
  test.each([true, false])('bytes pass, and the file goes with the listener', async (staticReadBuffer) => {
    const path = join(temporaryFolder(), 'mqtt.sock')
    const { listener, seen } = await open({ type: 'unix', path }, { staticReadBuffer })
    expect(listener.address).toBe(path)
    const client = dial({ path })
    client.socket.write('hello')
    await until(() => seen[0]?.text() === 'hello')
    expect(seen[0]!.info).toMatchObject({ type: 'unix', remoteAddress: '', remotePort: 0 })
    seen[0]!.transport.end(Buffer.from('bye'))
    await until(() => client.received === 'bye' && client.closed)
    await listener.close()
    expect(existsSync(path)).toBe(false)
  })

  test('a socket that a crashed process left is removed', async () => {
    const path = join(temporaryFolder(), 'mqtt.sock')
    await leaveSocket(path)
    expect(existsSync(path)).toBe(true)
    const { listener, seen } = await open({ type: 'unix', path })
    dial({ path }).socket.write('x')
    await until(() => seen[0]?.bytes === 1)
    expect(listener.port).toBe(0)
  })

  test('a socket in use, a file, a missing folder and a long path are refused in one sentence', async () => {
    const folder = temporaryFolder()
    const used = join(folder, 'used.sock')
    await open({ type: 'unix', path: used })
    await expect(open({ type: 'unix', path: used })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `mqtt.listeners.test.path: "${used}" is in use by another process; stop that one, or choose another path`,
    })
    const probe = dial({ path: used })
    await until(() => probe.socket.readyState === 'open')
    const file = join(folder, 'file')
    writeFileSync(file, 'precious')
    await expect(open({ type: 'unix', path: file })).rejects.toThrow('exists and is not a socket')
    expect(existsSync(file)).toBe(true)
    await expect(open({ type: 'unix', path: join(folder, 'no', 'mqtt.sock') })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
    await expect(open({ type: 'unix', path: join(folder, 'x'.repeat(108)) })).rejects.toThrow('longer than 107 bytes')
    await expect(open({ type: 'unix' })).rejects.toThrow('path: is needed')
  })
})

describe('listening', () => {
  test('a taken port is one clear sentence, and what was opened before is closed again', async () => {
    const taken = await listen()
    const port = (taken.address() as { port: number }).port
    const free = await listen()
    const freePort = (free.address() as { port: number }).port
    await new Promise((resolve) => free.close(resolve))
    const both = [listenerOptions({ name: 'a', port: freePort }), listenerOptions({ name: 'b', port })]
    await expect(openListeners(both, () => {}, listenerContext())).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `mqtt.listeners.b.port: 127.0.0.1:${port} is in use; stop what listens there, or choose another`,
    })
    const { listener } = await open({ port: freePort })
    expect(listener.address).toBe(`127.0.0.1:${freePort}`)
  })

  test('an address of another machine is refused', async () => {
    await expect(open({ host: '192.0.2.1' })).rejects.toMatchObject({
      message: 'mqtt.listeners.test.host: "192.0.2.1" is not an address of this machine',
    })
  })

  test('several by name', async () => {
    const path = join(temporaryFolder(), 's')
    const names: string[] = []
    const listeners = await openListeners(
      [listenerOptions({ name: 'one' }), listenerOptions({ name: 'two', type: 'unix', path })],
      (transport, info) => {
        names.push(info.listener)
        transport.destroy()
      },
      listenerContext(),
    )
    cleanup(() => Promise.all(listeners.map((listener) => listener.close())))
    dial(listeners[0]!)
    dial({ path })
    await until(() => names.length === 2)
    expect(names.sort()).toEqual(['one', 'two'])
  })
})

describe('a token bucket', () => {
  test('lets in what its rate allows, and one second of it at once', () => {
    const bucket = new TokenBucket(10, 0)
    const taken = (nowMs: number) => {
      let count = 0
      while (bucket.take(nowMs)) count++
      return count
    }
    expect(taken(0)).toBe(10)
    expect(taken(0)).toBe(0)
    expect(taken(99)).toBe(0)
    expect(taken(200)).toBe(2)
    expect(taken(250)).toBe(0)
    expect(taken(300)).toBe(1)
    expect(taken(60_000)).toBe(10)
  })
})

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

async function listen(): Promise<Server> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup(() => server.close())
  return server
}

/** A socket file without a listener, as `kill -9` leaves it. */
async function leaveSocket(path: string): Promise<void> {
  const { execFileSync } = await import('node:child_process')
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  try {
    execFileSync(process.execPath, ['-e', script])
  } catch {
    // Killed, as asked.
  }
}
